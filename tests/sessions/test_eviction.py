"""A Redis that drops single keys of sessions, as with ``maxmemory`` and another policy than ``noeviction``."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from memoryd.errors import NotFound
from memoryd.memory.model import Idempotency
from memoryd.sessions.model import Birth, CheckpointWish, Expected, NewMessage
from memoryd.sessions.ports import SessionGone
from memoryd.sessions.snapshots import Reason
from memoryd.stores.redis import Redis
from memoryd.stores.sessions.keys import PARTS, Keys
from tests.sessions.conftest import LIMITS, evicting, message, tenant
from tests.sessions.whole import INTERVAL_S, Whole, folder


@pytest.fixture
def whole(redis: Redis, tmp_path: Path) -> Whole:
    return Whole(redis, tenant(), folder(tmp_path))


async def drop(whole: Whole, *parts: str) -> None:
    keys = Keys(whole.scope.tenant_id)
    await whole.redis.command("DEL", *(keys.part("s", part) for part in parts))


async def saved(whole: Whole) -> None:
    """A session of two messages and a key, with a snapshot, and one message since."""
    message = json.dumps({"role": "user", "content": "a", "id": "m1", "recorded_at": "2026-01-01T00:00:00+00:00"})
    await whole.sessions.append(whole.scope, "s", [NewMessage("m1", None, True, message)], Birth(), None)
    await whole.say("s", "b")
    await whole.sessions.put_state(whole.scope, "s", "k", 1, Expected(), None)
    await whole.snapshots.take(whole.scope, "s", Reason.REQUEST)
    await whole.say("s", "since")


@pytest.mark.parametrize("part", ["meta", "messages"])
async def test_a_session_whose_core_was_dropped_comes_back_from_its_snapshot(whole: Whole, part: str) -> None:
    await saved(whole)
    await drop(whole, part)
    assert await whole.said("s") == ["a", "b"]
    (position,) = await whole.say("s", "c")
    assert position > LIMITS.messages  # none that was given out is given to another
    assert await whole.said("s") == ["a", "b", "c"]
    assert [(one.key, one.value) for one in await whole.sessions.state(whole.scope, "s")] == [("k", 1)]
    window = await whole.windows(whole.scope, "s", budget=500, tokenizer="o200k_base")
    assert [one.position for one in (*window.pinned, *window.messages)] == [1, 2, position]


@pytest.mark.parametrize("part", ["meta", "messages"])
async def test_who_writes_first_goes_on_from_the_snapshot_too(whole: Whole, part: str) -> None:
    await saved(whole)
    await drop(whole, part)
    await whole.say("s", "c")
    assert await whole.said("s") == ["a", "b", "c"]


async def test_what_is_left_of_a_session_is_not_saved_in_place_of_it(whole: Whole) -> None:
    await saved(whole)
    await drop(whole, "messages")
    with pytest.raises(SessionGone):
        await whole.snapshots.take(whole.scope, "s", Reason.PERIODIC)
    whole.clock.pass_(3_600)
    await whole.rounds.save()
    assert await whole.said("s") == ["a", "b"]


async def test_nothing_is_written_beside_messages_that_were_dropped(whole: Whole) -> None:
    """It would be gone when the session is read back."""
    sessions, scope = whole.sessions, whole.scope
    await saved(whole)
    known, once = message("since", client_id="m2"), Idempotency("k", b"\x01")
    for key in (once, None):
        await sessions.append(scope, "s", [known], Birth(), key)
        await drop(whole, "messages")
        done = await sessions.append(scope, "s", [known], Birth(), key)
        assert [one.created for one in done.placed] == [True]
        assert await whole.said("s") == ["a", "b", "since"]
        await drop(whole, "messages")
        await whole.said("s")
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: sessions.put_state(scope, "s", "late", 1, Expected(), None),
        lambda: sessions.record_effect(scope, "s", "late", 1),
        lambda: sessions.delete_state(scope, "s", "k", None, None),
        lambda: sessions.checkpoint(scope, "s", CheckpointWish(None, "late", {}), None),
    ]
    for number, write in enumerate(writes):
        await drop(whole, "messages")
        await write()
        assert await whole.said("s") == ["a", "b"], number
        await whole.snapshots.take(scope, "s", Reason.REQUEST)
    assert [one.key for one in await sessions.state(scope, "s")] == ["late"]
    assert (await sessions.get_effect(scope, "s", "late")).value == 1
    assert [one.label for one in await sessions.checkpoints(scope, "s")] == ["late"]


async def test_what_is_left_of_a_session_without_a_snapshot_is_none_of_the_next(whole: Whole) -> None:
    sessions, scope, once = whole.sessions, whole.scope, Idempotency("k", b"\x01")
    await whole.say("s", "a")
    point = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)
    await sessions.restore(scope, "s", point.checkpoint_id, None)
    known = message("known", client_id="m1")
    for make in (
        lambda: sessions.append(scope, "s", [known], Birth(), once),
        lambda: sessions.put_state(scope, "s", "k", 1, Expected(absent=True), None),
        lambda: sessions.record_effect(scope, "s", "e", 2),
    ):
        await sessions.append(scope, "s", [known], Birth(), once)
        await sessions.put_state(scope, "s", "k", 0, Expected(), None)
        await sessions.record_effect(scope, "s", "e", 0)
        await drop(whole, "meta")
        await make()
        keys = Keys(scope.tenant_id)
        left = await whole.redis.command("EXISTS", *(keys.part("s", part) for part in ("messages", "state", "effects")))
        assert left == 1
        assert await sessions.checkpoints(scope, "s") == []


async def test_messages_that_are_gone_for_good_are_not_known(whole: Whole) -> None:
    known = message("known", client_id="m1")
    for position in (1, 2):
        for created in (True, False):
            done = await whole.sessions.append(whole.scope, "s", [known], Birth(), None)
            assert [(one.position, one.created) for one in done.placed] == [(position, created)]
        await drop(whole, "messages")


async def test_sessions_whose_messages_were_dropped_hold_up_no_round(whole: Whole) -> None:
    names = [f"hollow{number}" for number in range(200)]
    await asyncio.gather(*(whole.say(name, "a") for name in names))
    keys = Keys(whole.scope.tenant_id)
    await whole.redis.command("DEL", *(keys.part(name, "messages") for name in names))
    whole.clock.pass_(1)
    await whole.say("good", "a")
    whole.clock.pass_(INTERVAL_S)
    async with asyncio.timeout(30):
        report = await whole.rounds.save()
    assert (report.snapshots, report.failed) == (1, 200)
    assert (await whole.rounds.save()).failed == 0, "they wait behind the others"


async def test_a_session_whose_messages_were_dropped_is_read_back_by_the_worker_and_expires(whole: Whole) -> None:
    await saved(whole)
    await drop(whole, "messages")
    whole.clock.pass_(LIMITS.ttl_s + 1)
    assert ((report := await whole.rounds.run()).expired, report.failed) == (0, 0)
    (before,) = await whole.records.snapshots(whole.scope, "s", 9)
    whole.clock.pass_(LIMITS.ttl_s + 1)
    assert ((report := await whole.rounds.run()).expired, report.failed) == (1, 0)
    assert not await whole.life.present(whole.scope, ["s"])
    assert (await whole.records.snapshots(whole.scope, "s", 9))[0].snapshot_id != before.snapshot_id
    assert await whole.said("s") == ["a", "b"]


async def test_a_session_without_messages_and_without_a_snapshot_goes_on(whole: Whole) -> None:
    await whole.say("s", "a", "b")
    await drop(whole, "messages")
    with pytest.raises(NotFound):
        await whole.said("s")
    assert await whole.say("s", "c") == [3]
    assert await whole.said("s") == ["c"]
    await drop(whole, "messages")
    await whole.lifecycle.delete(whole.scope, "s")
    keys = Keys(whole.scope.tenant_id)
    assert await whole.redis.command("EXISTS", *(keys.part("s", part) for part in PARTS)) == 0
    # One that never had any is there.
    await whole.sessions.put_state(whole.scope, "t", "k", 1, Expected(), None)
    assert await whole.said("t") == []


async def test_a_server_tells_whether_it_drops_keys(redis: Redis) -> None:
    assert await redis.eviction() is None
    for policy in ("allkeys-lru", "volatile-ttl"):
        async with evicting(redis, policy):
            assert await redis.eviction() == policy
            await redis.command("CONFIG", "SET", "maxmemory", 0)
            assert await redis.eviction() is None
    async with evicting(redis, "noeviction"):
        assert await redis.eviction() is None
