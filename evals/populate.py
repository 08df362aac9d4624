"""Fills a space with synthetic memories."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from pydantic import JsonValue

from evals.client import MAX_BATCH, Client
from evals.synthetic import SyntheticMemory
from retrieval.situate import situated

# Two requests in flight: the service embeds one while it commits the other.
IN_FLIGHT = 2


def body(memory: SyntheticMemory, space: str) -> dict[str, JsonValue]:
    """The request's item; the bucket is both the user and a metadata field, so that either can be filtered on."""
    return {
        "text": memory.text,
        "space": space,
        "external_id": memory.id,
        "user_id": memory.bucket,
        "event_time": memory.event_time.isoformat() if memory.event_time else None,
        "metadata": {"bucket": memory.bucket},
    }


def embedded_text(memory: SyntheticMemory) -> str:
    """What the service embeds for it: the text, behind its date where it has one."""
    return situated(memory.text, None, memory.event_time)


async def populate(client: Client, space: str, memories: Sequence[SyntheticMemory], *, in_flight: int = IN_FLIGHT) -> float:
    """Writes all of them in bulk; returns seconds. Sending one again is harmless: it is answered as a duplicate."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    waiting = batches(memories, MAX_BATCH)

    async def work() -> None:
        for batch in waiting:
            await client.write([body(memory, space) for memory in batch])

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work())
    return loop.time() - started


def batches(memories: Iterable[SyntheticMemory], size: int) -> Iterator[list[SyntheticMemory]]:
    """Consecutive runs of at most ``size``."""
    iterator = iter(memories)
    while batch := list(islice(iterator, size)):
        yield batch
