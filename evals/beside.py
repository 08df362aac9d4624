"""What stands beside the service in a benchmark: its stores and its model, opened in the benchmark's own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from evals.floor import StoreFloor
from memoryd.database_wiring import database
from memoryd.models import open_models
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.dense import PgDenseIndex
from memoryd.stores.generations import Generation, live_generation
from memoryd.stores.items import PgItems
from memoryd.stores.lexical import PgLexicalIndex
from memoryd.stores.maintenance import PgMaintenance
from retrieval.analysis import Analyzer
from retrieval.bm25 import DEFAULT_PARAMS
from retrieval.filters import Filters
from retrieval.ports import ArmHit, Embedder, Query
from retrieval.scope import Action, Scope
from retrieval.vectors import Vectors

_POLL_S = 3.0
_PATIENCE_S = 1200.0
_EVERYTHING = 10**9


@dataclass(frozen=True, slots=True)
class Beside:
    """One installation's stores, and an embedder of the same model."""

    settings: Settings
    embedder: Embedder
    store: Database
    generation: Generation

    def floor(self, tenant: UUID, space: UUID) -> StoreFloor:
        """The floor in one space, over the stores' own classes with the service's settings."""
        return StoreFloor(
            database=self.store,
            embedder=self.embedder,
            dense=PgDenseIndex(self.store, self.generation, exact_limit=self.settings.exact_limit),
            lexical=PgLexicalIndex(self.store, Analyzer(), DEFAULT_PARAMS),
            items=PgItems(self.store),
            generation=self.generation.number,
            scope=_scope(tenant),
            space=space,
        )

    async def exact(self, tenant: UUID, space: UUID, vector: Vectors, filters: Filters, *, limit: int) -> list[ArmHit]:
        """The nearest stored vectors by a scan of all that pass the filter, never by the HNSW index."""
        dense = PgDenseIndex(self.store, self.generation, exact_limit=_EVERYTHING)
        return await dense.search(_scope(tenant), Query((space,), filters), vector, limit=limit)

    async def indexed(self, tenant: UUID, memories: int) -> int:
        """Waits until the worker has moved into the HNSW index what it will; how many vectors stay outside.

        A tenant of up to ``exact_limit`` memories is never indexed, and a round that has begun leaves no tail. Raises
        ``TimeoutError`` after twenty minutes.
        """
        maintenance = PgMaintenance(
            self.store,
            generation=self.generation.number,
            exact_limit=self.settings.exact_limit,
            ann_tail=self.settings.ann_tail,
        )
        outside = await maintenance.unindexed(tenant)
        if memories <= self.settings.exact_limit:
            return outside
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                before = outside
                await asyncio.sleep(_POLL_S)
                outside = await maintenance.unindexed(tenant)
                # Below the worker's threshold and at rest: nothing is going on, and nothing will be.
                if outside == before and outside < self.settings.ann_tail:
                    return outside


@asynccontextmanager
async def open_beside(settings: Settings) -> AsyncIterator[Beside]:
    """Opens the stores that ``settings`` name, and the embedder without the reranker."""
    async with open_models(settings.model_copy(update={"rerank_model": ""})) as models:
        store = database(settings)
        await store.open()
        try:
            generation = await live_generation(store)
            if generation is None:
                raise LookupError("the database has no live embedding generation")
            yield Beside(settings, models.runtime, store, generation)
        finally:
            await store.close()


def _scope(tenant: UUID) -> Scope:
    return Scope(tenant, "benchmark", frozenset(Action))
