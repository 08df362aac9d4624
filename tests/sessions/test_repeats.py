"""Appends without ids and keys that are sent again, on a real Valkey."""

import asyncio
import json

import pytest

from memoryd.errors import Forbidden
from memoryd.memory.model import Idempotency
from memoryd.sessions.model import Appended, Birth, CheckpointWish, NewMessage
from memoryd.sessions.ports import Changed, Target
from memoryd.sessions.repeats import WITHIN, Repeats
from memoryd.sessions.working import Finder
from memoryd.stores.sessions.messages import RedisMessages
from retrieval.scope import Action, Scope
from tests.sessions.conftest import LIMITS, Working, no_snapshot


def made(working: Working) -> Repeats:
    """As one process has them."""
    finder = Finder(no_snapshot, working.clock)
    return Repeats(finder, RedisMessages(working.scripts, LIMITS), working.sessions, working.clock)


@pytest.fixture
def repeats(working: Working) -> Repeats:
    return made(working)


async def say(repeats: Repeats, working: Working, *texts: str, client_id: str | None = None) -> Appended:
    """As an edge does it, which writes down when."""
    payload = f'{{"role":"user","content":"%s","recorded_at":"{working.clock.now().isoformat()}"}}'
    messages = [NewMessage(client_id, None, False, payload % text) for text in texts]
    return await repeats.append(working.scope, "s", messages, Birth())


async def test_the_end_of_a_session_said_again_is_known_for_a_while(repeats: Repeats, working: Working) -> None:
    await say(repeats, working, "one", "two")
    working.clock.pass_(60)
    again = await say(repeats, working, "one", "two")
    assert [(one.position, one.created) for one in again.placed] == [(1, False), (2, False)]
    await say(repeats, working, "two")
    assert await working.said("s") == ["one", "two"]
    working.clock.pass_(WITHIN.total_seconds())
    assert (await say(repeats, working, "two")).placed[0].created
    assert await working.said("s") == ["one", "two", "two"]


async def say_each(repeats: Repeats, working: Working, *said: tuple[str | None, str], once: str | None = None) -> Appended:
    """Messages of which some have ids, which are stored with them."""
    now = working.clock.now().isoformat()
    written = [{"role": "user", "content": text, "id": one, "recorded_at": now} for one, text in said]
    messages = [NewMessage(one, None, False, json.dumps(payload)) for (one, _), payload in zip(said, written, strict=True)]
    return await repeats.append(working.scope, "s", messages, Birth(), once)


async def test_where_some_have_ids_the_others_are_known_by_the_end(repeats: Repeats, working: Working) -> None:
    await say_each(repeats, working, ("m1", "plan"))
    await say_each(repeats, working, (None, "x"))
    for _ in range(3):
        again = await say_each(repeats, working, ("m1", "plan"), (None, "result"))
        assert [one.position for one in again.placed] == [1, 3]
    assert [one.created for one in again.placed] == [False, False]
    assert await working.said("s") == ["plan", "x", "result"]
    # The id at the end, in the middle, and new.
    for said in ([(None, "a"), ("m2", "b")], [(None, "c"), ("m1", "plan"), ("m3", "d"), (None, "e")]):
        for _ in range(2):
            again = await say_each(repeats, working, *said)
        assert not any(one.created for one in again.placed)
    assert await working.said("s") == ["plan", "x", "result", "a", "b", "c", "d", "e"]
    # What the end says is not what comes behind a message that is new.
    assert all(one.created for one in (await say_each(repeats, working, ("m4", "f"), (None, "e"))).placed)


async def test_many_at_once_of_which_some_have_ids_are_one(repeats: Repeats, working: Working) -> None:
    await say_each(repeats, working, ("m1", "plan"), ("m2", "plan"))
    await asyncio.gather(*(say_each(repeats, working, ("m1", "plan"), (None, "y"), ("m3", "z")) for _ in range(10)))
    assert await working.said("s") == ["plan", "plan", "y", "z"]


async def test_an_id_that_a_restore_set_aside_is_new_among_others(repeats: Repeats, working: Working) -> None:
    await working.say("s", "begin")
    made = await working.sessions.checkpoint(working.scope, "s", CheckpointWish(None, None, {}), None)
    for _ in range(3):
        for _ in range(2):
            await say_each(repeats, working, ("m1", "yes"), (None, "no"))
        assert await working.said("s") == ["begin", "yes", "no"]
        await working.sessions.restore(working.scope, "s", made.checkpoint_id, None)


async def test_one_and_true_are_not_the_same(repeats: Repeats, working: Working) -> None:
    for value in ("true", "1", "1.0"):
        payload = f'{{"role":"tool","content":{{"ok":{value}}},"recorded_at":"{working.clock.now().isoformat()}"}}'
        for created in (True, False):
            done = await repeats.append(working.scope, "s", [NewMessage(None, None, False, payload)], Birth())
            assert done.placed[0].created is created, value


