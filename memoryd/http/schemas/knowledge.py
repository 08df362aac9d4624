"""Bodies of ``/v1/knowledge-bases``."""

from collections import Counter
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, JsonValue, StrictBool, StringConstraints, model_validator

from ingestion.chunk import Strategy
from memoryd.http.fields import MAX_TEXT, Identifier, Metadata, Name, Reason, Text, Uri, Whole
from memoryd.http.schemas.common import Body
from memoryd.knowledge.model import DRAFT, LIVE, Change, VersionState


def _free(name: str) -> str:
    if name in {LIVE, DRAFT}:
        raise ValueError(f"{name} has a meaning of its own")
    return name


def _as_text(version: object) -> object:
    return str(version) if isinstance(version, int) and not isinstance(version, bool) else version


BaseName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")]
TagName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,99}$"), AfterValidator(_free)]
Selector = Annotated[str, StringConstraints(pattern=r"^([0-9]{1,15}|[A-Za-z][A-Za-z0-9._-]{0,99})$")]
NumberOrName = Annotated[
    Selector,
    BeforeValidator(_as_text, json_schema_input_type=Selector | Annotated[int, Field(ge=0, lt=10**15)]),
]
"""In a body, where a version's number may be said as one."""
DocumentId = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\u0000-\u001f\u007f]+$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
MOST_DOCUMENTS = 10_000


class ChunkingIn(Body):
    """How documents are cut. Of what is ingested from then on: ingest again what shall have it."""

    strategy: Strategy = Strategy.STRUCTURAL
    max_tokens: Whole = Field(
        384, ge=64, le=2_048, description="Of a chunk with its prefix, in the embedder's tokenizer; at most what that reads"
    )
    overlap_tokens: Whole = Field(32, ge=0, le=512, description="Between neighbours of one section; at most half of max_tokens")


class ChunkingPatch(Body):
    """Which settings to change; one that is missing, or null, stays."""

    strategy: Strategy | None = None
    max_tokens: Whole | None = Field(None, ge=64, le=2_048)
    overlap_tokens: Whole | None = Field(None, ge=0, le=512)


class BaseIn(Body):
    """A new knowledge base."""

    name: BaseName
    space: Name = "default"
    description: Reason | None = None
    chunking: ChunkingIn = Field(default_factory=ChunkingIn)
    retain: Whole | None = Field(
        None, ge=1, le=10_000, description="Versions kept besides the live and the tagged ones; null keeps all"
    )


class BasePatch(Body):
    """What to change; a field that is missing stays."""

    description: Reason | None = None
    chunking: ChunkingPatch | None = None
    retain: Whole | None = Field(None, ge=1, le=10_000)

    @model_validator(mode="after")
    def _chunking_is_something(self) -> Self:
        if "chunking" in self.model_fields_set and self.chunking is None:
            raise ValueError("chunking: must not be null")
        return self


class ChunkingOut(BaseModel):
    """How documents are cut."""

    strategy: Strategy
    max_tokens: int
    overlap_tokens: int


class BaseOut(BaseModel):
    """A knowledge base."""

    id: UUID
    name: str
    space: str
    description: str | None
    chunking: ChunkingOut
    retain: int | None
    live: int | None = Field(description="The version that `live` means; null before the first publish")
    newest: int = Field(description="The last version that was published; 0 before the first")
    created_at: datetime
    updated_at: datetime


class BasePage(BaseModel):
    """Knowledge bases by name."""

    knowledge_bases: list[BaseOut]
    next_cursor: str | None


class VersionOut(BaseModel):
    """One version. Its counts are those of its manifest; a draft's are of what it holds when it is looked at."""

    version: int
    state: VersionState
    live: bool
    tags: list[str]
    base: int | None = Field(description="The version that was live when its draft was begun")
    documents: int
    chunks: int
    tokens: int
    manifest: str | None = Field(
        description="SHA-256 over ids and contents of documents and chunks: versions that agree in it say the same"
    )
    note: str | None
    created_at: datetime
    published_at: datetime | None
    published_by: str | None


class VersionPage(BaseModel):
    """Versions, newest first."""

    versions: list[VersionOut]
    next_cursor: str | None


class PublishIn(Body):
    """Make the draft the next version."""

    note: Reason | None = None


