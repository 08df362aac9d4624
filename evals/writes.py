"""How fast memories are written: one at a time beside the floor, and in bulk beside the bare embedder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from evals.client import MAX_BATCH, Client
from evals.floor import DESCRIPTION, Floor
from evals.populate import batches, body, embedded_text, populate
from evals.report import Cell, Table
from evals.synthetic import SyntheticMemory
from evals.timing import Summary, summarise
from retrieval.ports import Embedder

_WARM_UP = 10


async def single(client: Client, space: str, memories: Sequence[SyntheticMemory], floor: Floor | None) -> Table:
    """A request a memory, one after another; the floor writes the same text, and the two take turns to go first."""
    wall: list[float] = []
    floored: list[float] = []
    for number, memory in enumerate(memories):
        service_first = number % 2 == 0
        if service_first:
            wall.append(await _timed(client, space, memory))
        if floor is not None:
            floored.append((await floor.write(embedded_text(memory))).total)
        if not service_first:
            wall.append(await _timed(client, space, memory))
    service = summarise(wall[_WARM_UP:])
    rows: list[tuple[Cell, ...]] = [("memoryd over HTTP", *_cells(service))]
    if floored:
        bare = summarise(floored[_WARM_UP:])
        rows.append(("floor: embed + one commit", *_cells(bare)))
        ratios = (service.p50 / bare.p50, service.p95 / bare.p95, service.p99 / bare.p99)
        rows.append(("ratio", service.count, *ratios))
    note = f"Acknowledged after the commit; the floor commits too. {DESCRIPTION}"
    return Table("Writes: one memory a request", ("what", "n", "p50 ms", "p95 ms", "p99 ms"), tuple(rows), note=note)


async def bulk(client: Client, space: str, memories: Mapping[int, Sequence[SyntheticMemory]], embedder: Embedder | None) -> Table:
    """Texts per second through ``POST /v1/memories`` by the number of clients, and through the embedder alone.

    The embedder is measured before and after each load; a load is compared with the mean of its two neighbours.
    """
    rows: list[tuple[Cell, ...]] = []
    before = await _bare(embedder, next(iter(memories.values())), rows)
    for clients, texts in memories.items():
        written = len(texts) / await populate(client, space, texts, in_flight=clients)
        rows.append((f"memoryd over HTTP, {clients} client{'s'[: clients - 1]}", len(texts), written, None))
        after = await _bare(embedder, texts, rows)
        if before is not None and after is not None:
            what, count, rate, _ = rows[-2]
            rows[-2] = (what, count, rate, written / ((before + after) / 2))
        before = after
    return Table(
        "Writes: bulk",
        ("what", "texts", "texts/s", "of the bare embedder"),
        tuple(rows),
        note=f"Requests of {MAX_BATCH} texts, each client with one in flight; no text is written twice. The bare embedder gets "
        "the same texts as the service embeds them, in the same batches, in the benchmark's process, while the service is idle.",
    )


async def bare_rate(embedder: Embedder, memories: Sequence[SyntheticMemory]) -> float:
    """Texts per second of the embedder alone."""
    started = time.perf_counter()
    for batch in batches(memories, MAX_BATCH):
        await embedder.embed_passages([embedded_text(memory) for memory in batch])
    return len(memories) / (time.perf_counter() - started)


async def _bare(embedder: Embedder | None, memories: Sequence[SyntheticMemory], rows: list[tuple[Cell, ...]]) -> float | None:
    if embedder is None:
        return None
    rate = await bare_rate(embedder, memories)
    rows.append(("bare embedder", len(memories), rate, None))
    return rate


async def _timed(client: Client, space: str, memory: SyntheticMemory) -> float:
    started = time.perf_counter()
    await client.write([body(memory, space)])
    return (time.perf_counter() - started) * 1000


def _cells(summary: Summary) -> tuple[Cell, ...]:
    return summary.count, summary.p50, summary.p95, summary.p99
