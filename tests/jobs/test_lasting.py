"""A worker whose queue goes away, and comes back."""

import asyncio
import socket
import subprocess
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from arq.constants import job_key_prefix
from redis.asyncio import Redis

from memoryd.embedded import programs
from memoryd.embedded.ports import Ports
from memoryd.errors import StoreUnavailable
from memoryd.jobs.courier import ALIVE, NEWS, QUEUE, ArqCourier
from memoryd.jobs.lasting import LastingWorker
from memoryd.jobs.maintenance import Maintenance
from memoryd.jobs.worker import create_worker
from tests.jobs.conftest import Clock

TENANT, JOB = UUID(int=1), UUID(int=2)


class Rounds:
    """A store that counts rounds. The first after ``hold`` lasts until it is stopped."""

    def __init__(self) -> None:
        self.rounds = self.stopped = 0
        self.hold = False

    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]:
        self.rounds += 1
        if self.hold:
            self.hold = False
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped += 1
        return []

    async def index_tail(self, tenant_id: UUID) -> int:
        return 0

    async def finish_tail(self, tenant_id: UUID) -> int:
        return 0

    async def forget_terms(self, tenant_id: UUID) -> int:
        return 0

    async def expire_idempotency(self, tenant_id: UUID, now: datetime, ttl: timedelta) -> int:
        return 0


class Queue:
    """A server of its own, without any data that would outlive it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = Ports(folder / "ports.json").pick("valkey")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        program = programs.valkey_server(self._folder, None)
        argv = [str(program), "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        for _ in range(1_000):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
                return
            time.sleep(0.01)
        raise AssertionError("it does not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue(tmp_path)
    made.start()
    yield made
    made.kill()


class Bench:
    """A worker on a queue, and what it opened and closed."""

    def __init__(self, queue: Queue) -> None:
        self.store = Rounds()
        self.opened: list[str] = []
        self.worker: LastingWorker = create_worker(self.running, queue.url, interval_s=1, on_ready=self.ready)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Maintenance]:
        self.opened.append("opened")
        yield Maintenance(self.store, Clock(), idempotency_ttl=timedelta(days=1))
        self.opened.append("closed")

    async def ready(self) -> None:
        self.opened.append("ready")

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(40):
            while True:
                if reached():
                    return
                await asyncio.sleep(0.02)

    async def rounds(self, more: int = 2) -> None:
        """Until so many rounds more have begun."""
        wanted = self.store.rounds + more
        await self.until(lambda: self.store.rounds >= wanted)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.worker.main())
        try:
            yield task
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # arq 0.28 closes its pool by redis-py's old name
                await self.worker.close()


async def test_rounds_go_on_when_the_queue_is_back_and_nothing_is_opened_twice(queue: Queue) -> None:
    bench = Bench(queue)
    async with bench.serving() as task:
        await bench.rounds()
        bench.store.hold = True
        await bench.until(lambda: not bench.store.hold)
        for _ in range(2):
            queue.kill()
            await bench.until(lambda: bench.worker._pool is None)
            queue.start()
            await bench.rounds()
            assert 0 < await bench.worker.pool.ttl(ALIVE) <= 60, "its server is told at once that there is a worker"
        assert (bench.store.stopped, task.done()) == (1, False), "what was under way was stopped"
        assert bench.worker.job_counter <= 1
    assert bench.opened == ["opened", "ready", "closed"]


async def test_rounds_go_on_while_the_queue_takes_nothing(queue: Queue) -> None:
    bench, redis = Bench(queue), Redis.from_url(queue.url)
    courier = ArqCourier(queue.url, timeout_s=5)
    async with bench.serving() as task:
        await bench.rounds(1)
        await redis.config_set("maxmemory", 1)
        assert not await courier.reachable()
        await bench.rounds(3)
        assert not task.done()
        await redis.config_set("maxmemory", 0)
        assert await courier.reachable()
        await bench.rounds(2)
    assert bench.opened == ["opened", "ready", "closed"]
    await courier.close()
    await redis.aclose()


async def test_what_was_opened_is_closed_also_where_the_queue_is_gone(queue: Queue) -> None:
    bench = Bench(queue)
    async with bench.serving():
        await bench.rounds(1)
        bench.store.hold = True
        await bench.until(lambda: not bench.store.hold)
        queue.kill()
    assert bench.opened == ["opened", "ready", "closed"]


async def test_what_was_opened_is_closed_also_where_a_round_is_just_being_written_down(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, writing = Bench(queue), asyncio.Event()

    async def written(*_: object, **__: object) -> None:
        writing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(bench.worker, "finish_job", written)
    async with bench.serving():
        await writing.wait()
    assert bench.opened == ["opened", "ready", "closed"]


async def test_a_start_that_fails_is_told(queue: Queue) -> None:
    def fails() -> AbstractAsyncContextManager[Maintenance]:
        raise StoreUnavailable("no database")

    async def ready() -> None: ...

    worker = create_worker(fails, queue.url, interval_s=1, on_ready=ready)
    with pytest.raises(StoreUnavailable):
        await worker.main()
    with pytest.warns(DeprecationWarning, match="Use aclose"):
        await worker.close()


async def test_a_reminder_that_its_worker_died_of_stands_in_for_others_for_a_minute(queue: Queue) -> None:
    times = iter((60.0, 119.0, 120.0))
    courier, redis = ArqCourier(queue.url, timeout_s=5, clock=lambda: next(times)), Redis.from_url(queue.url)
    try:
        waiting = []
        for _ in range(3):
            assert await courier.enqueue(TENANT, JOB)
            waiting.append(await redis.zcard(QUEUE))
        assert waiting == [1, 1, 2]
    finally:
        await redis.aclose()
        await courier.close()


async def test_a_reminder_is_heard_before_the_queue_is_looked_at_again(queue: Queue) -> None:
    bench, redis = Bench(queue), Redis.from_url(queue.url)
    courier = ArqCourier(queue.url, timeout_s=5, clock=lambda: 60.0)
    bench.worker.poll_delay_s = 9.0
    async with bench.serving(), asyncio.timeout(8):
        await bench.until(lambda: "ready" in bench.opened)
        for number in range(3):
            job_id = UUID(int=number)
            assert await courier.enqueue(TENANT, job_id)
            while True:
                if not await redis.exists(f"{job_key_prefix}{TENANT}:{job_id}:1"):
                    break
                await asyncio.sleep(0.01)
    await courier.close()
    await redis.aclose()


async def test_news_that_nobody_hears_is_dropped(queue: Queue) -> None:
    courier, redis = ArqCourier(queue.url, timeout_s=5), Redis.from_url(queue.url)
    for number in range(70):
        assert await courier.enqueue(TENANT, UUID(int=number))
    assert await courier.enqueue(TENANT, JOB, 5.0)
    assert (await redis.llen(NEWS), await redis.zcard(QUEUE)) == (64, 71)
    assert 0 < await redis.ttl(NEWS) <= 60
    await courier.close()
    await redis.aclose()


async def test_a_server_that_has_no_news_holds_up_neither_reminders_nor_rounds(queue: Queue) -> None:
    bench, redis = Bench(queue), Redis.from_url(queue.url)
    courier = ArqCourier(queue.url, timeout_s=5)
    await redis.set(NEWS, "no list")
    async with bench.serving() as task:
        await bench.rounds(2)
        assert await courier.enqueue(TENANT, JOB)
        await bench.rounds(2)
        assert not task.done()
    assert bench.opened == ["opened", "ready", "closed"]
    assert bench.store.stopped == 0
    await courier.close()
    await redis.aclose()
