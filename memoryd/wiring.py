"""The composition root: the one place that builds adapters and hands them to the use cases."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from memoryd.access.authenticate import Authenticator
from memoryd.access.service import KeyService, KeyWish, SpaceService, TenantService
from memoryd.clock import SystemClock
from memoryd.embedded.credentials import store
from memoryd.errors import AlreadyExists, InvalidRequest, ServiceError
from memoryd.jobs.maintenance import Maintenance
from memoryd.memory.context import Contexts
from memoryd.memory.handles import Handles
from memoryd.memory.prepare import Preparer
from memoryd.memory.recall import Recall, RecallPolicy
from memoryd.memory.remember import Remember
from memoryd.memory.revise import Revise
from memoryd.models import Models, embedder_card, open_models
from memoryd.services import Check, Services
from memoryd.settings import RerankDefault, Settings
from memoryd.stores.access import PgAccess
from memoryd.stores.database import Database
from memoryd.stores.dense import PgDenseIndex
from memoryd.stores.generations import Generation, live_generation
from memoryd.stores.items import PgItems
from memoryd.stores.lexical import PgLexicalIndex
from memoryd.stores.maintenance import PgMaintenance
from memoryd.stores.migrate import MigrationRefused, available, ensure_generation, migrate
from memoryd.stores.redis import Redis
from memoryd.stores.revisions import PgMemoryReader
from memoryd.stores.terms import facet_terms
from memoryd.stores.units import PgUnits
from retrieval.analysis import Analyzer
from retrieval.bm25 import DEFAULT_PARAMS
from retrieval.ports import ModelCard
from retrieval.rerank import RerankPlan
from retrieval.scope import Action, Scope
from retrieval.search import Searcher

log = logging.getLogger(__name__)

FIRST_TENANT = "default"


def database(settings: Settings) -> Database:
    """The service's database, not opened yet."""
    if settings.database_url is None:
        raise InvalidRequest("set MEMORYD_DATABASE_URL, or run `memoryd up`")
    return Database(
        settings.database_url.get_secret_value(),
        size=settings.database_pool_size,
        timeout_s=settings.database_timeout_s,
        statement_timeout_s=settings.statement_timeout_s,
    )


def prepare_database(settings: Settings) -> list[str]:
    """Migrate as the owner, and make the configured model's generation if there is none; the names applied."""
    if settings.owner_database_url is None:
        raise InvalidRequest("set MEMORYD_OWNER_DATABASE_URL: migrations run as the owner of the tables")
    url = settings.owner_database_url.get_secret_value()
    applied = migrate(url, available())
    ensure_generation(url, embedder_card(settings))
    return applied


@dataclass(frozen=True, slots=True)
class Administration:
    """What the command line administrates with."""

    tenants: TenantService
    keys: KeyService


@asynccontextmanager
async def open_administration(settings: Settings) -> AsyncIterator[Administration]:
    """Tenants and keys, without a model."""
    async with _opened(database(settings)) as db:
        access, clock = PgAccess(db), SystemClock()
        yield Administration(TenantService(access, clock), KeyService(access, clock))