class RollbackIn(Body):
    """Which version to make live."""

    to: NumberOrName = Field(description="A number or a tag")


class TagIn(Body):
    """Which version a tag names."""

    version: NumberOrName = Field(description="A number, another tag, or `live`")


class CountsOut(BaseModel):
    """How many. A chunk is what it says: it is added or removed, never changed."""

    added: int
    removed: int
    changed: int
    unchanged: int


class DocumentChangeOut(BaseModel):
    """A document that differs."""

    document_id: str
    change: Change
    chunks_added: int
    chunks_removed: int


class DiffOut(BaseModel):
    """From one version to another; the counts are of the whole, `changes` is a page."""

    before: int
    after: int
    documents: CountsOut
    chunks: CountsOut
    changes: list[DocumentChangeOut]
    next_cursor: str | None

    @property
    def empty(self) -> bool:
        """No document differs."""
        return not (self.documents.added or self.documents.removed or self.documents.changed)


class CollectedOut(BaseModel):
    """What garbage collection did."""

    versions: list[int] = Field(description="Those that answer 410 from now on")
    documents: int = Field(description="Rows that went, of versions given up earlier")
    chunks: int


class DocumentOut(BaseModel):
    """A document as a version has it."""

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
    warnings: list[str] = Field(description="What could not be read of it")
    since: int = Field(description="From this version on it is so, without one between that has it otherwise")
    stored_at: datetime


class DocumentPage(BaseModel):
    """Documents of one version, by id."""

    version: int
    documents: list[DocumentOut]
    next_cursor: str | None


class ChunkOut(BaseModel):
    """A chunk. `prefix` is embedded and indexed with the text, and is not part of it."""

    id: UUID
    ordinal: int
    section: list[str]
    prefix: str
    text: str
    kind: str
    span: tuple[int, int] = Field(description="Characters of the document's text")
    pages: tuple[int, int] | None
    tokens: int
    sha256: str


class ChunkPage(BaseModel):
    """Chunks of one document, in order."""

    version: int
    document_id: str
    chunks: list[ChunkOut]
    next_cursor: str | None


class DocumentIn(Body):
    """A document to ingest: one of `text`, `upload` and `url` says where it is."""

    document_id: DocumentId
    text: Text | None = Field(None, description=f"At most {MAX_TEXT:,} characters; upload what is longer")
    upload: Sha256 | None = Field(None, description="Of a file that was sent to `/uploads`")
    url: Uri | None = Field(None, description="Fetched by the worker, where the installation allows it")
    file_name: Identifier | None = Field(None, description="Helps to tell formats apart that look alike")
    title: Identifier | None = None
    uri: Uri | None = Field(None, description="Where people find it: shown with citations")
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(one is not None for one in (self.text, self.upload, self.url)) != 1:
            raise ValueError("needs one of text, upload and url")
        return self


class IngestIn(Body):
    """Changes for the draft. A document that is there already with the same content costs nothing. With `publish` alone the job
    publishes what is staged, in its own time: a request's may not suffice for hundreds of thousands of chunks."""

    documents: list[DocumentIn] = Field(default_factory=list, max_length=MOST_DOCUMENTS)
    remove: list[DocumentId] = Field(default_factory=list, max_length=MOST_DOCUMENTS)
    publish: StrictBool = Field(False, description="Publish when the job is through and no document failed")
    note: Reason | None = Field(None, description="Of the version that is published")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.documents and not self.remove and not self.publish:
            raise ValueError("documents or remove: name at least one; or publish")
        ids = [one.document_id for one in self.documents] + self.remove
        if twice := next((one for one, count in Counter(ids).items() if count > 1), None):
            raise ValueError(f"a document_id is named twice: {twice}")
        return self


class UploadedOut(BaseModel):
    """A file that is kept, to be named in a job."""

    upload: str = Field(description="Its SHA-256")
    file_name: str | None
    bytes: int


class UploadsOut(BaseModel):
    """What was uploaded, in order."""

    uploads: list[UploadedOut]


class CompareIn(Body):
    """What the caller has."""

    documents: Annotated[dict[DocumentId, Sha256], Field(min_length=1, max_length=MOST_DOCUMENTS)]


class CompareOut(BaseModel):
    """What need not be sent again, and what must be."""

    unchanged: list[str]
    changed: list[str]
    new: list[str]
