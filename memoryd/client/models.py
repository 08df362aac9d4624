"""What the service answers about knowledge bases. Fields that a newer service adds are passed over.

The service's schemas of these need more than the client may; a test holds them against the OpenAPI document.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue


class Model(BaseModel):
    """An answer, or a part of one."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Strategy = Literal["fact", "context", "structural", "code"]


class Chunking(Model):
    """How documents are cut: ``max_tokens`` a chunk, ``overlap_tokens`` between neighbours."""

    strategy: Strategy = "structural"
    max_tokens: int = 384
    overlap_tokens: int = 32


class KnowledgeBase(Model):
    """``live`` is ``None`` before the first publish, and ``newest`` 0; ``retain`` ``None`` keeps every version."""

    id: UUID
    name: str
    space: str
    description: str | None
    chunking: Chunking
    retain: int | None
    live: int | None
    newest: int
    created_at: datetime
    updated_at: datetime


class BasePage(Model):
    """Knowledge bases by name."""

    knowledge_bases: list[KnowledgeBase]
    next_cursor: str | None


class Version(Model):
    """A version; of a draft the counts are 0. Two versions with the same ``manifest`` are equal."""

    version: int
    state: Literal["draft", "published", "collected"]
    live: bool
    tags: list[str]
    base: int | None
    documents: int
    chunks: int
    tokens: int
    manifest: str | None
    note: str | None
    created_at: datetime
    published_at: datetime | None
    published_by: str | None


class VersionPage(Model):
    """Versions, newest first."""

    versions: list[Version]
    next_cursor: str | None


class Counts(Model):
    """How many."""

    added: int
    removed: int
    changed: int
    unchanged: int


class DocumentChange(Model):
    """A document that differs."""

    document_id: str
    change: Literal["added", "removed", "changed"]
    chunks_added: int
    chunks_removed: int


class Diff(Model):
    """From one version to another. The counts are of the whole; ``changes`` are the first, and ``changes()`` gives all."""

    before: int
    after: int
    documents: Counts
    chunks: Counts
    changes: list[DocumentChange]
    next_cursor: str | None

    @property
    def empty(self) -> bool:
        """No document differs."""
        return not (self.documents.added or self.documents.removed or self.documents.changed)


class Collected(Model):
    """What garbage collection did: versions that can be read no more, and rows that went."""

    versions: list[int]
    documents: int
    chunks: int


class Document(Model):
    """A document as a version has it; ``since`` is the first version that has it so."""

    document_id: str
    title: str | None
    media_type: str | None
    uri: str | None
    metadata: dict[str, JsonValue]
    sha256: str
    bytes: int
    pages: int | None
    characters: int
    chunks: int
    tokens: int
    warnings: list[str]
    since: int
    stored_at: datetime


class DocumentPage(Model):
    """Documents of one version, by id."""

    version: int
    documents: list[Document]
    next_cursor: str | None


class Chunk(Model):
    """A chunk; ``prefix`` is embedded and indexed with the text, but no part of it. ``span``: characters, ``[start, end)``."""

    id: UUID
    ordinal: int
    section: list[str]
    prefix: str
    text: str
    kind: str
    span: tuple[int, int]
    pages: tuple[int, int] | None
    tokens: int
    sha256: str


class ChunkPage(Model):
    """Chunks of one document, in order."""

    version: int
    document_id: str
    chunks: list[Chunk]
    next_cursor: str | None


class Uploaded(Model):
    """A file that is kept; ``upload``, its SHA-256, names it in a job."""

    upload: str
    bytes: int


class Uploads(Model):
    """Files, in the order sent."""

    uploads: list[Uploaded]


class Comparison(Model):
    """Which documents the next version has already as they are, has otherwise, and does not have."""

    unchanged: list[str]
    changed: list[str]
    new: list[str]
