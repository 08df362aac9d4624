"""Items of one job side by side: how many, and that nothing that holds for one is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from memoryd.errors import StoreUnavailable
from memoryd.jobs.lanes import Lanes
from memoryd.jobs.model import Again, Busy, Command, Dead, Failure, ItemState, JobItem, JobState, Outcome
from memoryd.jobs.ports import Control, LeaseLost
from tests.jobs.conftest import POLICY, Bench, Handler

S = ItemState
THREE = replace(POLICY, at_once=3)
Work = Callable[[JobItem, Control], Awaitable[Outcome | None]]


@dataclass
class Meeting:
    """Items that wait for each other: each goes on when ``number`` of them are there."""

    number: int
    here: int = 0
    most: int = 0
    full: asyncio.Event = field(default_factory=asyncio.Event)

    async def come(self, item: JobItem, control: Control) -> Outcome | None:
        self.here += 1
        self.most = max(self.most, self.here)
        if self.here == self.number:
            self.full.set()
        await self.full.wait()
        self.here -= 1
        return None


def handler(work: Work, *names: str) -> Handler:
    return Handler(dict.fromkeys(names, work))


async def test_short_items_are_worked_on_side_by_side_and_each_has_its_outcome(bench: Bench) -> None:
    meeting = Meeting(3)
    at_end: list[int] = []
    some = handler(meeting.come, *"bcdef")
    some.at_end = lambda: at_end.append(meeting.here)
    job_id = await bench.make(*"abcdef")
    async with asyncio.timeout(30):
        assert await bench.run(some, THREE) == 1
    job = await bench.job(job_id)
    assert (job.state, job.counters.succeeded, job.counters.chunks) == (JobState.SUCCEEDED, 6, 12)
    assert (meeting.most, at_end) == (3, [0])
    assert [one.attempts for one in await bench.items(job_id)] == [1] * 6


@pytest.mark.parametrize(("command", "state"), [(Command.PAUSE, JobState.PAUSED), (Command.CANCEL, JobState.CANCELLED)])
async def test_a_wish_stops_all_of_them_at_their_next_checkpoint_and_is_granted_then(
    bench: Bench, command: Command, state: JobState
) -> None:
    meeting, stopped = Meeting(3), asyncio.Event()

    async def asks(item: JobItem, control: Control) -> Outcome | None:
        await meeting.come(item, control)
        await bench.act(item.job_id, command)
        stopped.set()
        await control.checkpoint(chunks=1)
        raise AssertionError("it goes on")

    async def hears(item: JobItem, control: Control) -> Outcome | None:
        await meeting.come(item, control)
        await stopped.wait()
        await control.checkpoint(chunks=1)
        raise AssertionError("it goes on")

    async def ends(item: JobItem, control: Control) -> Outcome | None:
        await meeting.come(item, control)
        while True:
            if (await bench.states(item.job_id))[1:3] == [S.QUEUED, S.QUEUED]:
                break
            await asyncio.sleep(0.01)
        assert (await bench.job(item.job_id)).state is JobState.RUNNING, "it is not granted before this has ended"
        return Outcome(S.SUCCEEDED, chunks=3)

    some = Handler({"b": asks, "c": hears, "d": ends})
    job_id = await bench.make(*"abcde")
    async with asyncio.timeout(30):
        await bench.run(some, THREE)
    job = await bench.job(job_id)
    assert (job.state, job.wish, job.counters.succeeded) == (state, None, 2)
    assert "e" not in some.done
    left = S.QUEUED if command is Command.PAUSE else S.CANCELLED
    assert await bench.states(job_id) == [S.SUCCEEDED, left, left, S.SUCCEEDED, left]
    assert [one.attempts for one in await bench.items(job_id)] == [1, 0, 0, 1, 0]
    assert job.counters.cancelled == (0 if command is Command.PAUSE else 3)
    if command is Command.PAUSE:
        await bench.act(job_id, Command.RESUME)
        await bench.run(Handler(), THREE)
        job = await bench.job(job_id)
        assert (job.state, job.counters.succeeded, job.counters.chunks) == (JobState.SUCCEEDED, 5, 2 + 3 + 3 * 2)


async def test_a_worker_that_is_stopped_hands_back_all_of_them_at_once(bench: Bench) -> None:
    meeting, never = Meeting(2), asyncio.Event()

    async def waits(item: JobItem, control: Control) -> Outcome | None:
        await meeting.come(item, control)
        await never.wait()
        return None

    job_id = await bench.make(*"abc")
    runner = bench.runner(handler(waits, "b", "c"), THREE)
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None
    working = asyncio.create_task(runner.work(claim))
    await meeting.full.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert [(one.state, one.attempts) for one in await bench.items(job_id)] == [
        (S.SUCCEEDED, 1),
        (S.QUEUED, 0),
        (S.QUEUED, 0),
    ]
    assert await bench.run(Handler(), THREE) == 1
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED


async def test_who_lost_the_lease_stops_all_of_them_and_writes_nothing(bench: Bench) -> None:
    meeting, late, stopped = Meeting(2), Handler(), []

    async def loses(item: JobItem, control: Control) -> Outcome | None:
        await meeting.come(item, control)
        bench.clock.pass_(31)
        assert await bench.run(late, THREE) == 1
        return Outcome(S.FAILED, "late", chunks=1_000)

    async def hangs(item: JobItem, control: Control) -> Outcome | None:
        await meeting.come(item, control)
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(item.document_id)
        return None

    job_id = await bench.make(*"abc")
    async with asyncio.timeout(30):
        await bench.run(Handler({"b": loses, "c": hangs}), THREE)
    job = await bench.job(job_id)
    assert (job.state, job.counters.succeeded, job.counters.chunks) == (JobState.SUCCEEDED, 3, 6)
    assert (stopped, sorted(late.done)) == (["c"], ["b", "c"])


async def test_what_was_tried_before_is_alone(bench: Bench) -> None:
    begun, beside = asyncio.Event(), set[str]()
    under_way: set[str] = set()

    async def stays(item: JobItem, control: Control) -> Outcome | None:
        under_way.add(item.document_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await begun.wait()
        under_way.remove(item.document_id)
        return None

    async def again(item: JobItem, control: Control) -> Outcome | None:
        if item.attempts == 1:
            raise StoreUnavailable("down")
        begun.set()
        beside.update(under_way)
        return None

    some = Handler({"b": again})
    job_id = await bench.make(*"abcd")
    await bench.run(some, THREE)
    # It is queued behind the others, which are to be done again too.
    async with bench.database.transaction(bench.scope) as connection:
        sql = "UPDATE job_items SET state = 'queued', attempts = 0 WHERE tenant_id = %s AND document_id <> 'b'"
        await connection.execute(sql, (bench.scope.tenant_id,))
    bench.clock.pass_(100)
    some.work |= {"c": stays, "d": stays}
    some.done.clear()
    await bench.run(some, THREE)
    assert (some.done[-1], begun.is_set(), beside) == ("b", True, set())
    assert (await bench.items(job_id))[1].attempts == 2


async def test_a_turn_ends_with_all_that_is_under_way(bench: Bench) -> None:
    job_id = await bench.make(*"abcdef")
    begun: list[str] = []

    async def slow(item: JobItem, control: Control) -> Outcome | None:
        begun.append(item.document_id)
        await asyncio.sleep(1.2)
        return None

    runner = bench.runner(handler(slow, *"bcdef"), replace(THREE, slice_s=1.0))
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None
    await runner.work(claim)
    assert 0 < len(begun) <= 3
    assert await bench.states(job_id) == [S.SUCCEEDED] * (1 + len(begun)) + [S.QUEUED] * (5 - len(begun))
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None, "it was let go"


async def test_the_desk_says_busy_while_others_are_under_way_and_takes_back_what_was_not_settled(bench: Bench) -> None:
    job_id = await bench.make(*"ab")
    claim = await bench.runner(Handler()).claim(bench.scope.tenant_id)
    assert claim is not None
    first, second = [await bench.desk.next(claim, bench.clock.now()) for _ in range(2)]
    assert isinstance(first, JobItem)
    assert isinstance(second, JobItem)
    assert await bench.desk.next(claim, bench.clock.now()) == Busy()
    await bench.act(job_id, Command.CANCEL)
    assert await bench.desk.next(claim, bench.clock.now()) == Busy()
    await bench.desk.settle(claim, first.item, Outcome(S.SUCCEEDED, chunks=1), bench.clock.now())
    await bench.desk.let_go(claim, bench.clock.now())
    assert [(one.state, one.attempts) for one in await bench.items(job_id)] == [(S.SUCCEEDED, 1), (S.QUEUED, 0)]
    for work in (
        bench.desk.settle(claim, second.item, Outcome(S.SUCCEEDED, chunks=9), bench.clock.now()),
        bench.desk.progress(claim, second.item, chunks=9, tokens=9, now=bench.clock.now()),
        bench.desk.next(claim, bench.clock.now()),
    ):
        with pytest.raises(LeaseLost):
            await work
    assert await bench.runner(Handler()).claim(bench.scope.tenant_id) is None, "the wish outlives it"
    job = await bench.job(job_id)
    assert (job.state, job.counters.succeeded, job.counters.cancelled, job.counters.chunks) == (JobState.CANCELLED, 1, 1, 1)


async def test_an_item_whose_beginning_nobody_heard_of_does_not_hold_up_its_job(bench: Bench) -> None:
    """The database had begun it when the connection broke."""
    job_id = await bench.make("a")
    runner = bench.runner(Handler(), THREE)
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None
    await bench.desk.next(claim, bench.clock.now())
    await runner.work(claim)
    assert (await bench.items(job_id))[0].attempts == 0
    assert await bench.run(Handler(), THREE) == 1
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED


async def test_another_lane_is_for_short_items_only() -> None:
    lanes = Lanes(3)
    ends = [asyncio.Event() for _ in range(5)]
    followed: list[bool] = []

    def is_now() -> tuple[bool, int]:
        return lanes.room, len(lanes)

    async def end(number: int) -> None:
        ends[number].set()
        await lanes.one_ended()

    async def begin(number: int, taking: float = 0.0, *, alone: bool = False) -> None:
        async def until() -> None:
            await ends[number].wait()
            followed.append(lanes.ended(taking))

        await lanes.begin(until(), alone=alone)
        await asyncio.sleep(0)

    await begin(0)
    assert is_now() == (False, 1), "nobody knows yet how long they take"
    await end(0)
    for number in (1, 2, 3):
        assert is_now() == (True, number - 1)
        await begin(number, taking=5.0 if number == 2 else 4.9)
    assert is_now() == (False, 3)
    await end(1)
    assert is_now() == (True, 2)
    await end(2)
    assert is_now() == (False, 1), "that one was long"
    ends[3].set()
    await begin(4, alone=True)
    assert is_now() == (False, 1)
    await end(4)
    assert is_now() == (True, 0)
    assert followed == [False, True, False, False, False], (
        "where all lanes are taken, behind a short one, and not beside one alone"
    )


async def test_items_follow_each_other_in_their_lanes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[JobItem | Busy | object] = []
    begin = bench.desk.next

    async def counted(*given: Any) -> Any:
        asked.append(answer := await begin(*given))
        return answer

    monkeypatch.setattr(bench.desk, "next", counted)
    names = [f"d{number:02d}" for number in range(20)]
    some = handler(Meeting(3).come, *names[1:])
    job_id = await bench.make(*names)
    async with asyncio.timeout(60):
        assert await bench.run(some, THREE) == 1
    job = await bench.job(job_id)
    assert (job.state, job.counters.succeeded, job.counters.chunks, sorted(some.done)) == (JobState.SUCCEEDED, 20, 40, names)
    assert [one.attempts for one in await bench.items(job_id)] == [1] * 20
    begun = [one for one in asked if isinstance(one, JobItem)]
    assert len(begun) == 4, "the first by itself, and one a lane: whatever came then followed another"


async def test_no_item_follows_in_a_turn_that_is_over(bench: Bench) -> None:
    async def slow(item: JobItem, control: Control) -> Outcome | None:
        await asyncio.sleep(0.3)
        return None

    some = handler(slow, "a")
    job_id = await bench.make(*"ab")
    runner = bench.runner(some, replace(POLICY, slice_s=0.2))
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None
    await runner.work(claim)
    assert (some.done, await bench.states(job_id)) == (["a"], [S.SUCCEEDED, S.QUEUED])


async def test_the_desk_ends_an_item_and_begins_the_next_in_one(bench: Bench) -> None:
    job_id = await bench.make(*"abcde")
    claim = await bench.runner(Handler()).claim(bench.scope.tenant_id)
    assert claim is not None
    well, now = Outcome(S.SUCCEEDED, chunks=3, tokens=7, size=9), bench.clock.now()
    assert isinstance(await bench.desk.next(claim, now), JobItem)
    bench.clock.pass_(2)
    second = await bench.desk.settle_and_next(claim, 0, well, bench.clock.now())
    assert second is not None
    assert (second.document_id, second.state, second.attempts, second.source) == ("b", S.RUNNING, 1, {"name": "b"})
    job = await bench.job(job_id)
    assert (job.counters.succeeded, job.counters.chunks, job.counters.tokens, job.counters.size) == (1, 3, 7, 9)
    assert (job.worked_s, job.updated_at) == (2.0, bench.clock.now()), "the end of an item is a sign of life"
    # An item that was tried before is not begun beside others, however long it has waited.
    await bench.desk.settle(claim, 1, Again(now, Failure("down", "it is down")), bench.clock.now())
    third = await bench.desk.next(claim, now)
    assert isinstance(third, JobItem)
    assert third.document_id == "b"
    fourth = await bench.desk.next(claim, bench.clock.now())
    assert isinstance(fourth, JobItem)
    assert fourth.document_id == "c"
    await bench.desk.settle(claim, 1, Again(now, Failure("down", "it is down")), bench.clock.now())
    assert await bench.desk.settle_and_next(claim, fourth.item, Dead(Failure("down", "it is down")), bench.clock.now()) is None
    assert (await bench.items(job_id))[2].state is S.FAILED
    # Nor is any where something is asked of the job.
    again = await bench.desk.next(claim, bench.clock.now())
    assert isinstance(again, JobItem)
    await bench.act(job_id, Command.PAUSE)
    assert await bench.desk.settle_and_next(claim, again.item, well, bench.clock.now()) is None
    assert await bench.states(job_id) == [S.SUCCEEDED, S.SUCCEEDED, S.FAILED, S.QUEUED, S.QUEUED]
    await bench.desk.let_go(claim, bench.clock.now())
    with pytest.raises(LeaseLost):
        await bench.desk.settle_and_next(claim, 3, well, bench.clock.now())
    assert (await bench.states(job_id))[3:] == [S.QUEUED, S.QUEUED]


async def test_what_lanes_raise_is_raised_once_and_the_others_can_be_stopped() -> None:
    stopped = asyncio.Event()
    lanes = Lanes(2)

    async def quick() -> None:
        lanes.ended(0.0)

    async def fails() -> None:
        raise LeaseLost

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    await lanes.begin(quick())
    await lanes.one_ended()
    await lanes.begin(hangs())
    await lanes.begin(fails())
    with pytest.raises(LeaseLost):
        await lanes.one_ended()
    await lanes.stop()
    assert (stopped.is_set(), len(lanes)) == (True, 0)
