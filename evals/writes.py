"""How fast memories are written: one at a time beside the floor, and in bulk beside the bare embedder."""

from __future__ import annotations

import time
from collections.abc import Sequence

from evals.client import MAX_BATCH, Client
from evals.floor import Floor
from evals.populate import batches, body, populate
from evals.report import Cell, Table
from evals.synthetic import SyntheticMemory
from evals.timing import Summary, summarise
from retrieval.ports import Embedder

_WARM_UP = 10


async def single(client: Client, space: str, memories: Sequence[SyntheticMemory], floor: Floor | None) -> Table:
    """A request a memory, one after another; the floor writes the same text right after the service."""
    wall: list[float] = []
    floored: list[float] = []
    for memory in memories:
        started = time.perf_counter()
        await client.write([body(memory, space)])
        wall.append((time.perf_counter() - started) * 1000)
        if floor is not None:
            floored.append((await floor.write(memory.text)).total)
    service = summarise(wall[_WARM_UP:])
    rows: list[tuple[Cell, ...]] = [("memoryd over HTTP", *_cells(service))]
    if floored:
        bare = summarise(floored[_WARM_UP:])
        rows.append(("floor: embed + one commit", *_cells(bare)))
        ratios = (service.p50 / bare.p50, service.p95 / bare.p95, service.p99 / bare.p99)
        rows.append(("ratio", service.count, *ratios))
    return Table("Writes: one memory a request", ("what", "n", "p50 ms", "p95 ms", "p99 ms"), tuple(rows))


async def bulk(client: Client, space: str, memories: Sequence[SyntheticMemory], embedder: Embedder | None) -> Table:
    """Texts per second through ``POST /v1/memories``, and through the embedder alone before and after it."""
    before = await bare_rate(embedder, memories) if embedder is not None else None
    written = len(memories) / await populate(client, space, memories)
    after = await bare_rate(embedder, memories) if embedder is not None else None
    rows: list[tuple[Cell, ...]] = [("memoryd over HTTP", len(memories), written)]
    if before is not None and after is not None:
        bare = (before + after) / 2
        rows += [("bare embedder", len(memories), bare), ("ratio", len(memories), written / bare)]
    return Table(
        "Writes: bulk",
        ("what", "n", "texts/s"),
        tuple(rows),
        note=f"Requests of {MAX_BATCH} texts, two in flight. The bare embedder gets the same batches in this process.",
    )


async def bare_rate(embedder: Embedder, memories: Sequence[SyntheticMemory]) -> float:
    """Texts per second of the embedder alone."""
    started = time.perf_counter()
    for batch in batches(memories, MAX_BATCH):
        await embedder.embed_passages([memory.text for memory in batch])
    return len(memories) / (time.perf_counter() - started)


def _cells(summary: Summary) -> tuple[Cell, ...]:
    return summary.count, summary.p50, summary.p95, summary.p99
