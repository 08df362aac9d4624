"""The composition root: the one place that builds adapters and hands them to the use cases."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from memoryd.access.audit import AuditService
from memoryd.access.authenticate import Authenticator
from memoryd.access.ports import Eraser
from memoryd.access.service import KeyService, SpaceService
from memoryd.access.tenants import TenantService
from memoryd.clock import SystemClock
from memoryd.database_wiring import database, opened
from memoryd.errors import InvalidRequest
from memoryd.generation_wiring import generations, rebuild
from memoryd.generations.embedders import Embedders, GenerationSpaces
from memoryd.generations.rebuild import Rebuild
from memoryd.generations.upkeep import kept_up
from memoryd.job_wiring import open_job_services, open_job_work
from memoryd.jobs.maintenance import Maintenance
from memoryd.jobs.work import JobWork
from memoryd.knowledge_wiring import collection, knowledge_services, open_job_handlers
from memoryd.mcp.doors import Doors, open_doors
from memoryd.memory.chunks import Chunks
from memoryd.memory.context import Contexts
from memoryd.memory.handles import Handles
from memoryd.memory.prepare import Preparer
from memoryd.memory.recall import Recall, RecallPolicy
from memoryd.memory.remember import Remember
from memoryd.memory.reranking import RerankPolicy
from memoryd.memory.revise import Revise
from memoryd.memory.sources import Sources
from memoryd.models import Models, open_models
from memoryd.probes import Probes, Recent
from memoryd.services import Services
from memoryd.session_wiring import objects, open_rounds, open_sessions
from memoryd.sessions.joint import Joint
from memoryd.sessions.rounds import SessionRounds
from memoryd.settings import RerankDefault, Settings
from memoryd.stores.access import PgAccess
from memoryd.stores.audit import PgAuditLog
from memoryd.stores.chronicle import PgChronicle
from memoryd.stores.database import Database
from memoryd.stores.dense import PgDenseIndex
from memoryd.stores.generations import Generation, PgCatalogues, known_models, live_generation
from memoryd.stores.items import PgItems
from memoryd.stores.knowledge.chunk_dense import PgChunkDense
from memoryd.stores.knowledge.chunk_items import PgChunkItems
from memoryd.stores.knowledge.chunk_lexical import PgChunkLexical
from memoryd.stores.knowledge.documents import PgDocuments
from memoryd.stores.knowledge.versions import PgVersions
from memoryd.stores.lexical import PgLexicalIndex
from memoryd.stores.maintenance import PgMaintenance
from memoryd.stores.migrate import MigrationRefused, migrated
from memoryd.stores.redis import Redis
from memoryd.stores.redis_erasure import RedisEraser
from memoryd.stores.revisions import PgMemoryReader
from memoryd.stores.tenants import PgTenants
from memoryd.stores.terms import facet_terms
from memoryd.stores.units import PgUnits
from memoryd.stores.vector_cache import RedisVectorCache
from memoryd.together import Company
from retrieval.analysis import Analyzer
from retrieval.bm25 import DEFAULT_PARAMS
from retrieval.inference.cached import CachedEmbedder, Writes
from retrieval.ports import DenseIndex, Embedder, ModelCard
from retrieval.rerank import RerankPlan
from retrieval.search import Searcher
from retrieval.sources import DenseIndexes, ItemReaders, LexicalIndexes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Administration:
    """What the command line administrates with."""

    tenants: TenantService
    keys: KeyService


@asynccontextmanager
async def open_administration(settings: Settings) -> AsyncIterator[Administration]:
    """Tenants and keys, without a model."""
    async with opened(database(settings)) as db:
        clock, redis = SystemClock(), _redis(settings)
        try:
            yield Administration(_tenants(db, redis, settings, clock), KeyService(PgAccess(db), clock))
        finally:
            if redis is not None:
                await redis.close()


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Everything that REST needs. Raises when the database cannot be had or does not fit the model."""
    if settings.handle_secret is None:
        raise InvalidRequest("set MEMORYD_HANDLE_SECRET: 16 characters or more, the same on all replicas")
    async with AsyncExitStack() as stack:
        clock = SystemClock()
        models = await stack.enter_async_context(open_models(settings, request_s=settings.request_timeout_s))
        db = await stack.enter_async_context(opened(database(settings)))
        await _migrated(db)
        await _known(db, models.card)
        redis = _redis(settings)
        if redis is not None:
            stack.push_async_callback(redis.close)
        access, reader, items, analyzer = PgAccess(db), PgMemoryReader(db), PgItems(db), Analyzer()
        authenticator = Authenticator(access, clock)
        stack.push_async_callback(authenticator.close)
        catalogues = PgCatalogues(db)
        embedders = Embedders(catalogues, models.shelf)
        await stack.enter_async_context(kept_up(catalogues, models.shelf))
        units = PgUnits(db, clock, missing=embedders.missing)
        spaces = SpaceService(access, clock)
        preparer = Preparer(embedders, analyzer, models.splitter, facet_terms)
        searcher = Searcher(
            vectors=GenerationSpaces(embedders, _dense(settings, db), _remembering(stack, redis, settings)),
            lexical=LexicalIndexes(PgLexicalIndex(db, analyzer, DEFAULT_PARAMS), PgChunkLexical(db, analyzer, DEFAULT_PARAMS)),
            temporal=items,
            items=ItemReaders(items, PgChunkItems(db)),
            reranker=models.runtime if models.has_reranker else None,
        )
        sources = Sources(spaces, PgVersions(db))
        recall = Recall(sources, searcher, _policy(settings))
        handles = Handles(settings.handle_secret.get_secret_value().encode(), ttl=timedelta(seconds=settings.handle_ttl_s))
        remember = Remember(units, reader, spaces, preparer, clock)
        chunks = Chunks(sources, PgDocuments(db))
        contexts = Contexts(recall, reader, handles, models.tokenizers, clock, chunks)
        sessions = None
        if redis is not None:
            opening = open_sessions(settings, db, redis, remember, models.tokenizers, clock)
            sessions = await stack.enter_async_context(opening)
        jobs = await stack.enter_async_context(open_job_services(settings, db, clock))
        yield Services(
            authenticator=authenticator,
            keys=KeyService(access, clock),
            spaces=spaces,
            tenants=_tenants(db, redis, settings, clock),
            audit=AuditService(PgAuditLog(db)),
            remember=remember,
            revise=Revise(units, reader, preparer, clock),
            reader=reader,
            recall=recall,
            contexts=contexts,
            handles=handles,
            chronicle=PgChronicle(db),
            tokenizers=models.tokenizers,
            clock=clock,
            readiness=Recent(Probes(db, redis, models).checks),
            operator_key=settings.operator_key.get_secret_value() if settings.operator_key else None,
            max_body_bytes=settings.max_body_bytes,
            request_timeout_s=settings.request_timeout_s,
            doors=_doors(settings),
            sessions=sessions,
            joint=Joint(contexts, sessions.windows if sessions else None, models.tokenizers),
            jobs=jobs,
            knowledge=knowledge_services(settings, db, embedders.missing, objects(settings), jobs.use, clock),
            generations=generations(settings, db, embedders, models.shelf, clock),
        )


