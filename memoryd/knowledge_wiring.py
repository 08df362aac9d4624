"""The part of the composition root that builds knowledge bases, for the API and for the worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingestion.chunk import Chunker, Section, readable_tokens, stream
from ingestion.document import Block
from ingestion.parse.limits import ParseLimits
from ingestion.parse.parser import DocumentParser
from ingestion.sources.url import Fetcher, FetchPolicy
from memoryd.errors import InvalidRequest
from memoryd.generations.embedders import Embedders
from memoryd.generations.ports import Missing
from memoryd.jobs.ports import ItemHandler
from memoryd.jobs.service import Jobs
from memoryd.knowledge.bases import KnowledgeBases
from memoryd.knowledge.folders import remove_abandoned
from memoryd.knowledge.ingest import Cutter, Ingest, Tools
from memoryd.knowledge.library import Library
from memoryd.knowledge.model import KnowledgeBase
from memoryd.knowledge.orders import INGEST, Orders
from memoryd.knowledge.rounds import Collection, Tenants
from memoryd.knowledge.services import KnowledgeServices
from memoryd.knowledge.uploads import Uploads
from memoryd.knowledge.versioning import Versioning
from memoryd.memory.ports import Clock
from memoryd.models import Models
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.jobs.active import PgActiveJobs
from memoryd.stores.knowledge.bases import PgBases
from memoryd.stores.knowledge.documents import PgDocuments
from memoryd.stores.knowledge.drafts import PgDrafts
from memoryd.stores.knowledge.orphans import PgOrphans
from memoryd.stores.knowledge.versions import PgVersions
from memoryd.stores.objects import ObstoreObjects
from memoryd.stores.once import PgOnce
from memoryd.stores.originals import ObjectOriginals
from memoryd.threads import BULK
from memoryd.together import Company
from retrieval.analysis import Analyzer

_MIB = 2**20
# Beside the longest request that may have pinned a version.
_GRACE_S = 30.0


def knowledge_services(
    settings: Settings, db: Database, missing: Missing, stored: ObstoreObjects | None, jobs: Jobs, clock: Clock
) -> KnowledgeServices:
    """The use cases of the API."""
    bases, versions, drafts = PgBases(db), PgVersions(db), PgDrafts(db, missing=missing)
    originals = _originals(db, stored)
    uploads = Uploads(bases, originals, urls=settings.fetch_urls)
    return KnowledgeServices(
        bases=KnowledgeBases(bases, originals, clock),
        versions=_versioning(settings, db, stored, clock),
        library=Library(bases, versions, drafts, PgDocuments(db), originals, clock),
        uploads=uploads,
        orders=Orders(uploads, jobs),
        once=PgOnce(db),
        once_long=PgOnce(db),
    )


@asynccontextmanager
async def open_job_handlers(
    settings: Settings,
    db: Database,
    embedders: Embedders,
    stored: ObstoreObjects | None,
    models: Models,
    clock: Clock,
    *,
    company: Company,
) -> AsyncIterator[dict[str, ItemHandler]]:
    """What the worker does with jobs, by kind. ``company``: of the items that it works on."""
    if stored is None:
        raise InvalidRequest("set MEMORYD_OBJECT_STORE: documents are ingested from object storage")
    limits = ParseLimits(
        memory_bytes=settings.parse_memory_mb * _MIB, cpu_s=int(settings.parse_timeout_s), wait_s=settings.parse_timeout_s
    )
    policy = FetchPolicy(max_bytes=settings.fetch_max_bytes, total_s=settings.fetch_timeout_s)
    await asyncio.to_thread(remove_abandoned)
    parser = DocumentParser(limits, forking=True)
    tools = Tools(
        parser=parser,
        cut=_cutter(models),
        fetcher=Fetcher(policy) if settings.fetch_urls else None,
        embedders=embedders,
        card=models.card,
        analyzer=Analyzer(),
    )
    versions = _versioning(settings, db, stored, clock)
    drafts = PgDrafts(db, missing=embedders.missing, company=company)
    ingest = Ingest(PgBases(db), drafts, versions, ObjectOriginals(stored, PgOrphans(db)), tools, clock)
    try:
        yield {INGEST: ingest}
    finally:
        await parser.close()


def collection(settings: Settings, db: Database, stored: ObstoreObjects | None, tenants: Tenants, clock: Clock) -> Collection:
    """The worker's round over versions that nobody needs, and over deletions that were interrupted."""
    bases, originals = PgBases(db), _originals(db, stored)
    versions, deletions = _versioning(settings, db, stored, clock), KnowledgeBases(bases, originals, clock)
    return Collection(tenants, bases, versions, deletions, clock, quiet_s=settings.request_timeout_s + _GRACE_S)


def _versioning(settings: Settings, db: Database, stored: ObstoreObjects | None, clock: Clock) -> Versioning:
    return Versioning(
        PgBases(db),
        PgVersions(db),
        PgDrafts(db),
        PgActiveJobs(db),
        _originals(db, stored),
        clock,
        grace_s=settings.request_timeout_s + _GRACE_S,
    )


def _originals(db: Database, stored: ObstoreObjects | None) -> ObjectOriginals | None:
    return ObjectOriginals(stored, PgOrphans(db)) if stored is not None else None


def _cutter(models: Models) -> Cutter:
    readable = readable_tokens(models.card, models.tokenizer)

    def cut(blocks: AsyncIterator[Block], base: KnowledgeBase, title: str | None) -> AsyncIterator[Section]:
        chunker = Chunker(models.tokenizer, base.chunking, readable=readable, title=title)
        return stream(chunker, blocks, BULK.run)

    return cut
