"""Real workers on a real queue: killed at every step, racing, without their queue, and told to stop."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from memoryd.clock import SystemClock
from memoryd.jobs.courier import QUEUE, ArqCourier
from memoryd.jobs.model import ItemState, Job, JobState, NewItem, NewJob
from memoryd.jobs.service import Jobs
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.jobs.ledger import PgLedger
from memoryd.stores.redis import Redis
from retrieval.scope import Action, Scope
from tests.embedded.running import ROOT
from tests.jobs.conftest import new_tenant
from tests.jobs.worker_process import KIND, TABLES
from tests.stack import Stack

pytestmark = pytest.mark.slow


class Workers:
    """Processes that work on one tenant's jobs; one that was killed is replaced."""

    def __init__(self, tenant_id: UUID, folder: Path, env: Mapping[str, str], steps: list[str]) -> None:
        self._argv = [sys.executable, "-m", "tests.jobs.worker_process", str(tenant_id), str(folder), *steps]
        self._env = env
        self.running: list[subprocess.Popen[bytes]] = []
        self.killed = 0

    def start(self, number: int = 1) -> None:
        for _ in range(number):
            self.running.append(subprocess.Popen(self._argv, cwd=ROOT, env=dict(self._env)))

    def replace(self) -> None:
        for one in [one for one in self.running if one.poll() is not None]:
            assert one.returncode == -signal.SIGKILL
            self.running.remove(one)
            self.killed += 1
            self.start()

    def stop(self) -> list[int]:
        for one in self.running:
            one.terminate()
        return [one.wait(20) for one in self.running]


@pytest.fixture
def env(stack: Stack, tmp_path: Path) -> dict[str, str]:
    """Of workers: their leases are short, and their queue is a database of its own."""
    with psycopg.connect(stack.superuser_url) as connection:
        connection.execute(TABLES)
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "EFFECTS_URL": stack.superuser_url,
        "MEMORYD_DATABASE_URL": stack.service_url,
        "MEMORYD_REDIS_URL": _queue(stack),
        "MEMORYD_LOG_LEVEL": "warning",
        "MEMORYD_JOBS_LEASE_S": "1",
        "MEMORYD_JOBS_SWEEP_INTERVAL_S": "1",
        "MEMORYD_JOBS_SLICE_S": "0.2",
    }


@contextmanager
def workers(tenant_id: UUID, folder: Path, env: Mapping[str, str], *steps: str) -> Iterator[Workers]:
    some = Workers(tenant_id, folder, env, list(steps))
    try:
        yield some
    finally:
        for one in some.running:
            if one.poll() is None:
                one.kill()
            one.wait()


def _queue(stack: Stack) -> str:
    return f"{stack.redis_url.removesuffix('/0')}/7"


class Caller:
    """One tenant's jobs over the real courier."""

    def __init__(self, stack: Stack, database: Database) -> None:
        self.tenant_id = new_tenant(stack)
        self.courier = ArqCourier(_queue(stack), timeout_s=2)
        self.jobs = Jobs(PgLedger(database), self.courier, SystemClock())
        self._scope = Scope(self.tenant_id, "key:tester", frozenset({Action.READ, Action.WRITE}))
        self._stack = stack

    async def make(self, documents: Mapping[str, int]) -> UUID:
        items = [NewItem(name, {"chunks": chunks}) for name, chunks in documents.items()]
        return (await self.jobs.create(self._scope, NewJob(KIND, {}, items))).job_id

    async def ended(self, *job_ids: UUID, meanwhile: Callable[[], None] = lambda: None) -> list[Job]:
        async with asyncio.timeout(150):
            while True:
                found = [await self.jobs.get(self._scope, one) for one in job_ids]
                if all(one.state.final for one in found):
                    return found
                meanwhile()
                await asyncio.sleep(0.05)

    async def begun(self, job_id: UUID) -> None:
        async with asyncio.timeout(60):
            while True:
                if (await self.jobs.get(self._scope, job_id)).counters.chunks:
                    return
                await asyncio.sleep(0.02)

    async def attempts(self, job_id: UUID) -> int:
        return sum(one.attempts for one in await self.jobs.items(self._scope, job_id, limit=100))

    def effects(self, job_id: UUID) -> tuple[Counter[tuple[str, int]], Counter[str]]:
        with psycopg.connect(self._stack.superuser_url) as connection:
            chunks = connection.execute("SELECT document, chunk FROM effects.chunks WHERE job = %s", (job_id,)).fetchall()
            ends = connection.execute("SELECT document FROM effects.ends WHERE job = %s", (job_id,)).fetchall()
        return Counter((name, chunk) for name, chunk in chunks), Counter(name for (name,) in ends)


