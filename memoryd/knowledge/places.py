"""Places for documents that need much memory: each tenant has a few in a worker, however many short ones are under way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary

from memoryd.jobs.ports import Control

_AT_ONCE = 3
_LOOK_S = 5.0


class Places:
    """Of each tenant its own: who had to wait for another's largest documents would wait for hours."""

    def __init__(self) -> None:
        self._places: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def taken(self, tenant_id: UUID, control: Control) -> AsyncIterator[None]:
        """One of the tenant's places; who waits for it gives a sign of life now and then. Raises what ``control`` does."""
        places = self._places.setdefault(tenant_id, asyncio.Semaphore(_AT_ONCE))
        clock = asyncio.get_running_loop().time
        came = clock()
        free = not places.locked()
        while not await _had(places):
            await control.waits()
        try:
            control.waited(0.0 if free else clock() - came)
            yield
        finally:
            places.release()


async def _had(places: asyncio.Semaphore) -> bool:
    try:
        async with asyncio.timeout(_LOOK_S):
            return await places.acquire()
    except TimeoutError:
        return False
