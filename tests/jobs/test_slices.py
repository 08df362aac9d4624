"""How long a turn at a job lasts: a slice where anything waits, and not for a suspended tenant."""

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest

from memoryd.jobs.control import Share
from memoryd.jobs.model import Command, ItemState, JobItem, JobState, Outcome
from memoryd.jobs.ports import Control
from tests.jobs.conftest import POLICY, Bench, Handler


async def test_a_turn_ends_with_its_slice_and_the_job_goes_on_later(bench: Bench) -> None:
    handler = Handler()
    job_id = await bench.make("one", "two", "three")
    runner = bench.runner(handler, replace(POLICY, slice_s=1e-9))
    for done in (1, 2, 3):
        claim = await runner.claim(bench.scope.tenant_id)
        assert claim is not None
        await runner.work(claim)
        job = await bench.job(job_id)
        assert (job.state, job.counters.succeeded) == (JobState.RUNNING, done)
    assert await bench.run(handler, replace(POLICY, slice_s=1e-9)) == 1  # to finish
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED


async def test_a_turn_goes_on_while_nothing_else_waits_and_the_tenant_is_not_suspended(bench: Bench) -> None:
    others = False

    async def comes(item: JobItem, control: Control) -> Outcome | None:
        nonlocal others
        others = True
        return None

    async def suspended(item: JobItem, control: Control) -> Outcome | None:
        await suspend(bench, bench.clock.now())
        return None

    handler = Handler({"third": comes})
    job_id = await bench.make("one", "two", "third", "four", "five", "six")
    runner = bench.runner(handler, replace(POLICY, slice_s=1e-9))

    async def turn() -> int:
        claim = await runner.claim(bench.scope.tenant_id)
        assert claim is not None
        await runner.work(claim, lambda: others)
        return (await bench.job(job_id)).counters.succeeded

    assert await turn() == 3  # another tenant came in the third
    others = False
    another = await bench.make("seven")
    assert await turn() == 4  # another job of this tenant waits
    await bench.act(another, Command.CANCEL)
    handler.work["five"] = suspended
    assert await turn() == 5
    await suspend(bench, None)
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None
    assert await bench.desk.may_stay(claim, 0, bench.clock.now())
    begun = await bench.desk.next(claim, bench.clock.now())
    assert isinstance(begun, JobItem)
    assert await bench.desk.may_stay(claim, 1, bench.clock.now())
    assert not await bench.desk.may_stay(claim, 0, bench.clock.now())  # nobody works on it: it waits for the end of the turn
    await bench.desk.let_go(claim, bench.clock.now())
    assert await turn() == 6
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED


async def test_a_long_item_gives_way_to_another_tenant_and_goes_on_later(bench: Bench) -> None:
    passed, waits = 0.0, True
    stored: list[int] = []

    async def long(item: JobItem, control: Control) -> Outcome | None:
        nonlocal passed, waits
        for number in range(len(stored), 60):
            passed += 1
            stored.append(number)
            waits = waits or number == 40  # somebody comes while nobody waited
            await control.checkpoint(chunks=1, tokens=1)
        return Outcome(ItemState.SUCCEEDED, chunks=60, tokens=60)

    async def later(item: JobItem, control: Control) -> Outcome | None:
        nonlocal passed
        passed += 30
        return None

    handler = Handler({"long": long, "short": later})
    job_id = await bench.make("long", "short")
    runner = bench.runner(handler, replace(POLICY, slice_s=10), passed=lambda: passed)

    async def turn(others: bool) -> list[ItemState]:
        nonlocal waits
        waits = others
        bench.clock.pass_(1)
        claim = await runner.claim(bench.scope.tenant_id)
        assert claim is not None
        await runner.work(claim, lambda: waits)
        return await bench.states(job_id)

    assert await turn(True) == [ItemState.QUEUED, ItemState.QUEUED]
    assert len(stored) == 10
    assert (await bench.items(job_id))[0].attempts == 0
    assert (await bench.job(job_id)).counters.chunks == 10
    assert await turn(True) == [ItemState.QUEUED, ItemState.SUCCEEDED]  # what never had its turn comes first
    assert await turn(False) == [ItemState.QUEUED, ItemState.SUCCEEDED]
    assert len(stored) == 41
    assert await turn(False) == [ItemState.SUCCEEDED, ItemState.SUCCEEDED]
    assert stored == list(range(60))


