"""Jobs while the store, or the courier, is away."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from memoryd.errors import StoreUnavailable
from memoryd.jobs import runner as running
from memoryd.jobs.courier import ArqCourier, NoCourier
from memoryd.jobs.model import Again, Claim, Command, Dead, ItemState, JobItem, JobState, Outcome, Through
from memoryd.jobs.ports import Control
from memoryd.jobs.sweep import Sweeper
from memoryd.jobs.work import JobWork
from memoryd.stores.jobs.desk import PgDesk
from tests.jobs.conftest import ATTEMPTS, POLICY, Bench, Handler
from tests.stack import Stack

S = ItemState


class Lossy(PgDesk):
    """Down for some calls once an item is to be settled."""

    def __init__(self, bench: Bench, down: int) -> None:
        super().__init__(bench.database, attempts=3)
        self.down = down
        self.lost = False

    def _fails(self) -> None:
        if self.lost and self.down:
            self.down -= 1
            raise StoreUnavailable("the database cannot be reached")

    async def settle_and_next(self, claim: Claim, item: int, verdict: Outcome | Dead, now: datetime) -> JobItem | None:
        self.lost = True
        self._fails()
        return await super().settle_and_next(claim, item, verdict, now)

    async def settle(self, claim: Claim, item: int, verdict: Outcome | Again | Dead, now: datetime) -> None:
        self.lost = True
        self._fails()
        await super().settle(claim, item, verdict, now)

    async def let_go(self, claim: Claim, now: datetime) -> None:
        self._fails()
        await super().let_go(claim, now)


async def test_what_the_store_fails_under_is_handed_back_when_it_is_there_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_AGAIN_S", 0.01)
    bench.desk = Lossy(bench, down=3)
    job_id = await bench.make("one", "two")
    runner = bench.runner(Handler())
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None
    await runner.work(claim)
    assert [(one.state, one.attempts, one.reason) for one in await bench.items(job_id)] == [(S.QUEUED, 0, None)] * 2
    await bench.run(Handler())  # at once, without waiting for the lease
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED
    assert [one.attempts for one in await bench.items(job_id)] == [1, 1]


async def test_who_lost_the_job_meanwhile_hands_nothing_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_AGAIN_S", 0.01)
    bench.desk = Lossy(bench, down=2)
    job_id = await bench.make("one")

    async def taken_over(item: JobItem, control: Control) -> Outcome | None:
        bench.clock.pass_(POLICY.lease.total_seconds() + 1)
        assert await PgDesk(bench.database, attempts=3).claim(
            bench.scope.tenant_id, ["test"], bench.clock.now(), lease=POLICY.lease, limit=2
        )
        return Outcome(S.SUCCEEDED)

    runner = bench.runner(Handler({"one": taken_over}))
    claim = await runner.claim(bench.scope.tenant_id)
    assert claim is not None
    async with asyncio.timeout(10):
        await runner.work(claim)
    (item,) = await bench.items(job_id)
    assert (item.state, item.attempts, item.reason) == (S.QUEUED, 1, "worker_lost")


@dataclass
class OneTenant:
    tenant_id: UUID

    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]:
        return [] if after else [self.tenant_id]


async def test_while_the_courier_is_away_a_worker_finds_by_itself_what_there_is_to_do(bench: Bench) -> None:
    sweeper = Sweeper(bench.desk, OneTenant(bench.scope.tenant_id), bench.courier, bench.clock, retention=timedelta(days=1))
    handler, ended = Handler(), asyncio.Event()
    handler.at_end = ended.set
    work = JobWork(bench.runner(handler), sweeper, None, slots=1, sweep_s=0.05)
    async with asyncio.timeout(20), work.running():
        job_id = await bench.make("one")
        await asyncio.sleep(0.2)
        assert handler.done == [], "a courier that is there says when"
        bench.courier.up = False
        await ended.wait()
    assert await bench.states(job_id) == [S.SUCCEEDED]


async def test_a_courier_whose_server_is_not_there_is_away(stack: Stack) -> None:
    for url, there in ((stack.redis_url, True), ("redis://127.0.0.1:1/0", False)):
        courier = ArqCourier(url, timeout_s=2)
        assert await courier.reachable() is there
        await courier.close()
    assert not await NoCourier().reachable()


async def test_a_job_whose_finishing_is_the_end_of_its_workers_fails_like_any_other(bench: Bench) -> None:
    job_id = await bench.make("one")
    runner = bench.runner(Handler())
    for number in range(ATTEMPTS):
        claim = await runner.claim(bench.scope.tenant_id)
        assert claim is not None
        step = await bench.desk.next(claim, bench.clock.now())
        if isinstance(step, JobItem):
            await bench.desk.settle(claim, step.item, Outcome(S.SUCCEEDED), bench.clock.now())
            step = await bench.desk.next(claim, bench.clock.now())
        assert isinstance(step, Through)
        assert step.job.attempts == number
        bench.clock.pass_(POLICY.lease.total_seconds() + 1)  # it dies while it finishes
    assert await runner.claim(bench.scope.tenant_id) is None
    job = await bench.job(job_id)
    assert (job.state, job.error and job.error.code) == (JobState.FAILED, "worker_lost")
    await bench.act(job_id, Command.RETRY)
    await bench.run(Handler())
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED
