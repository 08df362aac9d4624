"""One process of an installation with tiny models, on a database of its own."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import numpy as np
import psycopg

from memoryd.access.service import SpaceService
from memoryd.access.tenants import TenantService
from memoryd.clock import SystemClock
from memoryd.generations.embedders import Embedders, GenerationSpaces
from memoryd.generations.model import Actor, Generation, State
from memoryd.generations.ports import Report
from memoryd.generations.rebuild import Hands, Rebuild
from memoryd.generations.service import Generations
from memoryd.generations.shelf import ModelShelf
from memoryd.generations.verify import Verifier
from memoryd.memory.model import Content, Draft, Kind
from memoryd.memory.prepare import Preparer
from memoryd.memory.remember import Remember
from memoryd.memory.revise import Revise
from memoryd.stores.access import PgAccess
from memoryd.stores.database import Database
from memoryd.stores.dense import PgDenseIndex
from memoryd.stores.generation_evidence import PgGenerationEvidence
from memoryd.stores.generation_items import PgGenerationItems
from memoryd.stores.generation_registry import PgRegistry, as_operator
from memoryd.stores.generation_work import PgGenerationWork
from memoryd.stores.generations import PgCatalogues
from memoryd.stores.items import PgItems
from memoryd.stores.knowledge.chunk_dense import PgChunkDense
from memoryd.stores.lexical import PgLexicalIndex
from memoryd.stores.migrate import available, ensure_generation, migrate
from memoryd.stores.revisions import PgMemoryReader
from memoryd.stores.tenants import PgTenants
from memoryd.stores.terms import facet_terms
from memoryd.stores.units import PgUnits
from retrieval.analysis import Analyzer
from retrieval.bm25 import DEFAULT_PARAMS
from retrieval.filters import Filters, JsonValue
from retrieval.passages import Splitter
from retrieval.ports import ArmHit, DenseIndex, ModelCard, Query
from retrieval.scope import Action, Scope
from retrieval.search import Arm, Searcher, SearchRequest
from retrieval.sources import DenseIndexes
from retrieval.vectors import Vectors
from tests.generations.tiny import Shop, Tiny
from tests.stack import Stack
from tests.stores.test_migrate import Scratch

CLOCK = SystemClock()

_STORED = """
SELECT p.pid, r.text, p.live, e.generation, e.live, halfvec_send(e.embedding)
FROM memoryd.passages p
JOIN memoryd.memory_revisions r USING (tenant_id, memory_id, revision)
LEFT JOIN memoryd.embeddings e ON e.tenant_id = p.tenant_id AND e.pid = p.pid
WHERE p.tenant_id = %s
"""


class Crash(BaseException):
    """As if the process were gone."""


@dataclass
class Watched:
    """A dense index that notes whose vectors were searched, and refuses a question of another model."""

    generation: Generation
    index: DenseIndex
    asked: list[int]

    async def search(self, scope: Scope, query: Query, vector: Vectors, *, limit: int) -> list[ArmHit]:
        assert vector.shape == (self.generation.dimension,)
        self.asked.append(self.generation.number)
        return await self.index.search(scope, query, vector, limit=limit)


class Words:
    """A tokenizer."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [(at, at + 1) for at, character in enumerate(text) if character == " "]


Before = Callable[[str], Awaitable[None]]


class Interfered:
    """A store of which every call is told of before it is made, by its name."""

    def __init__(self, store: object, before: Before) -> None:
        self._store = store
        self._before = before

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: object, **named: object) -> object:
            await self._before(name)
            return await method(*args, **named)

        return call


