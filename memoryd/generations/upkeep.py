"""A process's models follow the generations: loaded soon after one is made, released some minutes after it is retired."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from memoryd.generations.ports import Catalogues
from memoryd.generations.shelf import ModelShelf
from retrieval.errors import MemorydError

log = logging.getLogger(__name__)

_INTERVAL_S = 2.0


@asynccontextmanager
async def kept_up(catalogues: Catalogues, shelf: ModelShelf, *, interval_s: float = _INTERVAL_S) -> AsyncIterator[None]:
    """While the context is open. What is asked for before it was seen here is loaded all the same, when it is asked for."""
    task = asyncio.create_task(_follow(catalogues, shelf, interval_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _follow(catalogues: Catalogues, shelf: ModelShelf, interval_s: float) -> None:
    while True:
        try:
            used = await catalogues.in_use()
            for one in used:
                shelf.prepare(one)
            await shelf.keep({(one.model, one.revision) for one in used})
        except MemorydError as error:
            log.warning("generations could not be read: %s", error.code)
        await asyncio.sleep(interval_s)
