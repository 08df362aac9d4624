"""The slots of one worker: each takes a turn of the tenant that is next, then of the next."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Generic, TypeVar
from uuid import UUID

from memoryd.attempts import attempted
from memoryd.jobs.turns import Turns

Held = TypeVar("Held")


class Dispatcher(Generic[Held]):
    """``claim`` takes a job of a tenant, or none; ``work`` does a slice of it. Reminders may come too often; one that is lost
    is repeated by the sweeper."""

    def __init__(
        self, claim: Callable[[UUID], Awaitable[Held | None]], work: Callable[[Held], Awaitable[None]], *, slots: int
    ) -> None:
        self._claim = claim
        self._work = work
        self._slots = slots
        self._turns = Turns()
        self._news = asyncio.Event()

    def remind(self, tenant_id: UUID) -> None:
        """This tenant may have something to do."""
        self._turns.come(tenant_id)
        self._news.set()

    def others_wait(self, tenant_id: UUID) -> bool:
        """Another tenant, with fewer turns under way, stands in line for a slot."""
        return self._turns.others_wait(tenant_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The slots work while the context is open; then what they hold is let go."""
        slots = [asyncio.create_task(self._slot()) for _ in range(self._slots)]
        try:
            yield
        finally:
            for slot in slots:
                slot.cancel()
            for slot in slots:
                with suppress(asyncio.CancelledError):
                    await slot

    async def _slot(self) -> None:
        while True:
            while (tenant_id := self._turns.take()) is None:
                self._news.clear()
                await self._news.wait()
            try:  # the sweeper comes back to what failed
                await attempted(f"a turn of tenant {tenant_id}", self._turn(tenant_id))
            finally:
                self._turns.end(tenant_id)

    async def _turn(self, tenant_id: UUID) -> None:
        held = await self._claim(tenant_id)
        if held is None:
            return
        self.remind(tenant_id)  # it may have another job, for another slot
        try:
            await self._work(held)
        finally:
            self.remind(tenant_id)  # this one may go on