@pytest.fixture
async def caller(stack: Stack, database: Database, settings: Settings) -> AsyncIterator[Caller]:
    made = Caller(stack, database)
    yield made
    await made.courier.close()


DOCUMENTS = {"a": 3, "b": 5, "c": 1, "d": 4}
ONCE = Counter((name, chunk) for name, chunks in DOCUMENTS.items() for chunk in range(chunks))


@pytest.mark.parametrize("at_once", [1, 3])
async def test_killed_at_any_step_a_job_goes_on_with_no_duplicate_and_nothing_missing(
    caller: Caller, env: dict[str, str], tmp_path: Path, at_once: int
) -> None:
    steps = ["a.0.before", "b.2.written", "b.3.checked", "d.3.checked", "finished"]
    with workers(caller.tenant_id, tmp_path, env | {"MEMORYD_JOBS_AT_ONCE": str(at_once)}, *steps) as some:
        job_id = await caller.make(DOCUMENTS)
        some.start(2)
        (job,) = await caller.ended(job_id, meanwhile=some.replace)
        some.replace()
        assert some.killed == len(steps)
    chunks, ends = caller.effects(job_id)
    assert chunks == ONCE
    assert set(ends) == DOCUMENTS.keys()
    assert (job.state, job.counters.succeeded, job.counters.failed) == (JobState.SUCCEEDED, 4, 0)
    assert (job.counters.chunks, job.counters.tokens) == (13, 91)
    if at_once == 1:
        assert ends == Counter(DOCUMENTS.keys())
        # Each kill in the middle of a document cost one more attempt at it, and none at another.
        assert await caller.attempts(job_id) == len(DOCUMENTS) + 4


async def test_racing_workers_do_everything_once_and_hand_back_when_told_to_stop(
    caller: Caller, env: dict[str, str], tmp_path: Path
) -> None:
    with workers(caller.tenant_id, tmp_path, env) as some:
        some.start(2)
        made = [await caller.make({"x": 20, "y": 20}) for _ in range(3)]
        long = await caller.make({"long": 100_000})
        for job in await caller.ended(*made):
            assert (job.state, job.counters.chunks) == (JobState.SUCCEEDED, 40)
            chunks, ends = caller.effects(job.job_id)
            assert (set(chunks.values()), len(chunks), ends) == ({1}, 40, Counter("xy"))
        await caller.begun(long)
        assert some.stop() == [0, 0]
    scope = Scope(caller.tenant_id, "x", frozenset({Action.READ}))
    (item,) = await caller.jobs.items(scope, long, limit=1)
    assert (item.state, item.attempts) == (ItemState.QUEUED, 0)


async def test_a_flushed_queue_loses_no_job(caller: Caller, env: dict[str, str], tmp_path: Path, stack: Stack) -> None:
    redis = Redis(_queue(stack), timeout_s=5)
    try:
        await redis.command("FLUSHDB")
        job_id = await caller.make(DOCUMENTS)
        assert await redis.command("ZCARD", QUEUE) == 1
        await redis.command("FLUSHDB")
    finally:
        await redis.close()
    with workers(caller.tenant_id, tmp_path, env) as some:
        some.start()
        (job,) = await caller.ended(job_id)
        assert some.stop() == [0]
    assert (job.state, caller.effects(job_id)[0]) == (JobState.SUCCEEDED, ONCE)
