"""Bodies of searching knowledge bases: the sources of a recall, what is cited of a chunk, and a search of one base."""

from typing import Annotated, Literal

from pydantic import BaseModel, Discriminator, Field, StrictBool, StringConstraints, Tag

from memoryd.http.fields import MAX_TEXT, Name, Query, Wanted, Whole
from memoryd.http.schemas.common import Body
from memoryd.http.schemas.knowledge import DocumentId, NumberOrName
from memoryd.http.schemas.reranking import RerankIn
from memoryd.knowledge.model import LIVE
from memoryd.memory.reranking import RerankMode
from retrieval.candidates import Fusion

MAX_SOURCES = 10

KbReference = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}(@([0-9]{1,15}|[A-Za-z][A-Za-z0-9._-]{0,99}))?$"),
]
Cap = Annotated[Whole, Field(ge=1, le=100, description="At most so many hits of this source")]


class KnowledgeFiltersIn(Body):
    """Which documents: all conditions hold together."""

    metadata: Wanted = Field(default_factory=dict)
    document_ids: list[DocumentId] = Field(default_factory=list, max_length=1_000, description="Any of these; empty: all")


class KbSourceIn(Body):
    """A knowledge base: `name` or `name@live`, `name@7`, `name@tag`."""

    kb: KbReference = Field(examples=["handbook@live"])
    limit: Cap | None = None
    filters: KnowledgeFiltersIn = Field(default_factory=KnowledgeFiltersIn)


class SpaceSourceIn(Body):
    """The memories of a space."""

    space: Name
    limit: Cap | None = None


def _kind_of_source(source: object) -> str:
    if isinstance(source, SpaceSourceIn) or (isinstance(source, dict) and "space" in source):
        return "space"
    return "kb"


SourceIn = Annotated[
    Annotated[KbSourceIn, Tag("kb")] | Annotated[SpaceSourceIn, Tag("space")],
    Discriminator(_kind_of_source),
]


class KnowledgeSearchIn(Body):
    """A question to one knowledge base."""

    query: Query = Field(examples=["How many days of parental leave are there?"])
    version: NumberOrName = Field(LIVE, description="`live`, a number, or a tag")
    filters: KnowledgeFiltersIn = Field(default_factory=KnowledgeFiltersIn)
    limit: Whole = Field(10, ge=1, le=100)
    rerank: RerankMode | RerankIn = RerankMode.AUTO
    explain: StrictBool = False
    deadline_ms: float | None = Field(None, strict=True, ge=1, le=60_000, allow_inf_nan=False, description="As of a recall")
    arms: list[Literal["dense", "lexical"]] | None = Field(None, min_length=1, max_length=2)
    fusion: Fusion = Fusion.CONVEX
    max_text_chars: Whole = Field(4_000, ge=1, le=MAX_TEXT, description="Longer texts are cut to so many characters")


class CitationOut(BaseModel):
    """Where a chunk stands: the version, the document, and the place in it."""

    kb: str
    version: int
    document_id: str
    title: str | None = None
    section: list[str] = Field(description="Headings, from the outermost in")
    pages: tuple[int, int] | None = Field(None, description="First and last, from 1")
    span: tuple[int, int] = Field(description="Characters of the document's text")
    media_type: str | None = None
    uri: str | None = None
