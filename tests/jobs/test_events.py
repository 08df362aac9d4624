"""What a listener is told of a job."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from memoryd.errors import NotFound, TooManyStreams, Unauthenticated
from memoryd.jobs.events import EventKind, JobEvents
from memoryd.jobs.model import Claim, Command, ItemState, JobItem, Outcome
from tests.jobs.conftest import Bench, Handler

S, P, H = EventKind.STATE, EventKind.PROGRESS, EventKind.HEARTBEAT

Step = Callable[[], Awaitable[object]]


def listening(bench: Bench, *steps: Step, lifetime_s: float = 3600) -> JobEvents:
    """Streams of which each look at the job comes after the next step."""
    left = list(steps)

    async def sleep(seconds: float) -> None:
        if left:
            await left.pop(0)()

    return JobEvents(bench.ledger, streams=2, heartbeat_s=0, lifetime_s=lifetime_s, sleep=sleep)


async def good() -> None:
    """The listener's key, asked for again."""


async def told(events: JobEvents, bench: Bench, job_id: UUID, after: int | None = None) -> list[tuple[EventKind, int, str, int]]:
    """Kind, revision, state and chunks."""
    return [
        (one.kind, one.job.revision, one.job.state.value, one.job.counters.chunks)
        async for one in await events.open(bench.scope, job_id, after, good)
    ]


async def test_states_progress_and_silence_up_to_the_end(bench: Bench) -> None:
    job_id = await bench.make("a", "b")
    runner = bench.runner(Handler())
    held: list[Claim] = []

    async def claim() -> None:
        one = await runner.claim(bench.scope.tenant_id)
        assert one is not None
        held.append(one)

    async def nothing() -> None: ...

    async def progress() -> None:
        item = await bench.desk.next(held[0], bench.clock.now())
        assert isinstance(item, JobItem)
        for _ in range(3):  # told of once
            await bench.desk.progress(held[0], item.item, chunks=1, tokens=1, now=bench.clock.now())
        await bench.desk.progress(held[0], None, chunks=0, tokens=0, now=bench.clock.now())  # a beat is no news

    async def settle() -> None:
        await bench.desk.settle(held[0], 0, Outcome(ItemState.SUCCEEDED, chunks=5), bench.clock.now())

    async def cancel() -> None:
        await bench.act(job_id, Command.CANCEL)

    async def obey() -> None:
        await bench.desk.next(held[0], bench.clock.now())

    events = listening(bench, claim, nothing, progress, settle, cancel, obey)
    assert await told(events, bench, job_id) == [
        (S, 1, "queued", 0), (S, 2, "running", 0), (H, 2, "running", 0), (P, 5, "running", 3), (P, 6, "running", 5),
        (S, 7, "running", 5),  # with a wish
        (S, 8, "cancelled", 5),
    ]  # fmt: skip
    for seen in (None, 1, 7, 8, 99):
        assert await told(listening(bench), bench, job_id, seen) == [(S, 8, "cancelled", 5)]


async def test_who_comes_back_is_told_what_is_new_since(bench: Bench) -> None:
    job_id = await bench.make("a")

    async def pause() -> None:
        await bench.act(job_id, Command.PAUSE)

    async def cancel() -> None:
        await bench.act(job_id, Command.CANCEL)

    assert await told(listening(bench, pause, cancel), bench, job_id, 1) == [
        (H, 1, "queued", 0),
        (S, 2, "paused", 0),
        (S, 3, "cancelled", 0),
    ]


async def test_a_stream_ends_in_time_and_with_its_job(bench: Bench) -> None:
    job_id = await bench.make("a")
    assert await told(listening(bench, lifetime_s=0), bench, job_id) == [(S, 1, "queued", 0)]

    async def erased() -> None:
        async with bench.database.transaction(bench.scope) as connection:
            await connection.execute("DELETE FROM jobs WHERE job_id = %s", (job_id,))

    assert await told(listening(bench, erased), bench, job_id) == [(S, 1, "queued", 0)]
    with pytest.raises(NotFound):
        await listening(bench).open(bench.scope, job_id, None, good)


async def test_a_place_is_given_back(bench: Bench) -> None:
    job_id = await bench.make("a")
    events = listening(bench)
    first = await events.open(bench.scope, job_id, None, good)
    with pytest.raises(TooManyStreams):
        await events.open(bench.scope, job_id, None, good)
    await first.aclose()
    second = await events.open(bench.scope, job_id, None, good)
    await second.aclose()


async def test_a_stream_ends_with_its_key(bench: Bench) -> None:
    job_id = await bench.make("a")
    ended = False

    async def still() -> None:
        if ended:
            raise Unauthenticated("ended")

    async def pause() -> None:
        nonlocal ended
        ended = True
        await bench.act(job_id, Command.PAUSE)

    stream = await listening(bench, pause).open(bench.scope, job_id, None, still)
    assert [one.job.state.value async for one in stream] == ["queued"]
