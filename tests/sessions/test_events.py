"""Streams of events: what a listener that comes back is told, and how many there may be."""

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from memoryd.errors import NotFound, TooManyStreams, WorkingMemoryUnavailable
from memoryd.sessions.events import Event, EventKind, Events
from memoryd.sessions.model import CheckpointWish, Session
from memoryd.sessions.working import Finder
from memoryd.stores.redis import Redis
from memoryd.stores.sessions.waiter import RedisWaiter
from retrieval.scope import Scope
from tests.sessions.conftest import LIMITS, good, no_snapshot, tenant
from tests.sessions.whole import Whole, folder
from tests.stack import Stack


class Gone:
    """A waiter whose Redis has just gone."""

    async def wait(self, scope: Scope, session: Session, after: int, seconds: float) -> None:
        raise WorkingMemoryUnavailable("gone")


@pytest.fixture
def whole(redis: Redis) -> Whole:
    return Whole(redis, tenant(), None)


def events(whole: Whole, *, streams: int = 4, heartbeat_s: float = 0.1, lifetime_s: float = 0.2, gone: bool = False) -> Events:
    finder = Finder(no_snapshot, whole.clock)
    waiter = Gone() if gone else RedisWaiter(whole.redis)
    return Events(finder, whole.messages, waiter, whole.clock, streams=streams, heartbeat_s=heartbeat_s, lifetime_s=lifetime_s)


async def told(stream: AsyncIterator[Event]) -> list[str | int]:
    """Kinds and, of messages, positions; without what says nothing new."""
    quiet = {EventKind.BEGIN, EventKind.HEARTBEAT}
    return [one.message.position if one.message else one.kind async for one in stream if one.kind not in quiet]


async def test_who_comes_back_after_a_restore_is_told_of_it(whole: Whole) -> None:
    scope, streams = whole.scope, events(whole)
    await whole.say("s", "a", "b", "c")
    assert await told(await streams.open(scope, "s", 2, good)) == [3]
    point = await whole.sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)
    await whole.say("s", "d")
    done = await whole.sessions.restore(scope, "s", point.checkpoint_id, None)
    await whole.say("s", "e")
    assert await told(await streams.open(scope, "s", 4, good)) == [EventKind.RESTORE, 5]
    # Undone, everything up to there is visible again, as it was before: only the number of restores tells.
    await whole.sessions.restore(scope, "s", done.undo, None)
    assert await told(await streams.open(scope, "s", 4, good)) == [EventKind.RESTORE]
    assert await told(await streams.open(scope, "s", 0, good)) == [1, 2, 3, 4]
    assert await told(await streams.open(scope, "s", None, good)) == []


async def test_who_comes_back_after_a_loss_is_told_of_it(whole: Whole) -> None:
    await whole.say("s", "a", "b")
    key = f"t:{{{whole.scope.tenant_id}}}:s:s:meta"
    # As a session is put back from a snapshot that had one message fewer.
    await whole.redis.command("HSET", key, "vis", "1:1,1003:", "head", 1_002)
    assert await told(await events(whole).open(whole.scope, "s", 2, good)) == [EventKind.RESTORE]


async def test_who_listens_to_a_session_made_anew_hears_it_from_its_beginning(whole: Whole) -> None:
    await whole.say("s", "a", "b", "c")

    class Remade:
        """A waiter, until whose first return another session has the name."""

        calls = 0

        async def wait(self, scope: Scope, session: Session, after: int, seconds: float) -> None:
            self.calls += 1
            if self.calls == 1:
                await whole.lifecycle.delete(scope, session.session_id)
                await whole.say(session.session_id, "d", "e", "f", "g")
            else:
                await asyncio.sleep(seconds)

    streams = Events(
        Finder(no_snapshot, whole.clock), whole.messages, Remade(), whole.clock, streams=4, heartbeat_s=0.1, lifetime_s=0.3
    )
    assert await told(await streams.open(whole.scope, "s", 2, good)) == [3, EventKind.RESTORE, 1, 2, 3, 4]
    assert await told(await streams.open(whole.scope, "s", 100, good)) == [EventKind.RESTORE, 1, 2, 3, 4]
    # Who comes back with a position that it has reached again is not known to have seen another.
    assert await told(await streams.open(whole.scope, "s", 4, good)) == []


