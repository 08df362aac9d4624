"""What a worker does with one item of an ingest job: fetch, compare, parse, cut, embed, write.

The document goes through in batches of chunks: while one is embedded, the next is being parsed and cut and the one before is
being written, so that the embedder, which takes nearly all of the time, does not wait; and a document of any size needs the same
memory. Every batch that is written stays written: after a crash the same item goes on behind it.
"""

import asyncio
import hashlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from ingestion.chunk import CHUNKER_VERSION, Section
from ingestion.document import Block, Parsed
from ingestion.parse import PARSER_VERSION
from ingestion.parse.failures import ParseFailed
from ingestion.parse.limits import SMALL_BYTES
from ingestion.sources.errors import SourceRefused
from ingestion.sources.url import Fetched
from memoryd.errors import Conflict, NotFound, StoreUnavailable
from memoryd.generations.model import Generation
from memoryd.generations.ports import WriteEmbedders
from memoryd.jobs.model import ItemState, Job, JobItem, Outcome
from memoryd.jobs.ports import Control
from memoryd.knowledge.batches import Batch, batched, prepared
from memoryd.knowledge.folders import Purpose, Scratch
from memoryd.knowledge.model import KnowledgeBase, NewDocument, Overtaken, Read, Staging
from memoryd.knowledge.places import Places
from memoryd.knowledge.ports import Bases, Drafts, Originals
from memoryd.knowledge.sources import Source, measured
from memoryd.knowledge.versioning import Versioning
from memoryd.memory.ports import Clock
from memoryd.threads import BULK
from memoryd.together import Following
from retrieval.analysis import Analyzer
from retrieval.errors import MemorydError
from retrieval.filters import JsonValue
from retrieval.ports import ModelCard
from retrieval.scope import Scope

log = logging.getLogger(__name__)

# Batches that wait between two stages: more would only be memory.
_AHEAD = 2
# Of a job's knowledge base: a job may have ten short documents a second.
_FRESH_S = 1.0
_GONE = "knowledge_base_gone", "the knowledge base was deleted"
# A draft that was published or discarded while a document was written to it: written again, to the next.
_DRAFTS = 3


class Reading(Protocol):
    """A document that is being parsed. ``title`` is there with the first block, where the document has said by then what it is
    called; ``parsed`` behind the last."""

    @property
    def title(self) -> str | None: ...
    def __aiter__(self) -> AsyncIterator[Block]: ...
    @property
    def parsed(self) -> Parsed: ...


class Parser(Protocol):
    """Parses files apart from this process, those of a ``family`` perhaps one after the other in one. Raises ``ParseFailed``."""

    def open(
        self, path: Path, *, name: str | None, media_type: str | None, encoding: str | None, family: UUID | None
    ) -> AbstractAsyncContextManager[Reading]: ...


class Fetcher(Protocol):
    """Fetches a document into a file. Raises ``SourceRefused``."""

    async def fetch(self, url: str, into: Path) -> Fetched: ...


Cutter = Callable[[AsyncIterator[Block], KnowledgeBase, str | None], AsyncIterator[Section]]
"""Cuts blocks into sections with their chunks, by the settings of a knowledge base and under a title."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What documents are made into chunks with. ``card``: of the model whose tokenizer cuts them."""

    parser: Parser
    cut: Cutter
    fetcher: Fetcher | None
    embedders: WriteEmbedders
    card: ModelCard
    analyzer: Analyzer


class _Unfetched(MemorydError):
    """A source that may be there later; its ``code`` is the reason that the document has until then, and if it never is."""

    retryable = True

    def __init__(self, refused: SourceRefused) -> None:
        super().__init__(str(refused))
        self.code = refused.reason.value