@asynccontextmanager
async def open_maintenance(settings: Settings) -> AsyncIterator[Maintenance]:
    """What the worker needs."""
    async with opened(database(settings)) as db:
        await _migrated(db)
        maintenance = PgMaintenance(db, exact_limit=settings.exact_limit, ann_tail=settings.ann_tail)
        yield Maintenance(maintenance, SystemClock(), idempotency_ttl=timedelta(seconds=settings.idempotency_ttl_s))


@asynccontextmanager
async def open_worker_models(settings: Settings) -> AsyncIterator[Models]:
    """The worker's models, one set for everything that it does."""
    async with open_models(settings.model_copy(update={"rerank_model": ""}), packs=False) as models:
        yield models


@asynccontextmanager
async def open_session_rounds(settings: Settings, models: Models) -> AsyncIterator[SessionRounds]:
    """What the worker's rounds over sessions need: the stores, and a model for summaries and commits."""
    redis = _redis(settings)
    if redis is None:
        raise InvalidRequest("set MEMORYD_REDIS_URL")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(redis.close)
        clock = SystemClock()
        db = await stack.enter_async_context(opened(database(settings)))
        await _known(db, models.card)
        embedders = Embedders(PgCatalogues(db), models.shelf)
        preparer = Preparer(embedders, Analyzer(), models.splitter, facet_terms)
        units = PgUnits(db, clock, missing=embedders.missing)
        remember = Remember(units, PgMemoryReader(db), SpaceService(PgAccess(db), clock), preparer, clock)
        tenants = PgMaintenance(db, exact_limit=settings.exact_limit, ann_tail=settings.ann_tail)
        rounds = open_rounds(settings, db, redis, remember, models.runtime, tenants, clock)
        yield await stack.enter_async_context(rounds)