async def test_who_comes_back_does_not_bring_back_what_ended(redis: Redis, tmp_path: Path) -> None:
    whole = Whole(redis, tenant(), folder(tmp_path))
    await whole.say("s", "a")
    finder = Finder(partial(whole.snapshots.recover, expired=False), whole.clock)
    streams = Events(finder, whole.messages, RedisWaiter(redis), whole.clock, streams=4, heartbeat_s=0.1, lifetime_s=0.2)
    await whole.lifecycle.snapshot(whole.scope, "s")
    await whole.lose_redis()
    assert await told(await streams.open(whole.scope, "s", 0, good)) == [1]
    whole.clock.pass_(LIMITS.ttl_s + 1)
    assert (await whole.rounds.tend()).expired == 1
    with pytest.raises(NotFound):
        await streams.open(whole.scope, "s", 1, good)
    assert await whole.said("s") == ["a"]
    assert await told(await streams.open(whole.scope, "s", 0, good)) == [1]


async def test_one_tenant_has_half_of_the_streams(whole: Whole) -> None:
    streams, other = events(whole, lifetime_s=5), Whole(whole.redis, tenant(), None)
    for one in (whole, other):
        await one.say("s", "a")
    held = [await streams.open(whole.scope, "s", 0, good) for _ in range(2)]
    with pytest.raises(TooManyStreams):
        await streams.open(whole.scope, "s", 0, good)
    with pytest.raises(NotFound):
        await streams.open(other.scope, "none", 0, good)
    held += [await streams.open(other.scope, "s", 0, good) for _ in range(2)]
    with pytest.raises(TooManyStreams):
        await streams.open(tenant(), "s", 0, good)
    # Its answer was never sent, so nobody ever asked it for an event: the place is free all the same.
    del held[0]
    gc.collect()
    await asyncio.sleep(0.05)
    held.append(await streams.open(whole.scope, "s", 0, good))


async def test_one_stream_is_for_anybody(whole: Whole) -> None:
    await whole.say("s", "a")
    streams = events(whole, streams=1)
    assert await told(await streams.open(whole.scope, "s", 0, good)) == [1]
    assert await told(await streams.open(whole.scope, "s", 0, good)) == [1]


async def test_a_stream_ends_when_redis_goes(whole: Whole) -> None:
    await whole.say("s", "a")
    assert await told(await events(whole, gone=True).open(whole.scope, "s", 0, good)) == [1]


async def test_restores_and_the_end_wake_who_listens(stack: Stack, whole: Whole) -> None:
    blocking = Redis(stack.redis_url, timeout_s=40)
    waiting = replace(whole, redis=blocking)
    scope, heard = whole.scope, asyncio.Queue[EventKind | None]()
    await whole.say("s", "a")
    point = await whole.sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)

    async def listen() -> None:
        async for event in await events(waiting, heartbeat_s=30, lifetime_s=60).open(scope, "s", 1, good):
            if event.kind is not EventKind.HEARTBEAT:
                heard.put_nowait(event.kind)

    listening = asyncio.create_task(listen())
    async with asyncio.timeout(10):
        assert await heard.get() is EventKind.BEGIN
        await whole.say("s", "b")
        assert await heard.get() is EventKind.MESSAGE
        for _ in range(2):
            await asyncio.sleep(0.1)
            await whole.sessions.restore(scope, "s", point.checkpoint_id, None)
            assert await heard.get() is EventKind.RESTORE
        await asyncio.sleep(0.1)
        await whole.lifecycle.delete(scope, "s")
        assert await heard.get() is EventKind.GONE
        await listening
    await blocking.close()


async def test_nothing_wakes_who_listens_to_a_session_made_after_one_that_was_deleted(whole: Whole) -> None:
    await whole.say("s", "a")
    await whole.lifecycle.delete(whole.scope, "s")
    whole.clock.pass_(0.001)
    await whole.say("s", "b")
    told = [one.kind async for one in await events(whole).open(whole.scope, "s", 1, good)]
    assert told.count(EventKind.HEARTBEAT) <= 2


async def test_who_was_told_nothing_comes_back_with_where_it_stood(whole: Whole) -> None:
    await whole.say("s", "a")
    (begun, *_) = [one async for one in await events(whole).open(whole.scope, "s", None, good)]
    await whole.say("s", "b")
    assert (begun.kind, begun.after) == (EventKind.BEGIN, 1)
    assert await told(await events(whole).open(whole.scope, "s", begun.after, good)) == [2]
