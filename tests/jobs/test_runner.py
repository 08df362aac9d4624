"""Turns at jobs: outcomes, retries, leases."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from memoryd.errors import Conflict, StoreUnavailable, WrongState
from memoryd.jobs.model import Command, ItemState, JobItem, JobState, NewItem, NewJob, Outcome
from memoryd.jobs.ports import Control, LeaseLost, NotYet
from memoryd.jobs.sweep import Sweeper
from memoryd.jobs.work import JobWork
from retrieval.errors import InferenceOverloaded
from retrieval.scope import Action
from tests.jobs.conftest import ATTEMPTS, POLICY, Bench, Handler, Reminders, bench_of, new_tenant
from tests.jobs.outcomes import giving, raising
from tests.stack import Stack

S = ItemState


async def test_every_item_has_an_outcome_of_its_own_and_none_stops_the_others(bench: Bench) -> None:
    handler = Handler(
        {
            "same": giving(Outcome(S.UNCHANGED)),
            "bad": giving(Outcome(S.FAILED, "encrypted", "the PDF wants a password")),
            "bug": raising(ZeroDivisionError("secret content")),
            "gone": raising(Conflict("the draft is gone")),
        }
    )
    job_id = await bench.make("good", "same", "bad", "bug", "gone", "last")
    await bench.run(handler)
    assert handler.done == ["good", "same", "bad", "bug", "gone", "last"]
    job = await bench.job(job_id)
    counts = job.counters
    assert (job.state, counts.items, counts.succeeded, counts.unchanged, counts.failed) == (JobState.PARTIAL, 6, 2, 1, 3)
    assert (counts.chunks, counts.tokens, counts.size) == (4, 20, 200)
    items = await bench.items(job_id)
    assert [one.state for one in items] == [S.SUCCEEDED, S.UNCHANGED, S.FAILED, S.FAILED, S.FAILED, S.SUCCEEDED]
    assert [one.reason for one in items] == [None, None, "encrypted", "internal_error", "conflict", None]
    assert "secret" not in str(items[3].detail)
    assert not any(one.dead for one in items)
    assert (items[0].pages, items[0].attempts, items[0].source) == (1, 1, {})
    assert [one.counters.failed for one in handler.ends] == [3]
    assert job.finished_at == job.started_at == bench.clock.now()


async def test_a_job_is_succeeded_partial_or_failed(bench: Bench) -> None:
    bad = {"bad": giving(Outcome(S.FAILED, "empty"))}
    all_bad, good = await bench.make("bad", "bad"), await bench.make("good")
    empty = await bench.make()
    handler = Handler(bad)
    await bench.run(handler)
    states = [(await bench.job(one)).state for one in (all_bad, good, empty)]
    assert states == [JobState.FAILED, JobState.SUCCEEDED, JobState.SUCCEEDED]
    # There is nothing to finish where nothing went well.
    assert [one.job_id for one in handler.ends] == [good, empty]


async def test_a_handler_acts_for_the_maker_in_the_jobs_space_only(bench: Bench) -> None:
    handler = Handler()
    await bench.make("one", space="team")
    await bench.run(handler)
    (scope,) = handler.scopes
    assert (scope.tenant_id, scope.principal, scope.spaces) == (bench.scope.tenant_id, "key:tester", frozenset({"team"}))
    assert scope.actions == {Action.READ, Action.WRITE}


async def test_what_may_pass_is_tried_again_later_and_later_then_it_is_a_dead_letter(bench: Bench) -> None:
    handler = Handler({"busy": raising(InferenceOverloaded("full", retry_after_s=3))})
    job_id = await bench.make("busy", "good")
    await bench.run(handler)
    assert handler.done == ["busy", "good"]
    assert await bench.states(job_id) == [S.QUEUED, S.SUCCEEDED]
    assert (await bench.items(job_id))[0].reason == "inference_overloaded"
    # Nobody holds it, it has its time, and a reminder is on its way.
    assert await bench.desk.waiting(bench.scope.tenant_id, bench.clock.now()) is None
    assert bench.courier.sent[-1] == (job_id, 3.0)
    waits = []
    while (await bench.job(job_id)).state is JobState.RUNNING:
        bench.clock.pass_(0.5)
        waits.append(await bench.run(handler))
    # After 3 s (as the error asked), and after 4 s.
    assert (waits.count(1), len(waits)) == (ATTEMPTS - 1, 6 + 8)
    job = await bench.job(job_id)
    assert (job.state, job.counters.failed, job.counters.succeeded) == (JobState.PARTIAL, 1, 1)
    (letter,) = await bench.jobs.dead_letters(bench.scope, limit=10)
    assert (letter.item.document_id, letter.item.attempts, letter.item.reason) == ("busy", ATTEMPTS, "inference_overloaded")
    assert letter.item.dead


async def test_what_others_are_at_is_asked_for_as_often_as_it_takes(bench: Bench) -> None:
    handler = Handler({"taken": raising(NotYet("another is at it"))})
    job_id = await bench.make("taken", "good")
    for _ in range(3 * ATTEMPTS):
        await bench.run(handler)
        assert bench.courier.sent[-1] == (job_id, 2.0)
        bench.clock.pass_(2)
    (taken, good) = await bench.items(job_id)
    assert (taken.state, taken.attempts, taken.reason, good.state) == (S.QUEUED, 0, "others_write", S.SUCCEEDED)
    assert taken.started_at is None, "nothing has been done of it"
    handler.work.clear()
    await bench.run(handler)
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED


async def test_what_was_done_before_it_had_to_wait_is_not_forgotten(bench: Bench) -> None:
    handler = Handler({"a": raising(StoreUnavailable("down"))})
    job_id = await bench.make("a")
    await bench.run(handler)
    handler.work["a"] = raising(NotYet("another is at it"))
    bench.clock.pass_(2)
    await bench.run(handler)
    (item,) = await bench.items(job_id)
    assert (item.attempts, item.reason, item.started_at is None) == (1, "others_write", False)


async def test_dead_letters_are_replayed(bench: Bench) -> None:
    handler = Handler({"a": raising(StoreUnavailable("down")), "b": raising(TimeoutError())})
    job_id = await bench.make("a", "b", "c")
    for _ in range(ATTEMPTS):
        await bench.run(handler)
        bench.clock.pass_(100)
    letters = await bench.jobs.dead_letters(bench.scope, limit=10)
    assert [(one.item.item, one.item.reason) for one in letters] == [(0, "store_unavailable"), (1, "timeout")]
    assert [one.item.item for one in await bench.jobs.dead_letters(bench.scope, after=(job_id, 0), limit=10)] == [1]
    assert await bench.jobs.replay(bench.scope, job_id, [1, 2]) == 1  # the third one is no dead letter
    assert (await bench.job(job_id)).state is JobState.QUEUED
    del handler.work["b"]
    await bench.run(handler)
    assert await bench.states(job_id) == [S.FAILED, S.SUCCEEDED, S.SUCCEEDED]
    del handler.work["a"]
    assert await bench.jobs.replay(bench.scope, job_id) == 1
    await bench.run(handler)
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED
    assert (await bench.jobs.dead_letters(bench.scope, limit=10), await bench.jobs.replay(bench.scope, job_id)) == ([], 0)
    assert len(handler.ends) == 3


async def test_retry_does_the_failed_ones_only(bench: Bench) -> None:
    handler = Handler({"bad": giving(Outcome(S.FAILED, "empty"))})
    job_id = await bench.make("good", "bad")
    await bench.run(handler)
    handler.work.clear()
    handler.done.clear()
    assert (await bench.act(job_id, Command.RETRY)).state is JobState.QUEUED
    await bench.run(handler)
    assert handler.done == ["bad"]
    job = await bench.job(job_id)
    assert (job.state, job.counters.succeeded, job.counters.failed, job.counters.chunks) == (JobState.SUCCEEDED, 2, 0, 4)
    with pytest.raises(WrongState, match="succeeded") as refused:
        await bench.act(job_id, Command.RETRY)
    assert refused.value.state == "succeeded"


async def test_jobs_of_a_tenant_take_turns_within_its_limit(bench: Bench) -> None:
    made = [await bench.make("one", "two") for _ in range(3)]
    runner = bench.runner(Handler(), replace(POLICY, slice_s=1e-9))
    tenant_id = bench.scope.tenant_id
    bench.clock.pass_(1)
    first, second = await runner.claim(tenant_id), await runner.claim(tenant_id)
    assert first is not None
    assert second is not None
    assert [first.job.job_id, second.job.job_id] == made[:2]
    assert await runner.claim(tenant_id) is None
    bench.clock.pass_(1)
    await runner.work(first)
    third = await runner.claim(tenant_id)
    assert third is not None
    assert third.job.job_id == made[2]  # it has waited for longest


async def test_two_workers_that_race_for_a_job_get_it_once(bench: Bench) -> None:
    job_id = await bench.make("one")
    runners = [bench.runner(Handler()) for _ in range(6)]
    claims = [one for one in await asyncio.gather(*(one.claim(bench.scope.tenant_id) for one in runners)) if one]
    assert [one.job.job_id for one in claims] == [job_id]
    more = [await bench.make("x") for _ in range(4)]
    claims = [one for one in await asyncio.gather(*(one.claim(bench.scope.tenant_id) for one in runners)) if one]
    assert [one.job.job_id for one in claims] == more[:1]  # the limit is two, and it holds under a race


async def test_who_lost_the_lease_writes_nothing(bench: Bench) -> None:
    late = Handler()

    async def sleeps(item: JobItem, control: Control) -> Outcome | None:
        bench.clock.pass_(31)  # longer than the lease
        assert await bench.run(late) == 1
        with pytest.raises(LeaseLost):
            await control.checkpoint(chunks=1_000, tokens=1_000)
        return Outcome(S.FAILED, "late", chunks=1_000)  # and swallows it

    job_id = await bench.make("one", "two")
    handler = Handler({"one": sleeps})
    await bench.run(handler)
    assert (handler.done, late.done) == (["one"], ["two", "one"])  # what somebody died of comes last
    job = await bench.job(job_id)
    assert (job.state, job.counters.succeeded, job.counters.chunks) == (JobState.SUCCEEDED, 2, 4)
    assert [one.attempts for one in await bench.items(job_id)] == [2, 1]


async def test_an_item_that_kills_its_workers_is_given_up(bench: Bench) -> None:
    job_id = await bench.make("poison", "good")
    runner = bench.runner(Handler())
    for _ in range(ATTEMPTS):
        claim = await runner.claim(bench.scope.tenant_id)
        assert claim is not None
        item = await bench.desk.next(claim, bench.clock.now())
        assert isinstance(item, JobItem)
        if item.document_id == "good":  # the other one has been put behind it
            await bench.desk.settle(claim, item.item, Outcome(S.SUCCEEDED), bench.clock.now())
            assert isinstance(await bench.desk.next(claim, bench.clock.now()), JobItem)
        bench.clock.pass_(31)  # SIGKILL
    handler = Handler()
    await bench.run(handler)
    job = await bench.job(job_id)
    assert (job.state, job.counters.succeeded, job.counters.failed) == (JobState.PARTIAL, 1, 1)
    (letter,) = await bench.jobs.dead_letters(bench.scope, limit=10)
    assert (letter.item.document_id, letter.item.reason) == ("poison", "worker_lost")


async def test_a_worker_that_is_stopped_hands_back_at_once_and_that_is_no_attempt(bench: Bench) -> None:
    begun = asyncio.Event()

    async def waits(item: JobItem, control: Control) -> Outcome | None:
        begun.set()
        await asyncio.Event().wait()
        return None

    job_id = await bench.make("one")
    runner = bench.runner(Handler({"one": waits}))
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None
    working = asyncio.create_task(runner.work(claim))
    await begun.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    (item,) = await bench.items(job_id)
    assert (item.state, item.attempts) == (S.QUEUED, 0)
    assert await bench.run(Handler()) == 1
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED


async def test_the_lease_is_renewed_while_an_item_takes_long(bench: Bench) -> None:
    sql = "SELECT lease_until FROM jobs WHERE tenant_id = %(tenant)s"

    async def parses(item: JobItem, control: Control) -> Outcome | None:
        bench.clock.pass_(0.8)
        while True:
            # The next beat is due within a third of a second; its time is the real one, what it writes is the clock's.
            ((until,),) = await bench.database.read(bench.scope, sql, {"tenant": bench.scope.tenant_id})
            if until == bench.clock.now() + timedelta(seconds=1):
                break
            await asyncio.sleep(0.02)
        bench.clock.pass_(0.8)
        assert await bench.runner(Handler()).claim(bench.scope.tenant_id) is None
        return None

    job_id = await bench.make("one")
    await bench.run(Handler({"one": parses}), replace(POLICY, lease=timedelta(seconds=1)))
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED


async def test_an_item_without_a_checkpoint_is_given_up_in_time(bench: Bench) -> None:
    async def hangs(item: JobItem, control: Control) -> Outcome | None:
        await control.checkpoint(chunks=1)
        await asyncio.Event().wait()
        return None

    job_id = await bench.make("one")
    await bench.run(Handler({"one": hangs}), replace(POLICY, stall_s=0.05))
    (item,) = await bench.items(job_id)
    assert (item.state, item.reason, item.attempts) == (S.QUEUED, "timeout", 1)


async def test_finishing_is_tried_again_and_its_failure_is_the_jobs(bench: Bench) -> None:
    def down() -> None:
        raise StoreUnavailable("down")

    handler = Handler(at_end=down)
    job_id = await bench.make("one")
    await bench.run(handler)
    job = await bench.job(job_id)
    assert (job.state, job.error and job.error.code) == (JobState.RUNNING, "store_unavailable")
    bench.clock.pass_(2)
    await bench.run(handler)
    bench.clock.pass_(4)
    await bench.run(handler)
    job = await bench.job(job_id)
    assert (job.state, job.error and job.error.code, len(handler.ends)) == (JobState.FAILED, "store_unavailable", ATTEMPTS)
    assert handler.done == ["one"]
    # A retry has nothing to do but that.
    handler.at_end = lambda: None
    await bench.act(job_id, Command.RETRY)
    await bench.run(handler)
    job = await bench.job(job_id)
    assert (job.state, job.error, handler.done) == (JobState.SUCCEEDED, None, ["one"])


async def test_what_is_replayed_while_a_job_finishes_keeps_it_open(bench: Bench) -> None:
    handler = Handler({"a": raising(StoreUnavailable("down"))})
    job_id = await bench.make("a", "b")
    for _ in range(ATTEMPTS - 1):
        await bench.run(handler)
        bench.clock.pass_(100)
    runner = bench.runner(handler)
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None
    item = await bench.desk.next(claim, bench.clock.now())
    assert isinstance(item, JobItem)
    await bench.desk.settle(claim, item.item, Outcome(S.FAILED, "empty"), bench.clock.now())
    await bench.desk.next(claim, bench.clock.now())
    # Meanwhile somebody queues the first one again, as a dead letter would be.
    async with bench.database.transaction(bench.scope) as connection:
        await connection.execute("UPDATE job_items SET dead = true WHERE item = 0")
    assert await bench.jobs.replay(bench.scope, job_id) == 1
    assert (await bench.desk.finish(claim, None, bench.clock.now())).state is JobState.RUNNING
    handler.work.clear()
    await bench.run(handler)
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED


async def test_kinds_that_a_worker_does_not_know_are_left_to_others(bench: Bench) -> None:
    made = await bench.jobs.create(bench.scope, NewJob("newer", {}, [NewItem("a", {})]))
    assert await bench.run(Handler()) == 0
    assert (await bench.job(made.job_id)).state is JobState.QUEUED


async def test_rate_and_time_left_are_of_the_time_that_was_worked(bench: Bench) -> None:
    async def takes(item: JobItem, control: Control) -> Outcome | None:
        bench.clock.pass_(2)
        return None

    job_id = await bench.make("one", "two", "three", "four")
    fresh = await bench.job(job_id)
    assert (fresh.eta_s, fresh.per_second(fresh.counters.chunks)) == (None, None)
    handler = Handler(dict.fromkeys(("one", "two", "three", "four"), takes))
    runner = bench.runner(handler, replace(POLICY, slice_s=1e-9))
    for _ in range(2):
        claim = await runner.claim(bench.scope.tenant_id)
        assert claim is not None
        await runner.work(claim)
        bench.clock.pass_(1_000)  # nobody holds it
    job = await bench.job(job_id)
    assert (job.worked_s, job.eta_s, job.per_second(job.counters.chunks)) == (4.0, 4.0, 1.0)


async def test_what_may_be_tried_again_keeps_its_source_and_nothing_else_does(bench: Bench) -> None:
    handler = Handler({"bad": giving(Outcome(S.FAILED, "empty"))})
    await bench.make("good", "bad")
    await bench.run(handler)
    await bench.act(await bench.make("cancelled"), Command.CANCEL)
    sql = "SELECT document_id, source FROM job_items WHERE tenant_id = %(tenant)s"
    rows = await bench.database.read(bench.scope, sql, {"tenant": bench.scope.tenant_id})
    assert dict(rows) == {"good": {}, "bad": {"name": "bad"}, "cancelled": {}}


async def test_a_tenant_with_fifty_jobs_delays_another_by_one_slice(bench: Bench, stack: Stack) -> None:
    other = bench_of(bench.database, new_tenant(stack), bench.clock, Reminders())
    done = asyncio.Event()

    async def comes(item: JobItem, control: Control) -> Outcome | None:
        await other.make("theirs", "theirs")
        work.remind(other.scope.tenant_id)
        return None

    async def ends(item: JobItem, control: Control) -> Outcome | None:
        if handler.done.count("theirs") == 2:
            done.set()
        return None

    handler = Handler({"third": comes, "theirs": ends})
    await bench.make("first")
    await bench.make("second")
    await bench.make("third")
    for _ in range(47):
        await bench.make("later", "later")
    sweeper = Sweeper(bench.desk, NoTenants(), bench.courier, bench.clock, retention=timedelta(days=1))
    work = JobWork(bench.runner(handler, replace(POLICY, slice_s=1e-9)), sweeper, None, slots=1)
    async with asyncio.timeout(60), work.running():
        work.remind(bench.scope.tenant_id)
        await done.wait()
    at = handler.done.index("third")
    # Each slice is one item here. The one after the job came is theirs, and from then on they alternate.
    assert [name for name in handler.done[at + 1 :] if name == "theirs"] == ["theirs", "theirs"]
    assert handler.done[at + 1] == "theirs"
    assert handler.done[at + 1 :].index("theirs", 1) <= 2


class NoTenants:
    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]:
        return []
