"""``python -m tests.jobs.worker_process FOLDER STEP…``: a worker in a process of its own, which kills itself at each step once.

It takes jobs of the kind ``chunks``, whose documents are so many chunks; what it did is in the tables of :data:`TABLES`.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg

from memoryd.clock import SystemClock
from memoryd.job_wiring import open_job_work
from memoryd.jobs.maintenance import Maintenance
from memoryd.jobs.model import ItemState, Job, JobItem, Outcome
from memoryd.jobs.ports import Control
from memoryd.jobs.work import JobWork
from memoryd.jobs.worker import create_worker
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.together import Company
from retrieval.scope import Scope

KIND = "chunks"
TABLES = """
CREATE SCHEMA IF NOT EXISTS effects;
CREATE TABLE IF NOT EXISTS effects.chunks (job uuid, document text, chunk integer);
CREATE TABLE IF NOT EXISTS effects.ends (job uuid, document text);
"""


class Nothing:
    """The one tenant that there is, and no maintenance."""

    def __init__(self, tenant_id: UUID) -> None:
        self._tenant_id = tenant_id

    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]:
        return [] if after else [self._tenant_id]

    async def index_tail(self, tenant_id: UUID) -> int:
        return 0

    async def finish_tail(self, tenant_id: UUID) -> int:
        return 0

    async def forget_terms(self, tenant_id: UUID) -> int:
        return 0

    async def expire_idempotency(self, tenant_id: UUID, now: datetime, ttl: timedelta) -> int:
        return 0


class Chunks:
    """Writes chunk after chunk, from where it finds the document. Nothing in its tables forbids a second one."""

    def __init__(self, url: str, folder: Path, steps: list[str]) -> None:
        self._url = url
        self._folder = folder
        self._steps = steps

    def at(self, step: str) -> None:
        """The end, when this step is to be one and was none yet."""
        mark = self._folder / step
        if step in self._steps and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    async def process(self, scope: Scope, job: Job, item: JobItem, control: Control) -> Outcome:
        name, whole = item.document_id, item.source["chunks"]
        assert isinstance(whole, int)
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            of = (job.job_id, name)
            row = await (
                await connection.execute("SELECT count(*) FROM effects.chunks WHERE job = %s AND document = %s", of)
            ).fetchone()
            for chunk in range(row[0] if row else 0, whole):
                self.at(f"{name}.{chunk}.before")
                await connection.execute("INSERT INTO effects.chunks VALUES (%s, %s, %s)", (*of, chunk))
                self.at(f"{name}.{chunk}.written")
                await control.checkpoint(chunks=1, tokens=7)
                self.at(f"{name}.{chunk}.checked")
                await asyncio.sleep(0.005)
            await connection.execute("INSERT INTO effects.ends VALUES (%s, %s)", of)
        return Outcome(ItemState.SUCCEEDED, chunks=whole, tokens=7 * whole)

    async def finished(self, scope: Scope, job: Job) -> None:
        self.at("finished")


def main(tenant_id: UUID, folder: Path, steps: list[str]) -> None:
    settings = Settings()
    clock, nothing = SystemClock(), Nothing(tenant_id)

    @asynccontextmanager
    async def maintenance() -> AsyncIterator[Maintenance]:
        yield Maintenance(nothing, clock, idempotency_ttl=timedelta(days=1))

    @asynccontextmanager
    async def jobs() -> AsyncIterator[JobWork]:
        assert settings.database_url is not None
        db = Database(settings.database_url.get_secret_value(), size=5, timeout_s=5, statement_timeout_s=30)
        await db.open()
        handlers = {KIND: Chunks(os.environ["EFFECTS_URL"], folder, steps)}
        async with open_job_work(settings, db, nothing, handlers, clock, company=Company()) as work:
            yield work
        await db.close()

    async def ready() -> None:
        (folder / f"ready-{os.getpid()}").touch()

    async def serve() -> None:
        assert settings.redis_url is not None
        worker = create_worker(
            maintenance, settings.redis_url.get_secret_value(), interval_s=3600, on_ready=ready, jobs=jobs,
            sweep_interval_s=settings.jobs_sweep_interval_s,
        )  # fmt: skip
        task = asyncio.ensure_future(worker.main())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            await worker.close()

    asyncio.run(serve())


if __name__ == "__main__":
    main(UUID(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