@asynccontextmanager
async def open_rebuild(settings: Settings, models: Models) -> AsyncIterator[Rebuild]:
    """What the worker needs for embedding generations; while it is open, the process's models follow them."""
    async with opened(database(settings)) as db:
        catalogues = PgCatalogues(db)
        embedders = Embedders(catalogues, models.shelf)
        async with kept_up(catalogues, models.shelf):
            yield rebuild(db, embedders, models.shelf, SystemClock())


@asynccontextmanager
async def open_jobs(settings: Settings, models: Models) -> AsyncIterator[JobWork]:
    """What the worker needs to work on jobs, and to collect what versions leave."""
    async with opened(database(settings)) as db:
        await _known(db, models.card)
        clock, embedders = SystemClock(), Embedders(PgCatalogues(db), models.shelf)
        stored = objects(settings)
        tenants = PgMaintenance(db, exact_limit=settings.exact_limit, ann_tail=settings.ann_tail)
        collecting = collection(settings, db, stored, tenants, clock)
        company = Company()
        async with (
            open_job_handlers(settings, db, embedders, stored, models, clock, company=company) as handlers,
            open_job_work(settings, db, tenants, handlers, clock, company=company, collecting=collecting) as work,
        ):
            yield work


def _remembering(stack: AsyncExitStack, redis: Redis | None, settings: Settings) -> Callable[[Embedder], Embedder]:
    """Puts a cache of questions' vectors before an embedder, where there is Redis and the settings want it."""
    if redis is None or not settings.embedding_cache_entries:
        return lambda embedder: embedder
    cache = RedisVectorCache(redis, entries=settings.embedding_cache_entries, ttl_s=settings.embedding_cache_ttl_s)
    writes = Writes(cache)
    stack.push_async_callback(writes.close)
    return lambda embedder: CachedEmbedder(embedder, cache, writes)


def _redis(settings: Settings) -> Redis | None:
    if settings.redis_url is None:
        return None
    url = settings.redis_url.get_secret_value()
    return Redis(url, timeout_s=settings.redis_timeout_s, connections=settings.redis_connections)


def _tenants(db: Database, redis: Redis | None, settings: Settings, clock: SystemClock) -> TenantService:
    stored = objects(settings)
    # Working memory first: what is left of it would be snapshotted again.
    elsewhere: list[Eraser] = [RedisEraser(redis)] if redis else []
    if stored is not None:
        # And after that once more: a session may have been read back meanwhile, which nothing can be now.
        elsewhere += [stored, *elsewhere]
    return TenantService(PgTenants(db, idempotency_ttl=timedelta(seconds=settings.idempotency_ttl_s)), clock, elsewhere)


async def _migrated(db: Database) -> None:
    """Raises ``MigrationRefused`` when the database lacks what this program needs."""
    if unknown := (await migrated(db)).unknown:
        log.warning("the database is newer than this program: it has %s", ", ".join(unknown))


async def _known(db: Database, card: ModelCard) -> None:
    """Raises ``MigrationRefused`` when no generation was ever made with the configured model: a setting changes no model."""
    live = await live_generation(db)
    if live is None:
        raise MigrationRefused("the database has no embedding generation: run `memoryd migrate`")
    if (card.name, card.revision) not in await known_models(db):
        raise MigrationRefused(
            f"the database's vectors are of {live.model} ({live.revision}), the configured model is "
            f"{card.name} ({card.revision}): set MEMORYD_EMBEDDING_MODEL back, and change the model with "
            "`memoryd generations create`"
        )


def _dense(settings: Settings, db: Database) -> Callable[[Generation], DenseIndex]:
    """What searches the vectors of a generation."""

    def of(generation: Generation) -> DenseIndex:
        return DenseIndexes(PgDenseIndex(db, generation, exact_limit=settings.exact_limit), PgChunkDense(db, generation))

    return of


def _doors(settings: Settings) -> Doors:
    return open_doors(
        host=settings.host,
        public_url=settings.public_url,
        allowed_hosts=settings.mcp_allowed_hosts,
        allowed_origins=settings.mcp_allowed_origins,
    )


def _policy(settings: Settings) -> RecallPolicy:
    return RecallPolicy(
        rerank=RerankPolicy(
            auto=settings.rerank_default is RerankDefault.ON,
            plan=RerankPlan(depth=settings.rerank_depth, budget_ms=settings.rerank_budget_ms),
            model=settings.rerank_model or None,
        ),
        arm_ms=settings.arm_timeout_ms,
        recall_ms=settings.recall_timeout_ms,
    )
