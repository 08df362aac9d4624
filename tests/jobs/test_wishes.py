"""Jobs that are paused, resumed and cancelled, whoever works on them."""

import pytest

from memoryd.errors import WrongState
from memoryd.jobs.model import Command, ItemState, JobItem, JobState, Outcome, Wish
from memoryd.jobs.ports import Control, LeaseLost
from tests.jobs.conftest import Bench, Handler

S = ItemState


async def test_pause_stops_at_the_next_checkpoint_and_resume_goes_on(bench: Bench) -> None:
    async def pauses(item: JobItem, control: Control) -> Outcome | None:
        await control.checkpoint(chunks=1, tokens=5)
        asked = await bench.act(item.job_id, Command.PAUSE)
        assert (asked.state, asked.wish) == (JobState.RUNNING, Wish.PAUSE)
        await control.checkpoint(chunks=1, tokens=5)
        raise AssertionError("it goes on")

    handler = Handler({"two": pauses})
    job_id = await bench.make("one", "two", "three")
    assert await bench.run(handler) == 1
    job = await bench.job(job_id)
    assert (job.state, job.wish, job.counters.chunks) == (JobState.PAUSED, None, 4)
    assert await bench.states(job_id) == [S.SUCCEEDED, S.QUEUED, S.QUEUED]
    assert (await bench.items(job_id))[1].attempts == 0  # that was none
    assert await bench.desk.waiting(bench.scope.tenant_id, bench.clock.now()) is None
    handler.work.clear()
    assert (await bench.act(job_id, Command.PAUSE)).state is JobState.PAUSED
    assert (await bench.act(job_id, Command.RESUME)).state is JobState.QUEUED
    assert bench.courier.sent[-1] == (job_id, 0.0)
    await bench.run(handler)
    job = await bench.job(job_id)
    assert (job.state, job.counters.chunks) == (JobState.SUCCEEDED, 6)
    assert handler.done == ["one", "two", "two", "three"]


async def test_cancel_stops_at_the_next_checkpoint_and_cancels_the_rest(bench: Bench) -> None:
    async def cancels(item: JobItem, control: Control) -> Outcome | None:
        await bench.act(item.job_id, Command.CANCEL)
        await bench.act(item.job_id, Command.CANCEL)  # said twice
        with pytest.raises(WrongState):
            await bench.act(item.job_id, Command.PAUSE)
        return None

    handler = Handler({"two": cancels})
    job_id = await bench.make("one", "two", "three")
    await bench.run(handler)
    job = await bench.job(job_id)
    assert (job.state, job.counters.succeeded, job.counters.cancelled) == (JobState.CANCELLED, 1, 2)
    assert await bench.states(job_id) == [S.SUCCEEDED, S.CANCELLED, S.CANCELLED]
    assert (handler.ends, job.finished_at) == ([], bench.clock.now())
    for command in (Command.RETRY, Command.PAUSE, Command.RESUME):
        with pytest.raises(WrongState):
            await bench.act(job_id, command)
    with pytest.raises(WrongState):
        await bench.jobs.replay(bench.scope, job_id)


async def test_what_nobody_works_on_is_paused_and_cancelled_at_once(bench: Bench) -> None:
    job_id = await bench.make("one", "two")
    assert (await bench.act(job_id, Command.PAUSE)).state is JobState.PAUSED
    assert await bench.run(Handler()) == 0
    assert (await bench.act(job_id, Command.CANCEL)).state is JobState.CANCELLED
    assert await bench.states(job_id) == [S.CANCELLED, S.CANCELLED]


async def test_a_pause_that_is_taken_back_in_time_changes_nothing(bench: Bench) -> None:
    async def wavers(item: JobItem, control: Control) -> Outcome | None:
        await bench.act(item.job_id, Command.PAUSE)
        assert (await bench.act(item.job_id, Command.RESUME)).wish is None
        return None

    job_id = await bench.make("one", "two")
    assert await bench.run(Handler({"one": wavers})) == 1
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED


@pytest.mark.parametrize(("command", "state"), [(Command.PAUSE, JobState.PAUSED), (Command.CANCEL, JobState.CANCELLED)])
async def test_a_wish_outlives_the_worker_that_died_of_it(bench: Bench, command: Command, state: JobState) -> None:
    job_id = await bench.make("one")
    runner = bench.runner(Handler())
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None
    await bench.desk.next(claim, bench.clock.now())
    assert (await bench.act(job_id, command)).state is JobState.RUNNING
    bench.clock.pass_(31)
    assert await bench.desk.waiting(bench.scope.tenant_id, bench.clock.now()) == job_id
    assert await runner.claim(bench.scope.tenant_id) is None
    job = await bench.job(job_id)
    assert (job.state, job.wish) == (state, None)


async def test_a_job_whose_worker_died_is_paused_at_once_with_nothing_running(bench: Bench) -> None:
    job_id = await bench.make("one", "two")
    claim = await bench.runner(Handler()).claim(bench.scope.tenant_id)
    assert claim is not None
    await bench.desk.next(claim, bench.clock.now())
    bench.clock.pass_(31)
    assert (await bench.act(job_id, Command.PAUSE)).state is JobState.PAUSED
    assert await bench.states(job_id) == [S.QUEUED, S.QUEUED]
    with pytest.raises(LeaseLost):
        await bench.desk.next(claim, bench.clock.now())
    await bench.act(job_id, Command.RESUME)
    await bench.run(Handler())
    assert [one.attempts for one in await bench.items(job_id)] == [2, 1]


@pytest.mark.parametrize(("command", "state"), [(Command.PAUSE, JobState.PAUSED), (Command.CANCEL, JobState.CANCELLED)])
async def test_what_is_asked_again_of_a_job_whose_worker_is_gone_happens_without_one(
    bench: Bench, command: Command, state: JobState
) -> None:
    job_id = await bench.make("one")
    claim = await bench.runner(Handler()).claim(bench.scope.tenant_id)
    assert claim is not None
    await bench.desk.next(claim, bench.clock.now())
    for _ in range(2):
        asked = await bench.act(job_id, command)
        assert (asked.state, asked.wish) == (JobState.RUNNING, Wish(command.value))
    bench.clock.pass_(31)
    asked = await bench.act(job_id, command)
    assert (asked.state, asked.wish) == (state, None)