class Ingest:
    """The handler of ingest jobs (:class:`memoryd.jobs.ports.ItemHandler`)."""

    def __init__(
        self, bases: Bases, drafts: Drafts, versions: Versioning, originals: Originals, tools: Tools, clock: Clock
    ) -> None:
        self._bases = bases
        self._drafts = drafts
        self._versions = versions
        self._originals = originals
        self._tools = tools
        self._clock = clock
        self._places = Places()
        self._scratch = Scratch(Purpose.INGEST)
        self._looked_up: dict[UUID, tuple[float, KnowledgeBase]] = {}
        self._looking = Following(self._look, final=(NotFound, StoreUnavailable))

    async def process(self, scope: Scope, job: Job, item: JobItem, control: Control) -> Outcome:
        """One document. Raises what is worth trying again; a document that cannot be read is an outcome."""
        try:
            base = await self._base(scope, job)
        except NotFound:
            return _failed(*_GONE)
        if base.kb_id != job.kb_id:
            return _failed("knowledge_base_gone", "the knowledge base was deleted; another one has its name now")
        if item.source.get("remove"):
            return await self._removed(scope, base, item)
        if _text(item.source, "url") is not None and self._tools.fetcher is None:
            return _failed("fetching_off", "this installation does not fetch documents (MEMORYD_FETCH_URLS)")
        # It was put back before, perhaps to wait for another job: what is to wait on is not fetched again each time.
        if item.not_before > job.created_at:
            now = self._clock.now()
            overtaken = await self._drafts.overtaken(scope, base.kb_id, item.document_id, now, by=item.job_id)
            if overtaken is not None:
                return _overtaken(overtaken)
        try:
            async with self._scratch.file() as path:
                source = await self._source(scope, base, item, path)
                return await self._ingested(scope, base, item, source, control)
        except OSError as error:
            raise StoreUnavailable("a document could not be opened, or its parser not be started") from error
        except ParseFailed as error:
            return _failed(error.reason.value, error.detail)
        except SourceRefused as error:
            if error.retryable:
                raise _Unfetched(error) from error
            return _failed(error.reason.value, str(error))

    async def finished(self, scope: Scope, job: Job) -> None:
        """Publish, where the job was asked to and no document failed. Without a draft there was nothing to change; and where
        somebody discarded the draft that it wrote to, what it has written since would be only a part of it. A job publishes
        once, when nothing of it is left: what an attempt after that finds staged is of others."""
        if job.payload.get("version") is not None:
            return
        if not job.payload.get("publish") or job.counters.failed:
            return
        if job.payload.get("discarded"):
            raise Conflict("the draft with what this job did before was discarded: nothing is published; ingest it again")
        if (await self._bases.get(scope, str(job.payload["kb"]))).kb_id != job.kb_id:
            raise NotFound("the knowledge base was deleted; another one has its name now")
        note = _text(job.payload, "note")
        await self._versions.published_by_job(scope, str(job.payload["kb"]), job.job_id, note=note)

    async def _base(self, scope: Scope, job: Job) -> KnowledgeBase:
        """The job's knowledge base as it was within the last second; whether it is there still is seen when it is written to."""
        now = asyncio.get_running_loop().time()
        at, base = self._looked_up.get(job.job_id, (-math.inf, None))
        if base is None or now - at >= _FRESH_S:
            # Documents that end together begin together: one look is for all of them.
            base = await self._looking.ask((job.job_id,), (scope, str(job.payload["kb"])))
            self._looked_up = {one: seen for one, seen in self._looked_up.items() if now - seen[0] < _FRESH_S}
            self._looked_up[job.job_id] = now, base
        return base

    async def _look(self, key: tuple[UUID], asked: Sequence[tuple[Scope, str]]) -> list[KnowledgeBase]:
        """What many documents of a job ask for."""
        return [await self._bases.get(*asked[0])] * len(asked)

    async def _source(self, scope: Scope, base: KnowledgeBase, item: JobItem, path: Path) -> Source:
        given = item.source
        name, media_type, uri = _text(given, "file_name"), None, _text(given, "uri")
        charset, encoding = _text(given, "charset"), None
        key, url = _text(given, "key"), _text(given, "url")
        if url is not None and self._tools.fetcher is not None:
            fetched = await self._tools.fetcher.fetch(url, path)
            name, media_type, uri = name or fetched.file_name, fetched.media_type, uri or fetched.url
            charset = fetched.charset
        elif key is None or not await self._originals.fetch(key, path):
            raise NotFound("the uploaded file is not in object storage any more: upload it again")
        # What is short is read sooner than a thread is told of it.
        digest, size, packed = measured(path) if _short(path) else await BULK.run(measured, path)
        if url is not None:
            await self._originals.wanted(scope, base.kb_id, [digest.hex()])
            key = await self._originals.keep(scope, base.kb_id, path, digest.hex())
        if given.get("text"):
            media_type, encoding, packed = "text/markdown", "utf-8-sig", False
        metadata = given.get("metadata")
        return Source(
            path=path,
            name=name,
            media_type=media_type,
            charset=charset,
            encoding=encoding,
            title=_text(given, "title"),
            uri=uri,
            metadata=metadata if isinstance(metadata, dict) else {},
            key=str(key),
            digest=digest,
            size=size,
            packed=packed,
            # What is fetched was written by anybody, and what failed may have failed behind others.
            family=item.job_id if url is None and item.attempts == 1 else None,
        )

    async def _ingested(self, scope: Scope, base: KnowledgeBase, item: JobItem, source: Source, control: Control) -> Outcome:
        document = NewDocument(
            document_id=item.document_id,
            content_hash=source.digest,
            settings_hash=settings_hash(base, self._tools.card, source.title, source.hint),
            size=source.size,
            title=source.title,
            media_type=source.media_type,
            source_uri=source.uri,
            metadata=source.metadata,
            object_key=source.key,
        )
        for attempt in range(_DRAFTS):
            try:
                staging = await self._drafts.begin(scope, base.kb_id, document, self._clock.now(), by=item.job_id)
            except NotFound:
                return _failed(*_GONE)
            if isinstance(staging, Overtaken):
                return _overtaken(staging, size=source.size)
            if staging is None:
                return await self._found(scope, base, item, source)
            if item.chunks and not staging.stored and not attempt:
                # What an earlier attempt had stored, and counted, is gone: it was of another content, or left out of a version.
                await control.checkpoint(chunks=-item.chunks, tokens=-item.tokens)
            try:
                async with self._place(scope, source, control):
                    return await self._written(scope, base, staging, source, control)
            except Conflict:
                if attempt == _DRAFTS - 1:
                    raise
                self._tools.embedders.forget()  # it may be the generations that changed
                log.info("the draft of a knowledge base changed under a document; it is written again")
        raise AssertionError  # the loop returns or raises

    async def _removed(self, scope: Scope, base: KnowledgeBase, item: JobItem) -> Outcome:
        try:
            removed = await self._drafts.remove(scope, base.kb_id, item.document_id, self._clock.now(), by=item.job_id)
        except NotFound:
            return _failed(*_GONE)
        if isinstance(removed, Overtaken):
            return _overtaken(removed)
        if not removed and item.begun_before:
            removed = await self._drafts.removed(scope, base.kb_id, item.document_id)
        return Outcome(ItemState.SUCCEEDED if removed else ItemState.UNCHANGED)

    async def _found(self, scope: Scope, base: KnowledgeBase, item: JobItem, source: Source) -> Outcome:
        """What becomes of a document that the draft has: an earlier attempt may have written it, and not come to say so."""
        if item.started_at is not None and item.begun_before:
            written = await self._drafts.written(scope, base.kb_id, item.document_id, item.started_at)
            if written is not None:
                return Outcome(
                    ItemState.SUCCEEDED, chunks=written.chunks, tokens=written.tokens, size=source.size, pages=written.pages
                )
        return Outcome(ItemState.UNCHANGED, size=source.size)

    def _place(self, scope: Scope, source: Source, control: Control) -> AbstractAsyncContextManager[None]:
        return self._places.taken(scope.tenant_id, control) if source.large else nullcontext()

    async def _written(self, scope: Scope, base: KnowledgeBase, staging: Staging, source: Source, control: Control) -> Outcome:
        cut: asyncio.Queue[Batch | None] = asyncio.Queue(_AHEAD)
        done: asyncio.Queue[Batch | None] = asyncio.Queue(_AHEAD)
        read: asyncio.Future[Read] = asyncio.get_running_loop().create_future()

        async def parse() -> None:
            family = None if source.large else source.family
            said = {"name": source.name, "media_type": source.declared, "encoding": source.encoding}
            async with self._tools.parser.open(source.path, **said, family=family) as reading:
                blocks = aiter(reading)
                first = await anext(blocks, None)
                sections = self._tools.cut(_from(first, blocks), base, source.title or reading.title)
                async for batch in batched(sections, behind=staging.stored, passing=control.checkpoint):
                    await cut.put(batch)
                await cut.put(None)
                parsed = reading.parsed
            title = source.title or parsed.title
            read.set_result(Read(title, parsed.media_type, parsed.pages, parsed.characters, parsed.warnings))

        async def embed() -> None:
            while (batch := await cut.get()) is not None:
                generations = await serving_first(self._tools.embedders, scope, base.kb_id)
                known = await self._drafts.known(scope, [one.number for one in generations], batch.hashes)
                embedders, analyzer = self._tools.embedders, self._tools.analyzer
                await done.put(await prepared(batch, known, generations, scope, base.kb_id, embedders, analyzer))
            await done.put(None)

        async def write() -> Outcome:
            at = staging
            while (batch := await done.get()) is not None and not batch.last:
                at = await self._drafts.add(scope, at, batch.sections, batch.ready)
                await control.checkpoint(chunks=len(batch.ready), tokens=batch.tokens)
            # Most documents have one batch: it ends them, and the outcome says it all.
            sections, chunks = (batch.sections, batch.ready) if batch is not None else ([], [])
            if not (stored := at.stored + len(chunks)):
                return _failed("empty", "there is no text in it")
            whole, now = await read, self._clock.now()
            tokens = await self._drafts.finish(scope, at, whole, now, sections=sections, chunks=chunks)
            return Outcome(ItemState.SUCCEEDED, chunks=stored, tokens=tokens, size=source.size, pages=whole.pages)

        return await _together(parse(), embed(), write())


