"""The floor: what a recall and a write cost without a service around them.

A recall's floor is one embedding call, the statements of the dense and the lexical arm (with the turns that follow its
hits) at the same time, and the statement that reads the ten best; no HTTP, authentication, space lookup, fusion, boosts or
JSON. A write's floor is one embedding call and one transaction that inserts the memory's rows and its vector, without
postings, statistics, duplicate check and audit. The text of the arms' statements is the stores' own, so that both sides run
the same SQL.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4

from memoryd.stores.database import Database
from memoryd.stores.vectors import HalfVectorParam
from retrieval.filters import Filters
from retrieval.ports import ArmHit, DenseIndex, Embedder, ItemReader, Lane, LexicalIndex, Query
from retrieval.scope import Scope

ARM_DEPTH = 100
SHOWN = 10
NEXT_TURNS = 2
DESCRIPTION = (
    "The floor is the same work without a service: one embedding call with the same model in the benchmark's own process, the "
    "SQL of the same store classes over the same pool settings against the same database, and nothing else: no HTTP, "
    "authentication, fusion, boosts, duplicate check, postings, statistics or audit (evals/floor.py). Service and floor take "
    "turns question by question, which goes first alternates, and they never run at the same time."
)

_INSERT = """
WITH memory AS (
    INSERT INTO memories (tenant_id, memory_id, space_id)
    VALUES (%(tenant)s, %(memory)s, %(space)s) RETURNING seq),
revision AS (
    INSERT INTO memory_revisions (tenant_id, memory_id, revision, space_id, seq, action, actor, kind, text,
                                  occurred_at, source_type, confidence, live)
    SELECT %(tenant)s, %(memory)s, 1, %(space)s, seq, 'created', 'floor', 'episodic', %(text)s, now(), 'api', 1, true
    FROM memory),
passage AS (
    INSERT INTO passages (tenant_id, memory_id, revision, space_id, ordinal, span_start, span_end, length, terms,
                          facets, live)
    VALUES (%(tenant)s, %(memory)s, 1, %(space)s, 0, 0, length(%(text)s), 1, '{}', '{}', true) RETURNING pid)
INSERT INTO embeddings (tenant_id, generation, pid, space_id, live, embedding)
SELECT %(tenant)s, %(generation)s, pid, %(space)s, true, %(vector)s FROM passage
"""


@dataclass(frozen=True, slots=True)
class FloorTiming:
    """Milliseconds."""

    embed: float
    total: float


class Floor(Protocol):
    """What the measurements need of it."""

    async def recall(self, query: str) -> FloorTiming:
        """Embed, search, read."""

    async def write(self, text: str) -> FloorTiming:
        """Embed and commit."""


@dataclass(frozen=True, slots=True)
class StoreFloor:
    """:class:`Floor` over the stores of one installation, in one space of one tenant."""

    database: Database
    embedder: Embedder
    dense: DenseIndex
    lexical: LexicalIndex
    items: ItemReader
    generation: int
    scope: Scope
    space: UUID

    async def recall(self, query: str) -> FloorTiming:
        """Embed the question, run both arms concurrently, read the first ten."""
        started = time.perf_counter()
        where = Query((self.space,), Filters())
        # As in the service, the lexical arm does not wait for the embedding.
        (embed_ms, dense), lexical = await asyncio.gather(self._dense(where, query), self._lexical(where, query))
        pids = dict.fromkeys(hit.pid for pair in zip(dense, lexical, strict=False) for hit in pair)
        await self.items.read(self.scope, where, list(pids or {hit.pid: None for hit in dense})[:SHOWN])
        return FloorTiming(embed=embed_ms, total=_since(started))

    async def _dense(self, where: Query, query: str) -> tuple[float, list[ArmHit]]:
        started = time.perf_counter()
        vector = (await self.embedder.embed_queries([query]))[0]
        embed_ms = _since(started)
        return embed_ms, await self.dense.search(self.scope, where, vector, limit=ARM_DEPTH)

    async def _lexical(self, where: Query, query: str) -> list[ArmHit]:
        hits = await self.lexical.search(self.scope, where, query, limit=ARM_DEPTH)
        await self.items.following(self.scope, where, [hit.pid for hit in hits], turns=NEXT_TURNS)
        return hits

    async def write(self, text: str) -> FloorTiming:
        """Embed the text, insert its rows and its vector, commit."""
        started = time.perf_counter()
        vector = (await self.embedder.embed_passages([text], lane=Lane.INTERACTIVE))[0]
        embed_ms = _since(started)
        params = {
            "tenant": self.scope.tenant_id,
            "memory": uuid4(),
            "space": self.space,
            "text": text,
            "generation": self.generation,
            "vector": HalfVectorParam(vector),
        }
        async with self.database.transaction(self.scope) as connection:
            await connection.execute(_INSERT, params)
        return FloorTiming(embed=embed_ms, total=_since(started))


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
