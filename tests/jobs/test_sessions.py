"""Rounds over sessions as jobs of the worker."""

import asyncio
from contextlib import AbstractAsyncContextManager

from memoryd.jobs.maintenance import Maintenance
from memoryd.jobs.worker import create_worker
from memoryd.sessions.rounds import SessionReport, SessionRounds


class Slow(SessionRounds):
    """Commits and summaries that take for ever."""

    def __init__(self) -> None:
        self.saved = self.tended = self.summarised = 0
        self.let_go = asyncio.Event()

    async def save(self) -> SessionReport:
        self.saved += 1
        return SessionReport()

    async def tend(self) -> SessionReport:
        self.tended += 1
        await self.let_go.wait()
        return SessionReport()

    async def summarise(self) -> SessionReport:
        self.summarised += 1
        await self.let_go.wait()
        return SessionReport()


def maintenance() -> AbstractAsyncContextManager[Maintenance]:
    raise AssertionError("not opened here")


def sessions() -> AbstractAsyncContextManager[SessionRounds]:
    raise AssertionError("not opened here")


async def test_nothing_slow_holds_up_snapshots() -> None:
    """Each round is a job of its own, which only it holds up."""

    async def on_ready() -> None: ...

    worker = create_worker(maintenance, "redis://127.0.0.1:1", interval_s=15, on_ready=on_ready, sessions=sessions)
    jobs = {job.name: job.coroutine for job in worker.cron_jobs}
    assert sorted(jobs) == ["maintain", "sessions_save", "sessions_summarise", "sessions_tend"]
    rounds = Slow()
    ctx = {"sessions": rounds}
    slow = [asyncio.create_task(jobs[name](ctx)) for name in ("sessions_tend", "sessions_summarise")]
    for _ in range(3):
        for name in ("sessions_save", "sessions_save", "sessions_tend", "sessions_summarise"):
            async with asyncio.timeout(5):
                await asyncio.sleep(0)
                await jobs[name](ctx)
    assert (rounds.saved, rounds.tended, rounds.summarised) == (6, 1, 1)
    rounds.let_go.set()
    await asyncio.gather(*slow)