async def _from(first: Block | None, rest: AsyncIterator[Block]) -> AsyncIterator[Block]:
    if first is not None:
        yield first
    async for block in rest:
        yield block


async def serving_first(embedders: WriteEmbedders, scope: Scope, kb_id: UUID) -> list[Generation]:
    """The generations that a write to this knowledge base has to reach; first the one that answers."""
    catalogue = await embedders.catalogue(scope.tenant_id)
    serving = catalogue.serving(kb_id)
    return [serving, *(one for one in catalogue.covering(kb_id) if one.number != serving.number)]


def settings_hash(base: KnowledgeBase, card: ModelCard, title: str | None, said: str | None) -> bytes:
    """SHA-256 of what a document's chunks depend on besides its bytes: who ingests it again with the same has the same chunks.

    ``said``: the hint of its name and type; ``None`` where its bytes alone tell what it is.
    """
    cut = base.chunking
    made = (PARSER_VERSION, CHUNKER_VERSION, card.name, card.revision, cut.strategy, cut.max_tokens, cut.overlap_tokens)
    return hashlib.sha256(repr((*made, title, said)).encode()).digest()


async def _together(
    parse: Coroutine[None, None, None], embed: Coroutine[None, None, None], write: Coroutine[None, None, Outcome]
) -> Outcome:
    """All three; when one fails the others are stopped, and its error is the error."""
    try:
        async with asyncio.TaskGroup() as group:
            *_, written = group.create_task(parse), group.create_task(embed), group.create_task(write)
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors
    return written.result()


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error that is no group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _short(path: Path) -> bool:
    return path.stat().st_size <= SMALL_BYTES


def _failed(reason: str, detail: str) -> Outcome:
    return Outcome(ItemState.FAILED, reason=reason, detail=detail)


def _overtaken(by: Overtaken, *, size: int = 0) -> Outcome:
    detail = f"job {by.job_id}, which was ordered later, has brought or removed this document"
    return Outcome(ItemState.UNCHANGED, reason="overtaken", detail=detail, size=size)


def _text(source: Mapping[str, JsonValue], name: str) -> str | None:
    value = source.get(name)
    return value if isinstance(value, str) else None
