"""The worker's rounds, and the worker itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from memoryd.clock import SystemClock
from memoryd.errors import StoreUnavailable
from memoryd.jobs.maintenance import Maintenance
from memoryd.jobs.worker import clock_times, create_worker
from memoryd.settings import Settings
from memoryd.wiring import open_maintenance

NOW = datetime(2025, 6, 1, tzinfo=UTC)


class Clock:
    def now(self) -> datetime:
        return NOW


class Store:
    """Three tenants: one with 1,200 vectors to index, one that fails, one with nothing to do."""

    def __init__(self) -> None:
        self.ids = [UUID(int=n) for n in (1, 2, 3)]
        self.left = 1_200
        self.expired: list[tuple[UUID, datetime]] = []
        self.batches = [20, 500, 500]
        self.steps: list[tuple[float, float]] = []  # when each of the first tenant's began and ended
        self.step_s = 0.0

    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]:
        return [one for one in self.ids if after is None or one > after][:limit]

    async def index_tail(self, tenant_id: UUID) -> int:
        if tenant_id == self.ids[1]:
            raise StoreUnavailable("gone")
        return await self.finish_tail(tenant_id) if tenant_id == self.ids[0] else 0

    async def finish_tail(self, tenant_id: UUID) -> int:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(self.step_s)
        self.steps.append((began, loop.time()))
        step = min(500, self.left)
        self.left -= step
        return step

    async def forget_terms(self, tenant_id: UUID) -> int:
        return 0

    async def expire_idempotency(self, tenant_id: UUID, now: datetime, ttl: timedelta) -> int:
        self.expired.append((tenant_id, now - ttl))
        return self.batches.pop() if self.batches else 0


async def test_a_round_finishes_what_it_begins_and_survives_a_failing_tenant() -> None:
    store = Store()
    report = await Maintenance(store, Clock(), idempotency_ttl=timedelta(days=1)).run()
    assert (report.tenants, report.indexed, report.failed, report.expired) == (3, 1_200, 1, 1_020)
    assert store.left == 0
    # Batch after batch until none is left, and not for the tenant that failed.
    assert store.expired == [(store.ids[0], NOW - timedelta(days=1))] * 4 + [(store.ids[2], NOW - timedelta(days=1))]


async def test_building_a_graph_leaves_the_database_time_for_others() -> None:
    store = Store()
    store.step_s = 0.05
    await Maintenance(store, Clock(), idempotency_ttl=timedelta(days=1)).run()
    pauses = [begins - ended for (_, ended), (begins, _) in zip(store.steps, store.steps[1:], strict=False)]
    assert len(pauses) == 3
    assert min(pauses) >= 0.02


async def test_one_tenant_cannot_hold_up_a_round_for_ever() -> None:
    """Somebody writes faster than the worker indexes: the others have their turn all the same."""
    store = Store()
    store.left = 10**9
    report = await Maintenance(store, Clock(), idempotency_ttl=timedelta(days=1)).run()
    assert (report.tenants, report.indexed) == (3, 100 * 500)


async def test_leftovers_are_looked_for_once_a_minute() -> None:
    class Later(Clock):
        at = NOW

        def now(self) -> datetime:
            return self.at

    store, clock = Store(), Later()
    maintenance = Maintenance(store, clock, idempotency_ttl=timedelta(days=1))
    looked = []
    for seconds in (0, 15, 45, 60):
        clock.at = NOW + timedelta(seconds=seconds)
        store.expired.clear()
        await maintenance.run()
        looked.append(bool(store.expired))
    assert looked == [True, False, False, True]


class Stuck(Store):
    """A round that does not end before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds = 0
        self.let_go = asyncio.Event()

    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]:
        self.rounds += 1
        await self.let_go.wait()
        return []


def own_queue(settings: Settings) -> str:
    """A database of the server that no other test sends reminders of jobs to."""
    assert settings.redis_url is not None
    url = settings.redis_url.get_secret_value()
    assert url.endswith("/0")
    return url.removesuffix("0") + "9"


async def test_a_round_that_takes_longer_than_the_interval_is_not_joined_by_another(settings: Settings) -> None:
    store = Stuck()

    @asynccontextmanager
    async def running() -> AsyncIterator[Maintenance]:
        yield Maintenance(store, Clock(), idempotency_ttl=timedelta(days=1))

    async def on_ready() -> None: ...

    worker = create_worker(running, own_queue(settings), interval_s=1, on_ready=on_ready)
    served = asyncio.create_task(worker.main())
    try:
        async with asyncio.timeout(20):
            while True:
                if worker.jobs_complete >= 2:  # rounds that came while the first one ran, and left
                    break
                await asyncio.sleep(0.05)
        assert store.rounds == 1
    finally:
        store.let_go.set()
        served.cancel()
        with pytest.raises(asyncio.CancelledError):
            await served
        with pytest.warns(DeprecationWarning, match="Use aclose"):
            await worker.close()


async def test_the_worker_runs_rounds_on_a_real_redis(settings: Settings) -> None:
    ready = asyncio.Event()

    async def on_ready() -> None:
        ready.set()

    worker = create_worker(lambda: open_maintenance(settings), own_queue(settings), interval_s=1, on_ready=on_ready)
    running = asyncio.create_task(worker.main())
    try:
        async with asyncio.timeout(20):
            await ready.wait()
            while True:
                if worker.jobs_complete:
                    break
                await asyncio.sleep(0.05)
        assert worker.jobs_failed == 0
    finally:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        with pytest.warns(DeprecationWarning, match="Use aclose"):  # arq 0.28 closes its pool by redis-py's old name
            await worker.close()


@pytest.mark.parametrize(
    ("interval_s", "minutes", "seconds"),
    [(1, None, 60), (15, None, 4), (59, None, 2), (60, 60, 1), (90, 30, 1), (600, 6, 1), (3600, 1, 1)],
)
def test_the_interval_is_kept_above_a_minute_too(interval_s: int, minutes: int | None, seconds: int) -> None:
    at_minute, at_second = clock_times(interval_s)
    assert (None if at_minute is None else len(at_minute), len(at_second)) == (minutes, seconds)


async def test_idempotency_keys_are_forgotten_in_time(settings: Settings) -> None:
    async with open_maintenance(settings) as maintenance:
        report = await maintenance.run()
    assert report.failed == 0
    assert SystemClock().now().tzinfo is UTC
