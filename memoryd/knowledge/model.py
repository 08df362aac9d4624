"""What a knowledge base is made of. A version is a sequence number; rows carry ``[from_seq, to_seq)``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from uuid import UUID

from ingestion.chunk import Chunking, Strategy
from memoryd.errors import InvalidRequest
from retrieval.filters import JsonValue

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIVE = "live"
DRAFT = "draft"


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """``live_seq`` is ``None`` before the first publish; ``retain`` ``None`` keeps every version."""

    kb_id: UUID
    name: str
    space: str
    description: str | None
    chunking: Chunking
    retain: int | None
    live_seq: int | None
    newest_seq: int
    created_at: datetime
    updated_at: datetime


def check_chunking(chunking: Chunking) -> None:
    """Settings that go together. Raises ``InvalidRequest``."""
    if chunking.overlap_tokens * 2 > chunking.max_tokens:
        raise InvalidRequest("chunking.overlap_tokens: at most half of max_tokens")


class Unset:
    """A field that a change leaves as it is."""


UNSET: Final = Unset()


@dataclass(frozen=True, slots=True)
class ChunkingChange:
    """Which settings of chunking to change; one that is ``None`` stays."""

    strategy: Strategy | None = None
    max_tokens: int | None = None
    overlap_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class BaseChange:
    """What to change. New settings of chunking are for what is ingested from then on: ingest again what shall have them."""

    description: str | Unset | None = UNSET
    chunking: ChunkingChange = ChunkingChange()
    retain: int | Unset | None = UNSET


class VersionState(StrEnum):
    """A draft takes changes; a collected version's rows are gone or going, and reading it answers 410."""

    DRAFT = "draft"
    PUBLISHED = "published"
    COLLECTED = "collected"


@dataclass(frozen=True, slots=True)
class Version:
    """One version. Counts are those of its manifest; a draft's are counted when asked for."""

    seq: int
    base_seq: int | None
    state: VersionState
    live: bool
    tags: tuple[str, ...]
    documents: int
    chunks: int
    tokens: int
    manifest: str | None
    note: str | None
    created_at: datetime
    published_at: datetime | None
    published_by: str | None


@dataclass(frozen=True, slots=True)
class Pin:
    """One reading of a knowledge base: the version is fixed for the whole request."""

    kb_id: UUID
    name: str
    space: str
    seq: int


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document on its way into the draft. Hashes are SHA-256 digests; ``document_id`` is the caller's own."""

    document_id: str
    content_hash: bytes
    settings_hash: bytes
    size: int
    title: str | None = None
    media_type: str | None = None
    source_uri: str | None = None
    metadata: Mapping[str, JsonValue] | None = None
    object_key: str | None = None


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A document of which this job, ordered later, has brought what stands, or removed it."""

    job_id: UUID


@dataclass(frozen=True, slots=True)
class Staging:
    """A document that is being written: ``stored`` chunks of it (ordinals below that) were written before a crash. It
    ``replaces`` a revision that the draft had when it was begun."""

    kb_id: UUID
    seq: int
    document_pid: int
    stored: int
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """What is known of a document when all of it was read."""

    title: str | None
    media_type: str
    pages: int | None
    characters: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadySection:
    """A section as it is stored. Spans are characters of the document's text, ``[start, end)``; pages count from 1."""

    ordinal: int
    path: tuple[str, ...]
    text: str
    start: int
    end: int
    page_first: int | None
    page_last: int | None
    tokens: int


@dataclass(frozen=True, slots=True)
class ReadyChunk:
    """A chunk as it is stored and indexed. ``terms`` and ``tfs``: int64 and int16 of one length; ``vectors``, by
    generation: float32 of shape ``(dimension,)``, L2-normalised. ``hash`` is the SHA-256 of ``prefix + text`` in UTF-8."""

    section: int
    ordinal: int
    hash: bytes
    prefix: str
    text: str
    kind: str
    start: int
    end: int
    page_first: int | None
    page_last: int | None
    tokens: int
    length: int
    terms: NDArray[np.int64]
    tfs: NDArray[np.int16]
    vectors: Mapping[int, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Document:
    """A document as a version has it."""

    document_id: str
    title: str | None
    media_type: str | None
    source_uri: str | None
    metadata: Mapping[str, JsonValue]
    content_hash: str
    size: int
    pages: int | None
    characters: int
    chunks: int
    tokens: int
    warnings: tuple[str, ...]
    from_seq: int
    stored_at: datetime


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk as a version has it."""

    chunk_id: UUID
    ordinal: int
    section: int
    path: tuple[str, ...]
    prefix: str
    text: str
    kind: str
    span: tuple[int, int]
    pages: tuple[int, int] | None
    tokens: int
    hash: str


class Change(StrEnum):
    """What happened to a document between two versions."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many were added, removed, changed, and stayed. A chunk is what it says: it is never changed, only added or removed."""

    added: int
    removed: int
    changed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """One document that differs, and how many of its chunks are only in one of the two versions."""

    document_id: str
    change: Change
    chunks_added: int
    chunks_removed: int


@dataclass(frozen=True, slots=True)
class Diff:
    """The way from ``before`` to ``after``; ``changes`` is one page of the documents that differ, by document id."""

    before: int
    after: int
    documents: Counts
    chunks: Counts
    changes: tuple[DocumentChange, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Written:
    """What a document came to."""

    chunks: int
    tokens: int
    pages: int | None


@dataclass(frozen=True, slots=True)
class Collected:
    """What garbage collection did: versions that can be read no more, rows that went, and originals."""

    versions: tuple[int, ...]
    documents: int
    chunks: int
    object_keys: tuple[str, ...]