async def test_who_repeats_calls_is_known_by_its_key_whatever_came_between(repeats: Repeats, working: Working) -> None:
    for key in ("one", "two"):
        for _ in range(2):
            await say_each(repeats, working, ("m1", "plan"), (None, "yes"), once=key)
            await working.say("s", "meanwhile")
    assert await working.said("s") == ["plan", "yes", "meanwhile", "meanwhile", "yes", "meanwhile", "meanwhile"]
    # Another call that says what is the end is a repetition all the same: the model's.
    await say_each(repeats, working, (None, "bye"), once="three")
    assert not (await say_each(repeats, working, (None, "bye"), once="four")).placed[0].created


async def test_what_others_said_meanwhile_makes_it_new(repeats: Repeats, working: Working) -> None:
    await say(repeats, working, "yes")
    await working.say("s", "really?")
    await say(repeats, working, "yes")
    assert await working.said("s") == ["yes", "really?", "yes"]


async def test_many_at_once_are_one(repeats: Repeats, working: Working) -> None:
    # Of several processes, and of one that was sent them with a key each.
    for text in ("yes", "no"):
        await asyncio.gather(*(say(made(working), working, text) for _ in range(10)))
    assert await working.said("s") == ["yes", "no"]
    await asyncio.gather(*(say_each(repeats, working, (None, "on"), once=f"k{n}") for n in range(10)))
    assert await working.said("s") == ["yes", "no", "on"]


@pytest.mark.parametrize("client_id", [None, "m1"])
async def test_what_a_restore_set_aside_is_new_when_it_is_said_again(
    repeats: Repeats, working: Working, client_id: str | None
) -> None:
    await working.say("s", "begin")
    made = await working.sessions.checkpoint(working.scope, "s", CheckpointWish(None, None, {}), None)
    for _ in range(3):
        await say(repeats, working, "yes", client_id=client_id)
        await say(repeats, working, "yes", client_id=client_id)
        assert await working.said("s") == ["begin", "yes"]
        await working.sessions.restore(working.scope, "s", made.checkpoint_id, None)


async def test_a_key_that_may_only_write_is_enough_and_needed(repeats: Repeats, working: Working) -> None:
    writer, reader = (Scope(working.scope.tenant_id, "k", frozenset({one}), None) for one in (Action.WRITE, Action.READ))
    message = NewMessage(None, None, False, f'{{"role":"user","content":"x","recorded_at":"{working.clock.now().isoformat()}"}}')
    for _ in range(2):
        await repeats.append(writer, "s", [message], Birth())
    assert await working.said("s") == ["x"]
    with pytest.raises(Forbidden):
        await repeats.append(reader, "s", [message], Birth())


async def test_what_was_said_before_a_known_message_is_not_what_is_said_behind_it(repeats: Repeats, working: Working) -> None:
    await say_each(repeats, working, (None, "yes"))
    await say_each(repeats, working, ("m1", "ok"))
    sent = [("m1", "ok"), (None, "yes")]
    for _ in range(2):
        done = await asyncio.gather(*(say_each(repeats, working, *sent) for _ in range(5)))
        assert {tuple(one.position for one in each.placed) for each in done} == {(2, 3)}
        assert await working.said("s") == ["yes", "ok", "yes"]
    # A known message may be anywhere behind it.
    again = await say_each(repeats, working, (None, "yes"), ("m1", "ok"))
    assert [(one.position, one.created) for one in again.placed] == [(3, False), (2, False)]


async def test_a_call_that_was_known_is_known_again_whatever_came_between(repeats: Repeats, working: Working) -> None:
    """A model repeats itself, the answer is lost, others speak, and what carries the call asks again."""
    await say_each(repeats, working, ("m1", "plan"), (None, "yes"), once="one")
    for _ in range(2):
        again = await say_each(repeats, working, ("m1", "plan"), (None, "yes"), once="two")
        assert [(one.position, one.created) for one in again.placed] == [(1, False), (2, False)]
        await working.say("s", "meanwhile")
    assert await working.said("s") == ["plan", "yes", "meanwhile", "meanwhile"]


async def test_a_call_that_was_known_is_new_when_a_restore_came_between(repeats: Repeats, working: Working) -> None:
    await working.say("s", "begin")
    point = await working.sessions.checkpoint(working.scope, "s", CheckpointWish(None, None, {}), None)
    for key in ("one", "two"):
        await say_each(repeats, working, (None, "yes"), once=key)
    await working.sessions.restore(working.scope, "s", point.checkpoint_id, None)
    target = Target("s", working.clock.now(), Idempotency("three", b"\x01"))
    with pytest.raises(Changed):
        await RedisMessages(working.scripts, LIMITS).known(working.scope, target, [2])
    assert (await say_each(repeats, working, (None, "yes"), once="two")).placed[0].created
    assert await working.said("s") == ["begin", "yes"]
