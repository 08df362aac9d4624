"""What a worker does about jobs: it is reminded of tenants, and sweeps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol
from uuid import UUID

from memoryd.attempts import attempted
from memoryd.jobs.dispatcher import Dispatcher
from memoryd.jobs.model import Claim
from memoryd.jobs.runner import Runner
from memoryd.jobs.sweep import Sweeper


class Collecting(Protocol):
    """Clears what jobs have made and nobody needs any more."""

    async def run(self) -> int:
        """One round; how much it gave up."""


class _Here:
    """:class:`memoryd.jobs.ports.Courier` to the slots of this worker."""

    def __init__(self, dispatcher: Dispatcher[Claim]) -> None:
        self._dispatcher = dispatcher

    async def enqueue(self, tenant_id: UUID, job_id: UUID, delay_s: float = 0.0) -> bool:
        self._dispatcher.remind(tenant_id)
        return True

    async def reachable(self) -> bool:
        return True


class JobWork:
    """The slots of one worker, the sweeper, and the round that collects. While the courier is away, whose server says also when a
    round is due, this worker sweeps for itself every ``sweep_s``."""

    def __init__(
        self, runner: Runner, sweeper: Sweeper, collecting: Collecting | None, *, slots: int, sweep_s: float = 5.0
    ) -> None:
        self._dispatcher = Dispatcher[Claim](runner.claim, self._work, slots=slots)
        self._runner = runner
        self._sweeper = sweeper
        self._collecting = collecting
        self._sweep_s = sweep_s

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
            looking = asyncio.create_task(self._look())
            try:
                yield self
            finally:
                looking.cancel()
                with suppress(asyncio.CancelledError):
                    await looking

    async def _look(self) -> None:
        here = _Here(self._dispatcher)
        while True:
            await asyncio.sleep(self._sweep_s)
            if await self._sweeper.courier_is_away():
                await attempted("a sweep without the courier", self._sweeper.run(here))

    async def _work(self, claim: Claim) -> None:
        await self._runner.work(claim, lambda: self._dispatcher.others_wait(claim.scope.tenant_id))