async def first_key(settings: Settings, path: Path) -> str:
    """The key of the first tenant, made once and kept at ``path`` (mode 0600)."""
    known = await asyncio.to_thread(_read, path)
    if known:
        return known
    async with open_administration(settings) as administration:
        try:
            _, key = await administration.tenants.create(FIRST_TENANT)
        except AlreadyExists:
            # Killed between making the tenant and writing its key down: make another key.
            tenants = await administration.tenants.list(after=None, limit=100)
            tenant = next(tenant for tenant in tenants if tenant.name == FIRST_TENANT)
            scope = Scope(tenant.tenant_id, "operator", frozenset(Action))
            key = await administration.keys.create(scope, KeyWish("first key", frozenset(Action), None, None), None)
    text = key.text or ""
    await asyncio.to_thread(store, path, text)
    return text


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Everything that REST needs. Raises when the database cannot be had or does not fit the model."""
    if settings.handle_secret is None:
        raise InvalidRequest("set MEMORYD_HANDLE_SECRET: 16 characters or more, the same on all replicas")
    async with AsyncExitStack() as stack:
        clock = SystemClock()
        models = await stack.enter_async_context(open_models(settings))
        db = await stack.enter_async_context(_opened(database(settings)))
        generation = await _generation(db, models.card)
        redis = Redis(settings.redis_url.get_secret_value(), timeout_s=settings.redis_timeout_s) if settings.redis_url else None
        if redis is not None:
            stack.push_async_callback(redis.close)
        access, reader, items, analyzer = PgAccess(db), PgMemoryReader(db), PgItems(db), Analyzer()
        authenticator = Authenticator(access, clock)
        stack.push_async_callback(authenticator.close)
        units = PgUnits(db, clock, generation=generation.number)
        spaces = SpaceService(access, clock)
        preparer = Preparer(models.runtime, analyzer, models.splitter, facet_terms)
        searcher = Searcher(
            embedder=models.runtime,
            dense=PgDenseIndex(db, generation, exact_limit=settings.exact_limit),
            lexical=PgLexicalIndex(db, analyzer, DEFAULT_PARAMS),
            temporal=items,
            items=items,
            reranker=models.runtime if models.has_reranker else None,
        )
        recall = Recall(spaces, searcher, _policy(settings))
        handles = Handles(settings.handle_secret.get_secret_value().encode(), ttl=timedelta(seconds=settings.handle_ttl_s))
        yield Services(
            authenticator=authenticator,
            keys=KeyService(access, clock),
            spaces=spaces,
            tenants=TenantService(access, clock),
            remember=Remember(units, reader, spaces, preparer, clock),
            revise=Revise(units, reader, preparer, clock),
            reader=reader,
            recall=recall,
            contexts=Contexts(recall, reader, handles, models.tokenizers, clock),
            readiness=_Readiness(db, redis, models),
            operator_key=settings.operator_key.get_secret_value() if settings.operator_key else None,
            max_body_bytes=settings.max_body_bytes,
            request_timeout_s=settings.request_timeout_s,
        )


@asynccontextmanager
async def open_maintenance(settings: Settings) -> AsyncIterator[Maintenance]:
    """What the worker needs."""
    async with _opened(database(settings)) as db:
        generation = await live_generation(db)
        if generation is None:
            raise MigrationRefused("the database has no embedding generation: run `memoryd migrate`")
        maintenance = PgMaintenance(
            db, generation=generation.number, exact_limit=settings.exact_limit, ann_tail=settings.ann_tail
        )
        yield Maintenance(maintenance, SystemClock(), idempotency_ttl=timedelta(seconds=settings.idempotency_ttl_s))


@asynccontextmanager
async def _opened(db: Database) -> AsyncIterator[Database]:
    await db.open()
    try:
        yield db
    finally:
        await db.close()


async def _generation(db: Database, card: ModelCard) -> Generation:
    generation = await live_generation(db)
    if generation is None:
        raise MigrationRefused("the database has no embedding generation: run `memoryd migrate`")
    if (generation.model, generation.revision, generation.dimension) != (card.name, card.revision, card.dimension):
        raise MigrationRefused(
            f"the database's vectors are of {generation.model} ({generation.revision}), the configured model is "
            f"{card.name} ({card.revision}): set MEMORYD_EMBEDDING_MODEL back"
        )
    return generation


def _policy(settings: Settings) -> RecallPolicy:
    return RecallPolicy(
        rerank_auto=settings.rerank_default is RerankDefault.ON,
        rerank_plan=RerankPlan(depth=settings.rerank_depth, budget_ms=settings.rerank_budget_ms),
        arm_ms=settings.arm_timeout_ms,
    )


class _Readiness:
    """:class:`memoryd.services.Readiness` of one API process."""

    def __init__(self, db: Database, redis: Redis | None, models: Models) -> None:
        self._db = db
        self._redis = redis
        self._models = models

    async def checks(self) -> Mapping[str, Check]:
        """PostgreSQL and the model are needed; Redis only carries jobs so far."""
        postgres, redis = await asyncio.gather(_probe(self._db.ping), _probe(self._redis.ping if self._redis else None))
        healthy = self._models.healthy
        return {
            "postgresql": Check(postgres[0], True, postgres[1]),
            "redis": Check(redis[0], False, redis[1]),
            "embedder": Check(healthy, True, self._models.card.name if healthy else "the model does not run"),
        }


async def _probe(ping: Callable[[], Awaitable[str]] | None) -> tuple[bool, str]:
    if ping is None:
        return False, "not configured"
    try:
        async with asyncio.timeout(3):
            return True, await ping()
    except (ServiceError, TimeoutError) as error:
        return False, str(error) or "no answer in time"
