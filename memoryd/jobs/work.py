"""What a worker does about jobs: it is reminded of tenants, and sweeps."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import UUID

from memoryd.jobs.dispatcher import Dispatcher
from memoryd.jobs.model import Claim
from memoryd.jobs.runner import Runner
from memoryd.jobs.sweep import Sweeper


class Collecting(Protocol):
    """Clears what jobs have made and nobody needs any more."""

    async def run(self) -> int:
        """One round; how much it gave up."""


class JobWork:
    """The slots of one worker, the sweeper, and the round that collects."""

    def __init__(self, runner: Runner, sweeper: Sweeper, collecting: Collecting | None, *, slots: int) -> None:
        self._dispatcher = Dispatcher[Claim](runner.claim, self._work, slots=slots)
        self._runner = runner
        self._sweeper = sweeper
        self._collecting = collecting

    def remind(self, tenant_id: UUID) -> None:
        """This tenant may have something to do."""
        self._dispatcher.remind(tenant_id)

    async def sweep(self) -> int:
        """Remind workers of what nobody holds; how many reminders were sent."""
        return await self._sweeper.run()

    async def collect(self) -> int:
        """Give up versions that nobody needs; how many."""
        return 0 if self._collecting is None else await self._collecting.run()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["JobWork"]:
        """The slots work while the context is open."""
        async with self._dispatcher.running():
            yield self

    async def _work(self, claim: Claim) -> None:
        await self._runner.work(claim, lambda: self._dispatcher.others_wait(claim.scope.tenant_id))