async def test_what_gave_way_is_not_begun_again_in_a_turn_that_had_become_longer(bench: Bench) -> None:
    passed, waits, beside = 0.0, False, asyncio.Event()

    async def long(item: JobItem, control: Control) -> Outcome | None:
        nonlocal passed, waits
        for number in range(60):
            passed += 1
            if number == 30:
                beside.set()
                await asyncio.sleep(0.2)  # for a new slice, as nobody waits
            waits = number > 30
            await control.checkpoint(chunks=1, tokens=1)
        return None

    async def short(item: JobItem, control: Control) -> Outcome | None:
        await beside.wait()
        return None

    handler = Handler({"long": long, "short": short})
    await bench.make("first", "long", "short")
    runner = bench.runner(handler, replace(POLICY, slice_s=10, at_once=2), passed=lambda: passed)
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None
    await runner.work(claim, lambda: waits)
    assert handler.done == ["first", "long", "short"]


@pytest.mark.parametrize(("came", "until"), [(1.0, 10.0), (5.0, 20.0)])
def test_an_items_share_is_a_slice_and_three_times_what_it_took_to_come_to_new_chunks(came: float, until: float) -> None:
    now, waits = -500.0, True
    share = Share(10.0, lambda: waits, lambda: now)
    now = 0.0
    share.waited(500.0)  # for a place
    now = came
    share.stored()
    now = until - 0.1
    share.stored()
    assert not share.over
    now, waits = until + 100, False
    share.stored()
    assert not share.over
    waits = True
    assert share.over


async def test_what_waits_for_one_that_gave_way_gives_way_too(bench: Bench) -> None:
    passed, given = 0.0, asyncio.Event()

    async def long(item: JobItem, control: Control) -> Outcome | None:
        nonlocal passed
        try:
            while True:
                passed += 1
                await control.checkpoint(chunks=1, tokens=1)
        finally:
            given.set()  # its place is free before its end is known
            await asyncio.sleep(0.1)

    async def behind(item: JobItem, control: Control) -> Outcome | None:
        await control.waits()
        await given.wait()
        await control.waits()
        raise AssertionError

    async def place(item: JobItem, control: Control) -> Outcome | None:
        control.waited(0.0)
        await given.wait()
        control.waited(5.0)
        raise AssertionError

    handler = Handler({"long": long, "behind": behind, "place": place})
    job_id = await bench.make("first", "long", "behind", "place")
    runner = bench.runner(handler, replace(POLICY, slice_s=10, at_once=3), passed=lambda: passed)
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None
    async with asyncio.timeout(20):
        await runner.work(claim)
    assert await bench.states(job_id) == [ItemState.SUCCEEDED, *[ItemState.QUEUED] * 3]


async def test_a_slot_in_which_all_wait_for_another_jobs_documents_is_given_up(bench: Bench) -> None:
    passed, seen = 0.0, list[str]()

    async def large(item: JobItem, control: Control) -> Outcome | None:
        nonlocal passed
        seen.append("large")
        for _ in range(100):
            passed += 1
            await control.waits()
        raise AssertionError

    async def small(item: JobItem, control: Control) -> Outcome | None:
        nonlocal passed
        passed += 50  # while it goes on, the slot is used
        await control.checkpoint()
        seen.append("small")
        return None

    handler = Handler({"large": large, "small": small})
    job_id = await bench.make("first", "small", "large")
    runner = bench.runner(handler, replace(POLICY, slice_s=10, at_once=2), passed=lambda: passed)
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None
    async with asyncio.timeout(20):
        await runner.work(claim, lambda: True)
    assert await bench.states(job_id) == [ItemState.SUCCEEDED, ItemState.SUCCEEDED, ItemState.QUEUED]
    assert (await bench.items(job_id))[2].attempts == 0
    assert "small" in seen


async def test_a_suspended_tenants_jobs_wait(bench: Bench) -> None:
    job_id = await bench.make("one")
    await suspend(bench, bench.clock.now())
    assert (await bench.run(Handler()), await bench.desk.waiting(bench.scope.tenant_id, bench.clock.now())) == (0, None)
    await suspend(bench, None)
    assert await bench.run(Handler()) == 1
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED


async def suspend(bench: Bench, since: datetime | None) -> None:
    async with bench.database.operator() as connection:
        sql = "UPDATE tenants SET suspended_at = %s WHERE tenant_id = %s"
        await connection.execute(sql, (since, bench.scope.tenant_id))