@dataclass
class World:
    """The stores, and one process over them."""

    stack: Stack
    superuser_url: str
    service_url: str
    database: Database
    shop: Shop
    first: Tiny
    asked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Another process: it has loaded nothing but the first model, and read nothing."""
        self.shelf = ModelShelf(self.first, self.shop)
        self.embedders = Embedders(PgCatalogues(self.database), self.shelf)
        preparer = Preparer(self.embedders, Analyzer(), Splitter(Words(), max_tokens=512), facet_terms)
        units = PgUnits(self.database, CLOCK, missing=self.embedders.missing)
        reader, access, items = PgMemoryReader(self.database), PgAccess(self.database), PgItems(self.database)
        self.remember = Remember(units, reader, SpaceService(access, CLOCK), preparer, CLOCK)
        self.revise = Revise(units, reader, preparer, CLOCK)
        self.reader = reader
        self.searcher = Searcher(
            vectors=GenerationSpaces(self.embedders, self._index, lambda embedder: embedder),
            lexical=PgLexicalIndex(self.database, Analyzer(), DEFAULT_PARAMS),
            temporal=items,
            items=items,
            reranker=None,
        )
        evidence, found = PgGenerationEvidence(self.database), PgGenerationItems(self.database)
        self.verifier = Verifier(self.embedders, self.shelf, found, evidence)
        self.generations = Generations(PgRegistry(self.database), self.embedders, self.verifier, self._card_of, _NoBases(), CLOCK)

    async def _card_of(self, name: str, trusted: bool) -> ModelCard:
        return self.shop.models[name].card

    def _index(self, generation: Generation) -> DenseIndex:
        memories = PgDenseIndex(self.database, generation, exact_limit=10_000)
        return Watched(generation, DenseIndexes(memories, PgChunkDense(self.database, generation)), self.asked)

    def rebuild(self, before: Before, *, round_s: float = 5, renew_s: float = 15) -> Rebuild:
        """A worker; ``before`` is called before each thing that it does to the stores."""
        work, registry = PgGenerationWork(self.database), PgRegistry(self.database)

        async def keep(number: int, report: Report, answers: JsonValue) -> None:
            await registry.keep_report(as_operator(CLOCK.now(), "worker"), number, report, answers=answers)

        seen: Any = Interfered(work, before)
        items: Any = Interfered(PgGenerationItems(self.database), before)
        return Rebuild(Hands(seen, seen, items, self.shelf, self.verifier, keep), round_s=round_s, renew_s=renew_s)

    async def work(self) -> None:
        """Let a worker do everything that is due."""
        self.expire()
        while await self.rebuild(_nothing).run():
            self.expire()

    def expire(self) -> None:
        """The leases of workers that are gone end, and the grace of what was retired."""
        with psycopg.connect(self.superuser_url) as connection:
            connection.execute("UPDATE memoryd.generations SET leased_until = NULL, retired_at = retired_at - interval '1 hour'")

    def leased(self) -> bool:
        """True while a worker is at a generation."""
        with psycopg.connect(self.superuser_url) as connection:
            return bool(connection.execute("SELECT 1 FROM memoryd.generations WHERE leased_until > now()").fetchone())

    async def tenant(self) -> "Tenant":
        """A fresh one."""
        tenants = TenantService(PgTenants(self.database, idempotency_ttl=timedelta(days=1)), CLOCK)
        made, _ = await tenants.create(f"tenant-{uuid4().hex[:8]}", tenants.operation("test"))
        scope = Scope(made.tenant_id, "key:test", frozenset(Action), request_id="test")
        spaces = await SpaceService(PgAccess(self.database), CLOCK).readable(scope, None)
        return Tenant(self, scope, spaces["default"].space_id)

    @property
    def operator(self) -> Actor:
        """The operator, now."""
        return self.generations.operator("test")


async def _nothing(name: str) -> None: ...


class _NoBases:
    async def id_of(self, scope: Scope, name: str) -> UUID:
        raise AssertionError


@dataclass(frozen=True)
class Tenant:
    """A tenant with one space."""

    world: World
    scope: Scope
    space: UUID

    @property
    def actor(self) -> Actor:
        """Its admin key, now."""
        return self.world.generations.tenant(self.scope)

    async def say(self, *texts: str) -> list[UUID]:
        """Ids of memories with these texts."""
        drafts = [Draft("default", None, content(text)) for text in texts]
        return [one.memory_id for one in await self.world.remember(self.scope, drafts, None)]

    async def edit(self, memory: UUID, **fields: Any) -> None:
        """Patch a memory."""
        await self.world.revise.patch(
            self.scope, memory, lambda one: replace(one, **fields), reason=None, if_match=None, idempotency=None
        )

    async def delete(self, memory: UUID, *, purge: bool = False) -> None:
        """Delete or erase a memory."""
        await self.world.revise.delete(self.scope, memory, purge=purge, reason=None, if_match=None, idempotency=None)

    async def found(self, query: str, limit: int = 100) -> list[str]:
        """The texts that the dense arm alone finds, best first; nothing may go wrong."""
        self.world.asked.clear()
        request = SearchRequest(query, Query((self.space,), Filters()), limit, arms=(Arm.DENSE,))
        result = await self.world.searcher.search(self.scope, request)
        assert result.degraded == []
        assert len(set(self.world.asked)) == 1, "one generation answers"
        return [hit.item.text for hit in result.hits]

    def stored(self, number: int, model: Tiny) -> tuple[set[int], set[int]]:
        """The passages, and those that the generation has; whatever it has is the right vector in the right condition."""
        every, has = set(), set()
        with psycopg.connect(self.world.superuser_url) as connection:
            for pid, text, live, generation, shown, sent in connection.execute(_STORED, (self.scope.tenant_id,)):
                every.add(pid)
                if generation != number:
                    continue
                assert pid not in has, "twice"
                has.add(pid)
                assert shown == live, "gone, and still found; or there, and not"
                right = model.vectors([text])[0].astype(np.float16)
                assert np.array_equal(np.frombuffer(sent, dtype=">f2", offset=4), right), "another text's or model's vector"
        return every, has

    async def states(self) -> dict[int, State]:
        """Of its own generations."""
        found = await self.world.generations.page(self.actor, after=0, limit=200)
        return {one.generation.number: one.generation.state for one in found if one.generation.tenant_id is not None}


def content(text: str) -> Content:
    """A semantic memory."""
    return Content(Kind.SEMANTIC, text, None, None, None, None, None, None, None, None, "test", None, 1.0, (), {}, None)


def scratch(stack: Stack, name: str, card: ModelCard) -> Scratch:
    """A migrated database with one live generation."""
    made = Scratch(stack, name)
    migrate(made.owner_url, available())
    ensure_generation(made.owner_url, card)
    return made


async def new_world(stack: Stack, name: str, models: Sequence[Tiny]) -> World:
    """A database of its own; the first model is live. Close ``world.database`` at the end."""
    made = scratch(stack, name, models[0].card)
    parts = urlsplit(stack.service_url)
    service_url = urlunsplit(parts._replace(path=f"/{name}"))
    database = Database(service_url, size=6, timeout_s=10, statement_timeout_s=30)
    await database.open()
    return World(stack, made.superuser_url, service_url, database, Shop(*models), models[0])


async def nobody(name: str) -> None:
    """The embedder of no model."""
