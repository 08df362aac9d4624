"""The handler of ingest jobs without a database: real parser, tokenizer, chunker, analyser and object storage."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ingestion.chunk import Chunker, Chunking, Section, readable_tokens, stream
from ingestion.document import Block
from ingestion.parse.limits import ParseLimits
from ingestion.parse.parser import DocumentParser
from memoryd.clock import SystemClock
from memoryd.jobs.model import Counters, ItemState, Job, JobItem, JobState, Outcome
from memoryd.knowledge.ingest import Fetcher, Ingest, Tools
from memoryd.knowledge.model import KnowledgeBase, NewDocument, Read, ReadyChunk, ReadySection, Staging
from memoryd.knowledge.orders import INGEST
from memoryd.stores.objects import ObstoreObjects
from memoryd.stores.originals import ObjectOriginals
from memoryd.threads import BULK
from retrieval.analysis import Analyzer
from retrieval.errors import MemorydError
from retrieval.filters import JsonValue
from retrieval.inference import ModelStore
from retrieval.inference.registry import BGE_SMALL
from retrieval.inference.tokenizer import ModelTokenizer
from retrieval.ports import ModelCard
from retrieval.scope import Action, Scope
from tests.one_model import one_model
from tests.support_models import model_cache

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCOPE = Scope(UUID(int=1), "tests", frozenset(Action))
BASE = KnowledgeBase(UUID(int=2), "handbook", "default", None, Chunking(), None, None, 0, NOW, NOW)
CARD = ModelCard("model", "1", 384, 512)


class Bases:
    """One knowledge base, or what it raises; and how often it was asked for."""

    def __init__(self, raises: MemorydError | None = None) -> None:
        self.raises = raises
        self.asked = 0

    async def get(self, scope: Scope, name: str) -> KnowledgeBase:
        self.asked += 1
        await asyncio.sleep(0)
        if self.raises is not None:
            raise self.raises
        return BASE


class Drafts:
    """Counts what it is given. Every content has a vector already, so that nothing is embedded. ``stored``: of an earlier try."""

    def __init__(self, stored: int = 0) -> None:
        self.chunks = stored
        self.read: Read | None = None

    async def overtaken(self, *_: object, by: UUID) -> None:
        """By nobody."""

    async def begin(self, scope: Scope, kb_id: UUID, document: NewDocument, now: datetime, *, by: UUID | None = None) -> Staging:
        return Staging(kb_id, 1, 1, self.chunks)

    async def known(
        self, scope: Scope, generations: Collection[int], hashes: Sequence[bytes]
    ) -> Mapping[int, Mapping[bytes, NDArray[np.float32]]]:
        return {number: {one: np.zeros(CARD.dimension, np.float32) for one in hashes} for number in generations}

    async def add(
        self, scope: Scope, staging: Staging, sections: Sequence[ReadySection], chunks: Sequence[ReadyChunk]
    ) -> Staging:
        assert [one.ordinal for one in chunks] == list(range(staging.stored, staging.stored + len(chunks)))
        self.chunks += len(chunks)
        return replace(staging, stored=self.chunks)

    async def finish(
        self,
        scope: Scope,
        staging: Staging,
        read: Read,
        now: datetime,
        *,
        sections: Sequence[ReadySection] = (),
        chunks: Sequence[ReadyChunk] = (),
    ) -> None:
        await self.add(scope, staging, sections, chunks)
        self.read = read


class NoOrphans:
    async def wanted(self, scope: Scope, kb_id: UUID, keys: Sequence[str]) -> None:
        """Nothing is collected."""


class Control:
    """Notes each sign of life: how many chunks it told of."""

    def __init__(self) -> None:
        self.signs: list[int] = []

    async def checkpoint(self, *, chunks: int = 0, tokens: int = 0) -> None:
        self.signs.append(chunks)
        await asyncio.sleep(0)

    async def waits(self) -> None:
        await self.checkpoint()

    def waited(self, seconds: float) -> None:
        """Nobody asks."""


class Worker:
    """Ingests one document at a time. ``drafts`` and ``control`` are those of the last."""

    def __init__(self, folder: Path, *, fetcher: Fetcher | None = None) -> None:
        self.originals = ObjectOriginals(ObstoreObjects(str(folder / "objects"), timeout_s=30), NoOrphans())
        self._fetcher = fetcher
        self._parser = DocumentParser(ParseLimits(), forking=True)
        self._tokenizer = ModelTokenizer(ModelStore(model_cache()).locate(BGE_SMALL.name).tokenizer)

    async def ingest(self, source: Mapping[str, JsonValue], *, drafts: Drafts, control: Control) -> Outcome:
        """What becomes of the document."""
        return await self.handler(drafts).process(SCOPE, job(), item(source), control)

    def handler(self, drafts: Drafts, bases: Bases | None = None) -> Ingest:
        """Of one that publishes nothing."""
        embedder: Any = type("Embedder", (), {"card": CARD})()
        tools = Tools(self._parser, self._cut, self._fetcher, one_model(embedder), CARD, Analyzer())
        return Ingest(cast(Any, bases or Bases()), cast(Any, drafts), cast(Any, None), self.originals, tools, SystemClock())

    async def close(self) -> None:
        await self._parser.close()

    def _cut(self, blocks: AsyncIterator[Block], base: KnowledgeBase, title: str | None) -> AsyncIterator[Section]:
        readable = readable_tokens(CARD, self._tokenizer)
        return stream(Chunker(self._tokenizer, base.chunking, readable=readable, title=title), blocks, BULK.run)


def job(*, kb_id: UUID = BASE.kb_id, publish: bool = False) -> Job:
    """One that ingests one document into the knowledge base."""
    return Job(
        job_id=UUID(int=3),
        revision=1,
        kind=INGEST,
        kb_id=kb_id,
        space=BASE.space,
        state=JobState.RUNNING,
        wish=None,
        payload={"kb": BASE.name, "publish": publish},
        counters=Counters(1),
        error=None,
        created_by="tests",
        actions=frozenset(Action),
        created_at=NOW,
        started_at=NOW,
        finished_at=None,
        updated_at=NOW,
        attempts=0,
        not_before=NOW,
        worked_s=0.0,
    )


def item(source: Mapping[str, JsonValue]) -> JobItem:
    return JobItem(
        job_id=UUID(int=3),
        item=0,
        document_id="document",
        source=source,
        state=ItemState.RUNNING,
        attempts=1,
        not_before=NOW,
        reason=None,
        detail=None,
        chunks=0,
        tokens=0,
        size=0,
        pages=None,
        started_at=NOW,
        finished_at=None,
        dead=False,
    )
