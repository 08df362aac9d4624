"""A knowledge base with documents that a test writes out, and vectors of its choice: for searching, through the real stores."""

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

import numpy as np

from ingestion.chunk import Chunking
from memoryd.ids import uuid7
from memoryd.knowledge.model import KnowledgeBase, NewDocument, Read, ReadyChunk, ReadySection, Staging
from memoryd.stores.database import Database
from memoryd.stores.knowledge.bases import PgBases
from memoryd.stores.knowledge.batches import chunk_id
from memoryd.stores.knowledge.drafts import PgDrafts
from memoryd.stores.knowledge.versions import PgVersions
from retrieval.analysis import Analyzer
from retrieval.filters import JsonValue
from retrieval.scope import Scope
from retrieval.vectors import Vectors
from tests.stores.knowledge.shelf import erased

Embed = Callable[[Sequence[str]], Awaitable[Vectors]]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Part:
    """One chunk: the headings above it, its text, the page."""

    text: str
    path: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True)
class Doc:
    """A document in parts; parts under the same headings are one section."""

    title: str
    parts: tuple[Part, ...]
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    uri: str | None = None


def doc(text: str, **metadata: JsonValue) -> Doc:
    """A document of one chunk, without a title of its own."""
    return Doc("", (Part(text),), metadata)


def prefix(document: Doc, part: Part) -> str:
    """What is embedded and indexed in front of a part."""
    words = " › ".join(word for word in (document.title, *part.path) if word)
    return f"{words}\n" if words else ""


@dataclass
class Bookcase:
    """One knowledge base. ``texts`` are the chunks of each version by chunk id, prefixes included."""

    database: Database
    scope: Scope
    generation: int
    embed: Embed
    name: str
    kb_id: UUID
    texts: dict[int, dict[UUID, str]]
    documents: dict[str, Doc]

    @property
    def versions(self) -> PgVersions:
        return PgVersions(self.database)

    @classmethod
    async def make(
        cls, database: Database, scope: Scope, generation: int, embed: Embed, *, name: str = "", space: str = "default"
    ) -> "Bookcase":
        """An empty one."""
        made = cls(database, scope, generation, embed, name or f"kb-{uuid4().hex[:8]}", uuid7(), {}, {})
        base = KnowledgeBase(made.kb_id, made.name, space, None, Chunking(), 1, None, 0, NOW, NOW)
        await PgBases(database).create(scope, base)
        return made

    async def stage(self, changes: Mapping[str, Doc | None]) -> None:
        """Write changes into the draft, which nobody can pin yet; ``None`` takes a document away."""
        drafts = PgDrafts(self.database)
        vectors = await self._vectors(changes)
        for name, document in changes.items():
            self.documents.pop(name, None)
            if document is None:
                await drafts.remove(self.scope, self.kb_id, name, NOW)
                continue
            self.documents[name] = document
            content = hashlib.sha256(repr(document.parts).encode()).digest()
            new = NewDocument(name, content, b"settings", 1, document.title or None, None, document.uri, dict(document.metadata))
            staging = await drafts.begin(self.scope, self.kb_id, new, NOW)
            if isinstance(staging, Staging):
                sections, chunks = self._ready(document, vectors)
                staging = await drafts.add(self.scope, staging, sections, chunks)
                await drafts.finish(self.scope, staging, Read(document.title or None, "text/markdown", None, 1, ()), NOW)

    async def publish(self, changes: Mapping[str, Doc | None] | None = None) -> int:
        """Stage, and make it the live version; its number."""
        await self.stage(changes or {})
        seq = (await self.versions.publish(self.scope, self.kb_id, note=None, now=NOW)).seq
        self.texts[seq] = self._texts()
        return seq

    async def collect(self) -> None:
        """Give up every version but the live one."""
        await self.versions.collect(self.scope, self.kb_id, now=NOW, grace_s=0, erase=erased)

    async def tag(self, tag: str, seq: int) -> None:
        """Name a version."""
        await self.versions.tag(self.scope, self.kb_id, tag, seq, NOW)

    def chunk_id(self, document_id: str, place: int) -> UUID:
        """Of the document as it is staged; no chunk of it says the same as another."""
        document = self.documents[document_id]
        part = document.parts[place]
        return chunk_id(self.kb_id, document_id, _digest(prefix(document, part) + part.text), 0)

    def _texts(self) -> dict[UUID, str]:
        return {
            self.chunk_id(name, place): prefix(document, part) + part.text
            for name, document in self.documents.items()
            for place, part in enumerate(document.parts)
        }

    async def _vectors(self, changes: Mapping[str, Doc | None]) -> dict[str, Vectors]:
        texts = sorted({prefix(d, part) + part.text for d in changes.values() if d is not None for part in d.parts})
        return dict(zip(texts, await self.embed(texts), strict=True)) if texts else {}

    def _ready(self, document: Doc, vectors: Mapping[str, Vectors]) -> tuple[list[ReadySection], list[ReadyChunk]]:
        sections: list[list[ReadyChunk]] = []
        at, last = 0, None
        for ordinal, part in enumerate(document.parts):
            if part.path != last:
                sections.append([])
                last = part.path
            sections[-1].append(self._chunk(document, part, len(sections) - 1, ordinal, at, vectors))
            at += len(part.text) + 1
        ready = []
        for number, chunks in enumerate(sections):
            first, final = chunks[0], chunks[-1]
            text, path = "\n".join(chunk.text for chunk in chunks), document.parts[first.ordinal].path
            pages = (first.page_first, final.page_last)
            ready.append(ReadySection(number, path, text, first.start, final.end, *pages, 1))
        return ready, [chunk for chunks in sections for chunk in chunks]

    def _chunk(
        self, document: Doc, part: Part, section: int, ordinal: int, at: int, vectors: Mapping[str, Vectors]
    ) -> ReadyChunk:
        whole = prefix(document, part) + part.text
        tokens = Analyzer().tokens(whole)
        terms = {Analyzer.term_id(self.kb_id, token): count for token, count in Counter(tokens).items()}
        return ReadyChunk(
            section=section,
            ordinal=ordinal,
            hash=_digest(whole),
            prefix=prefix(document, part),
            text=part.text,
            kind="text",
            start=at,
            end=at + len(part.text),
            page_first=part.page,
            page_last=part.page,
            tokens=1,
            length=len(tokens),
            terms=np.array(list(terms), dtype=np.int64),
            tfs=np.array(list(terms.values()), dtype=np.int16),
            vectors={self.generation: vectors[whole]},
        )


def hashed(dimension: int) -> Embed:
    """Unit vectors that a text determines: for the indexes, without a model."""

    async def embed(texts: Sequence[str]) -> Vectors:
        seeds = [int.from_bytes(_digest(text)[:8]) for text in texts]
        vectors = np.array([np.random.default_rng(seed).normal(size=dimension) for seed in seeds])
        unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        return unit

    return embed


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
