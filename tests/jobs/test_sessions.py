"""Rounds over sessions as jobs of the worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from memoryd.jobs.worker import create_worker
from memoryd.sessions.rounds import SessionReport, SessionRounds
from memoryd.settings import Settings
from memoryd.wiring import open_maintenance


class Slow(SessionRounds):
    """Commits and summaries that take for ever."""

    def __init__(self) -> None:
        self.saved = self.tended = self.summarised = 0
        self.thrice, self.let_go = asyncio.Event(), asyncio.Event()

    async def save(self) -> SessionReport:
        self.saved += 1
        if self.saved == 3:
            self.thrice.set()
        return SessionReport()

    async def tend(self) -> SessionReport:
        self.tended += 1
        await self.let_go.wait()
        return SessionReport()

    async def summarise(self) -> SessionReport:
        self.summarised += 1
        await self.let_go.wait()
        return SessionReport()


async def test_nothing_slow_holds_up_snapshots(settings: Settings) -> None:
    rounds = Slow()

    @asynccontextmanager
    async def running() -> AsyncIterator[SessionRounds]:
        yield rounds

    async def on_ready() -> None: ...

    redis_url = settings.redis_url
    assert redis_url is not None
    worker = create_worker(
        lambda: open_maintenance(settings),
        redis_url.get_secret_value(),
        interval_s=60,
        on_ready=on_ready,
        sessions=running,
        sessions_interval_s=1,
    )
    served = asyncio.create_task(worker.main())
    try:
        async with asyncio.timeout(20):
            await rounds.thrice.wait()
        assert (rounds.tended, rounds.summarised) == (1, 1)
        assert worker.jobs_failed == 0
    finally:
        rounds.let_go.set()
        served.cancel()
        with pytest.raises(asyncio.CancelledError):
            await served
        with pytest.warns(DeprecationWarning, match="Use aclose"):
            await worker.close()
