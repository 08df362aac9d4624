"""Messages, state, effects and checkpoints, on a real Valkey."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from memoryd.errors import (
    Conflict,
    Forbidden,
    IdempotencyKeyReused,
    NotFound,
    PayloadTooLarge,
    SpaceNotFound,
    VersionConflict,
)
from memoryd.memory.model import Idempotency
from memoryd.sessions.model import Birth, CheckpointWish, Expected
from memoryd.sessions.ports import Target
from memoryd.stores.redis import Redis
from memoryd.stores.sessions.keys import Keys
from memoryd.stores.sessions.messages import RedisMessages
from memoryd.stores.sessions.scripts import Scripts
from retrieval.scope import Action, Scope
from tests.sessions.conftest import LIMITS, Working, build, message, tenant
from tests.stack import Stack

ANY = Expected()


def once(key: str, print_: bytes = b"\x01") -> Idempotency:
    return Idempotency(key, print_)


async def test_of_two_first_appends_the_one_that_names_no_space_follows_the_other(working: Working) -> None:
    scope = working.scope

    async def meanwhile(_: Scope, session_id: str) -> bool:
        if session_id == "s" and not made:
            made.append(session_id)
            await working.sessions.append(scope, session_id, [message("first")], Birth(space="team"), None)
        return False

    made: list[str] = []
    late = build(working.redis, working.clock, scope, recover=meanwhile).sessions
    assert (await late.append(scope, "s", [message("second")], Birth(), None)).head == 2
    made.clear()
    await working.life.evict(scope, await working.sessions.get(scope, "s"), now=working.clock.now(), only_due=False)
    with pytest.raises(Conflict):
        await late.append(scope, "s", [message("third")], Birth(space="default"), None)


async def test_many_writers_lose_nothing_and_share_one_order(working: Working, stack: Stack) -> None:
    """Eight clients with connections of their own append at once; each batch stays together."""
    clients = [Redis(stack.redis_url, timeout_s=5, connections=4) for _ in range(8)]
    try:
        agents = [build(client, working.clock, working.scope) for client in clients]

        async def storm(number: int) -> None:
            for turn in range(40):
                await agents[number].say("s", f"{number}.{turn}.a", f"{number}.{turn}.b")

        await asyncio.gather(*map(storm, range(8)))
    finally:
        for client in clients:
            await client.close()
    said, after = [], 0
    while True:
        page = await working.sessions.read(working.scope, "s", after=after, limit=100)
        said += [(one.position, str(one.payload["content"])) for one in page.messages]
        if not page.more:
            break
        after = said[-1][0]
    assert [position for position, _ in said] == list(range(1, 641))
    texts = [text for _, text in said]
    assert len(set(texts)) == 640
    for number in range(8):
        own = [text for text in texts if text.startswith(f"{number}.")]
        assert own == [f"{number}.{turn}.{half}" for turn in range(40) for half in "ab"]
    assert all(texts[at + 1] == text[:-1] + "b" for at, text in enumerate(texts) if text.endswith("a"))


async def test_a_repeated_client_id_or_key_appends_nothing_twice(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    first = await sessions.append(scope, "s", [message("a", client_id="m1"), message("b")], Birth(), once("k"))
    again = await sessions.append(scope, "s", [message("a", client_id="m1"), message("b")], Birth(), once("k"))
    assert (again.placed, again.head) == (first.placed, 2)
    same = await sessions.append(scope, "s", [message("a", client_id="m1"), message("c"), message("c", client_id="m2"),
                                              message("d", client_id="m2")], Birth(), None)  # fmt: skip
    assert [(one.position, one.created) for one in same.placed] == [(1, False), (3, True), (4, True), (4, False)]
    with pytest.raises(IdempotencyKeyReused):
        await sessions.append(scope, "s", [message("z")], Birth(), once("k", b"\x02"))
    # Another holder's key of the same name is another key.
    other = replace(scope, principal="somebody else")
    assert (await sessions.append(other, "s", [message("e")], Birth(), once("k", b"\x02"))).placed[0].created
    assert await working.said("s") == ["a", "b", "c", "c", "e"]


async def test_what_a_restore_set_aside_can_be_said_again(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await working.say("s", "a")
    point = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)

    async def step() -> list[tuple[int, bool]]:
        sent = [message("first half", client_id="step-4"), message("second half"), message("again", client_id="step-4")]
        done = await sessions.append(scope, "s", sent, Birth(), None)
        return [(one.position, one.created) for one in done.placed]

    assert await step() == [(2, True), (3, True), (2, False)]
    assert await step() == [(2, False), (4, True), (2, False)]
    undo = (await sessions.restore(scope, "s", point.checkpoint_id, None)).undo
    assert await step() == [(5, True), (6, True), (5, False)]
    assert await step() == [(5, False), (7, True), (5, False)]
    assert await working.said("s") == ["a", "first half", "second half", "second half"]
    # Undoing the restore brings the first back, and its id is that one's again.
    await sessions.restore(scope, "s", undo, None)
    assert await step() == [(2, False), (8, True), (2, False)]


async def test_ids_and_pages_among_many_gaps(working: Working) -> None:
    """Every other message is set aside, as thousands of restores would leave it."""
    sent = [message(f"{number}", client_id=f"m{number}") for number in range(1, 101)]
    await working.sessions.append(working.scope, "s", sent, Birth(), None)
    spans = ",".join(f"{number}:{number}" for number in range(1, 101, 2))
    await working.redis.command("HSET", Keys(working.scope.tenant_id).part("s", "meta"), "vis", f"{spans},101:")
    odd = [str(number) for number in range(1, 101, 2)]
    assert await working.said("s") == odd
    page = await working.sessions.read(working.scope, "s", before=50, limit=3, newest=True)
    assert ([one.position for one in page.messages], page.more) == ([45, 47, 49], True)
    again = await working.sessions.append(working.scope, "s", sent, Birth(), None)
    assert [one.position for one in again.placed if not one.created] == list(range(1, 101, 2))
    assert [one.position for one in again.placed if one.created] == list(range(101, 151))
    assert await working.said("s") == odd + [str(number) for number in range(2, 101, 2)]


async def test_pins_among_many_gaps(working: Working, stack: Stack) -> None:
    """Thousands of pins and of gaps: looked up each in each, they would hold the server up for seconds."""
    many = 4_000
    await working.sessions.append(
        working.scope, "s", [message(f"{number}", pinned=True) for number in range(1, 5)], Birth(), None
    )
    keys = Keys(working.scope.tenant_id)
    spans = ",".join(f"{number}:{number + 1}" for number in range(2, 4 * many, 4))
    await working.redis.command("HSET", keys.part("s", "meta"), "vis", f"1:1,{spans},{5 * many}:")
    pins = [one for number in range(1, 4 * many, 4) for one in (number, str(number))]
    await working.redis.command("ZADD", keys.part("s", "pins"), *pins)
    client = Redis(stack.redis_url, timeout_s=1)
    try:
        messages = RedisMessages(Scripts(client, ttl_s=60), LIMITS)
        end = await messages.end(working.scope, Target("s", working.clock.now()), limit=1, size=100)
    finally:
        await client.close()
    assert [one.position for one in end.pinned] == [1, 2, 3]
    assert [one.position for one in end.page.messages] == [3]


async def test_concurrent_retries_of_one_request_append_once(working: Working) -> None:
    same = [working.sessions.append(working.scope, "s", [message("a")], Birth(), once("k")) for _ in range(20)]
    done = await asyncio.gather(*same)
    assert {one.placed[0].position for one in done} == {1}
    assert await working.said("s") == ["a"]


async def test_receipts_are_forgotten_after_a_day(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await sessions.append(scope, "s", [message("a")], Birth(ttl_s=10 * 86_400), once("k"))
    working.clock.pass_(86_401)
    await sessions.append(scope, "s", [message("b")], Birth(), once("k", b"\x02"))
    assert await working.said("s") == ["a", "b"]


async def test_too_much_is_refused_and_stores_nothing(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await working.say("s", "first")
    with pytest.raises(PayloadTooLarge):
        await sessions.append(scope, "s", [message("fine"), message("x" * 1_000)], Birth(), once("k"))
    small = build(working.redis, working.clock, scope, replace(LIMITS, messages=3))
    with pytest.raises(PayloadTooLarge):
        await small.say("s", "a", "b", "c")
    small = build(working.redis, working.clock, scope, replace(LIMITS, session_bytes=100))
    with pytest.raises(PayloadTooLarge):
        await small.say("s", "x" * 50, "y" * 50)
    with pytest.raises(PayloadTooLarge):
        await small.sessions.record_effect(scope, "s", "e", "z" * 100)
    assert await working.said("s") == ["first"]
    with pytest.raises(PayloadTooLarge):
        await sessions.put_state(scope, "s", "k", "x" * 1_000, ANY, None)
    for number in range(2):
        await sessions.put_state(scope, "s", f"k{number}", "x" * 900, ANY, None)
    with pytest.raises(PayloadTooLarge):
        await sessions.put_state(scope, "s", "k3", "x" * 900, ANY, None)
    assert [one.key for one in await sessions.state(scope, "s")] == ["k0", "k1"]
    # Replaced values and deleted keys count no more.
    await sessions.put_state(scope, "s", "k1", "", ANY, None)
    await sessions.put_state(scope, "s", "k3", "x" * 900, ANY, None)
    await sessions.delete_state(scope, "s", "k0", None, None)
    await sessions.put_state(scope, "s", "k4", "x" * 900, ANY, None)
    # A refused first write makes no session.
    with pytest.raises(PayloadTooLarge):
        await small.say("new", "x" * 90)
    with pytest.raises(NotFound):
        await working.said("new")


async def test_state_compares_and_sets(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    version, made = await sessions.put_state(scope, "s", "plan", {"step": 1}, Expected(absent=True), None)
    assert made
    with pytest.raises(VersionConflict) as conflict:
        await sessions.put_state(scope, "s", "plan", 0, Expected(absent=True), None)
    assert conflict.value.current_version == version
    second, made = await sessions.put_state(scope, "s", "plan", {"step": 2}, Expected(version=version), None)
    assert (made, second > version) == (False, True)
    with pytest.raises(VersionConflict) as conflict:
        await sessions.put_state(scope, "s", "plan", 0, Expected(version=version), None)
    assert conflict.value.current_version == second
    with pytest.raises(VersionConflict):
        await sessions.delete_state(scope, "s", "plan", version, None)
    assert (await sessions.get_state(scope, "s", "plan")).value == {"step": 2}
    await sessions.delete_state(scope, "s", "plan", second, None)
    with pytest.raises(NotFound):
        await sessions.get_state(scope, "s", "plan")
    with pytest.raises(VersionConflict) as conflict:
        await sessions.put_state(scope, "s", "plan", 0, Expected(version=second), None)
    assert conflict.value.current_version == 0
    # A key that is made again gets no version that an agent may still hold.
    third, _ = await sessions.put_state(scope, "s", "plan", 0, ANY, None)
    assert third > second


async def test_of_many_compare_and_sets_one_wins(working: Working) -> None:
    """A counter without loss: everybody reads, adds one, and tries again when somebody was faster."""
    sessions, scope = working.sessions, working.scope
    await sessions.put_state(scope, "s", "n", 0, ANY, None)

    async def add() -> None:
        while True:
            entry = await sessions.get_state(scope, "s", "n")
            assert isinstance(entry.value, int)
            try:
                await sessions.put_state(scope, "s", "n", entry.value + 1, Expected(version=entry.version), None)
            except VersionConflict:
                continue
            return

    await asyncio.gather(*(add() for _ in range(30)))
    assert (await sessions.get_state(scope, "s", "n")).value == 30


async def test_a_repeated_put_is_answered_as_the_first(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    first = await sessions.put_state(scope, "s", "k", 1, Expected(absent=True), once("r"))
    assert await sessions.put_state(scope, "s", "k", 1, Expected(absent=True), once("r")) == first
    await sessions.delete_state(scope, "s", "k", first[0], once("d"))
    await sessions.delete_state(scope, "s", "k", first[0], once("d"))


async def test_the_first_effect_wins(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    done = await asyncio.gather(*(sessions.record_effect(scope, "s", "pay", {"n": n}) for n in range(10)))
    assert sum(one.created for one in done) == 1
    (won,) = [one.value for one in done if one.created]
    assert {str(one.value) for one in done} == {str(won)}
    assert (await sessions.get_effect(scope, "s", "pay")).value == won
    with pytest.raises(NotFound):
        await sessions.get_effect(scope, "s", "other")


async def test_a_restore_goes_back_and_can_be_undone(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await working.say("s", "a", "b")
    version, _ = await sessions.put_state(scope, "s", "k", "old", ANY, None)
    checkpoint = await sessions.checkpoint(scope, "s", CheckpointWish(1, "before", {"why": "x"}), None)
    await working.say("s", "c", "d")
    await sessions.put_state(scope, "s", "k", "new", ANY, None)
    await sessions.put_state(scope, "s", "more", 1, ANY, None)
    done = await sessions.restore(scope, "s", checkpoint.checkpoint_id, None)
    assert (done.set_aside, done.first_position) == (2, 5)
    assert await working.said("s") == ["a", "b"]
    entries = await sessions.state(scope, "s")
    # The value that a version named then is the value that it names again.
    assert [(one.key, one.value, one.version) for one in entries] == [("k", "old", version)]
    await working.say("s", "e")
    assert await working.said("s") == ["a", "b", "e"]
    await sessions.restore(scope, "s", done.undo, None)
    assert await working.said("s") == ["a", "b", "c", "d"]
    assert {one.key: one.value for one in await sessions.state(scope, "s")} == {"k": "new", "more": 1}
    found = await sessions.get_checkpoint(scope, "s", checkpoint.checkpoint_id)
    assert (found.step, found.label, found.metadata, found.head) == (1, "before", {"why": "x"}, 2)
    assert [(one.key, one.value) for one in found.state] == [("k", "old")]
    assert (await working.say("s", "f")) == [6]


async def test_a_repeated_restore_goes_back_once(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await working.say("s", "a")
    checkpoint = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)
    await working.say("s", "b")
    first = await sessions.restore(scope, "s", checkpoint.checkpoint_id, once("r"))
    await working.say("s", "c")
    assert (await sessions.restore(scope, "s", checkpoint.checkpoint_id, once("r"))).undo == first.undo
    assert await working.said("s") == ["a", "c"]


async def test_checkpoints_are_kept_by_count_unlabelled_ones_go_first(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await working.say("s", "a")
    for label in ("one", None, None, "four", "five", "six", None):
        await sessions.checkpoint(scope, "s", CheckpointWish(None, label, {}), None)
    assert [one.label for one in await sessions.checkpoints(scope, "s")] == ["one", "four", "five", "six", None]
    await sessions.checkpoint(scope, "s", CheckpointWish(None, "eight", {}), None)
    await sessions.checkpoint(scope, "s", CheckpointWish(None, "nine", {}), None)
    kept = await sessions.checkpoints(scope, "s")
    assert [one.label for one in kept] == ["four", "five", "six", "eight", "nine"]
    # What is restored stays, although the checkpoint made before it pushes another out.
    await sessions.restore(scope, "s", kept[0].checkpoint_id, None)
    assert [one.label for one in await sessions.checkpoints(scope, "s")] == ["four", "six", "eight", "nine", None]


async def test_pages_of_a_session_with_gaps(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await working.say("s", *(f"a{n}" for n in range(10)))
    checkpoint = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)
    await working.say("s", *(f"b{n}" for n in range(100)))
    await sessions.restore(scope, "s", checkpoint.checkpoint_id, None)
    await working.say("s", *(f"c{n}" for n in range(5)))
    page = await sessions.read(scope, "s", after=8, limit=4)
    assert [(one.position, one.payload["content"]) for one in page.messages] == [(9, "a8"), (10, "a9"), (111, "c0"), (112, "c1")]
    assert page.more
    page = await sessions.read(scope, "s", before=113, limit=3, newest=True)
    assert ([one.position for one in page.messages], page.more) == ([10, 111, 112], True)
    page = await sessions.read(scope, "s", limit=15)
    assert (len(page.messages), page.more) == (15, False)


async def test_reading_and_writing_renew_a_session(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await working.say("s", "a")
    working.clock.pass_(1_800)
    await sessions.read(scope, "s")
    assert (await sessions.get(scope, "s")).touched_at == working.clock.now()
    due = working.clock.now() + timedelta(seconds=LIMITS.ttl_s)
    assert await working.life.waiting(scope, "due", due - timedelta(milliseconds=1), 10) == []
    assert await working.life.waiting(scope, "due", due, 10) == ["s"]
    working.clock.pass_(10)
    await sessions.read(scope, "s")  # within a minute, reading writes nothing
    assert (await sessions.get(scope, "s")).touched_at < working.clock.now()
    await working.say("s", "b")
    assert (await sessions.get(scope, "s")).touched_at == working.clock.now()
    changed = await sessions.configure(scope, "s", ttl_s=60, auto=None, clear=False, once=None)
    assert (changed.expires_at - changed.touched_at).total_seconds() == 60


async def test_tenants_and_spaces_do_not_meet(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await sessions.append(scope, "s", [message("secret")], Birth(space="blue"), None)
    foreign = tenant()
    red = tenant(spaces=frozenset({"red"}), tenant_id=scope.tenant_id)
    blue = tenant(spaces=frozenset({"blue"}), tenant_id=scope.tenant_id)
    assert (await sessions.read(blue, "s")).messages
    for other in (foreign, red):
        for call in (
            sessions.read(other, "s"), sessions.state(other, "s"), sessions.checkpoints(other, "s"),
            sessions.get_effect(other, "s", "e"), sessions.restore(other, "s", uuid4(), None),
            sessions.delete_state(other, "s", "k", None, None),
        ):  # fmt: skip
            with pytest.raises(NotFound):
                await call
    for write in (
        sessions.append(red, "s", [message("x")], Birth(space="red"), None),
        sessions.put_state(red, "s", "k", 1, ANY, None),
        sessions.record_effect(red, "s", "e", 1),
    ):
        with pytest.raises(NotFound):
            await write
    two = tenant(spaces=frozenset({"red", "green"}), tenant_id=scope.tenant_id)
    with pytest.raises(SpaceNotFound):
        await sessions.append(two, "mine", [message("x")], Birth(), None)
    await sessions.append(red, "mine", [message("x")], Birth(), None)
    assert (await sessions.get(red, "mine")).space == "red"
    with pytest.raises(Conflict):
        await sessions.append(scope, "s", [message("x")], Birth(space="red"), None)
    assert await working.said("s") == ["secret"]
    reader = Scope(scope.tenant_id, "reader", frozenset({Action.READ}))
    with pytest.raises(Forbidden):
        await sessions.append(reader, "s", [message("x")], Birth(), None)


async def test_hostile_names_reach_no_other_key(working: Working) -> None:
    names = ["s", "s:meta", "{x}", "a}:s:b", "ä/ö %41", "%", "*", "s:messages"]
    for name in names:
        await working.say(name, f"in {name}")
    for name in names:
        assert await working.said(name) == [f"in {name}"]
