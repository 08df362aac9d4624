"""Bodies of recall and context."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, JsonValue, StrictBool, model_validator

from memoryd.http.closed import at_most
from memoryd.http.fields import (
    MAX_TEXT,
    Confidence,
    Identifier,
    LocalTime,
    Name,
    Query,
    Time,
    Topic,
    Wanted,
    Whole,
)
from memoryd.http.schemas.common import Body, SourceOut
from memoryd.http.schemas.knowledge_search import MAX_SOURCES, CitationOut, SourceIn
from memoryd.http.schemas.reranking import RerankIn
from memoryd.http.schemas.sessions import Key, SessionContextOut
from memoryd.memory.model import Kind
from memoryd.memory.reranking import RerankMode
from retrieval.candidates import Fusion
from retrieval.packing import DEFAULT_TOKENIZER, Format, Order, Rendition
from retrieval.search import Arm


class FiltersIn(Body):
    """All conditions hold together; ranges are half-open, ``[after, before)``."""

    user_id: Identifier | None = None
    agent_id: Identifier | None = None
    session_id: Identifier | None = None
    kinds: list[Kind] = Field(default_factory=list, max_length=4)
    source_types: list[Identifier] = Field(default_factory=list, max_length=32)
    topics_any: list[Topic] = Field(default_factory=list, max_length=32)
    topics_all: list[Topic] = Field(default_factory=list, max_length=32)
    metadata: Wanted = Field(default_factory=dict)
    min_confidence: Confidence | None = None
    event_after: Time | None = None
    event_before: Time | None = None
    created_after: Time | None = None
    created_before: Time | None = None


class Question(Body):
    """What recall and context have in common."""

    query: Query = Field(examples=["When did Caroline go to the support group?"])
    spaces: list[Name] | None = Field(
        None, min_length=1, max_length=100, description="Default: all that the key may use, if they are no more than 1,000"
    )
    sources: list[SourceIn] | None = Field(
        None,
        min_length=1,
        max_length=MAX_SOURCES,
        description="These alone, instead of `spaces`: knowledge bases and spaces, each with a limit of its own if you say",
    )
    filters: FiltersIn = Field(default_factory=FiltersIn, description="Which memories; a knowledge base has filters of its own")
    limit: Whole = Field(10, ge=1, le=100)
    rerank: RerankMode | RerankIn = Field(RerankMode.AUTO, description="`auto`: as the spaces say, or else the installation")
    explain: StrictBool = False
    query_time: LocalTime | None = Field(
        None, description="«Now» for phrases such as «last week», whose days are those of its offset; without it they are ignored"
    )
    as_of: Time | None = Field(None, description="What was true in the world then")
    known_at: Time | None = Field(None, description="What this service knew then")
    deadline_ms: float | None = Field(
        None, strict=True, ge=1, le=60_000, allow_inf_nan=False, description="Bounds the whole request; see docs/api.md"
    )
    arms: list[Arm] | None = Field(None, min_length=1, max_length=3)
    fusion: Fusion = Fusion.CONVEX


class RecallIn(Question):
    """A question to long-term memory."""

    max_text_chars: Whole = Field(
        4_000, ge=1, le=MAX_TEXT, description="Longer texts are cut to so many characters around the passage that matched"
    )


class ArmOut(BaseModel):
    """Rank (from 1; missing when only the score is known) and the arm's own score."""

    rank: int | None = None
    score: float | None = None


class ExplainOut(BaseModel):
    """Why a hit is where it is."""

    arms: dict[str, ArmOut]
    fused: float = Field(description="Before the temporal boost and the reranker")
    parts: dict[str, float] = Field(description="What each arm gave to `fused`")
    temporal: float = Field(description="Added for an event time inside an interval that the query names")
    rerank: float | None = Field(None, description="The cross-encoder's relevance, in [0, 1]")
    via_neighbour: bool = Field(description="Found because a turn shortly before it in its session matched")


# The kinds of what is found: those of memories, and that of a chunk.
Found = Kind | Literal["knowledge"]


class HitOut(BaseModel):
    """One memory found, or one chunk. A chunk's `external_id` and `metadata` are its document's, `revision` is the version."""

    id: UUID
    external_id: str | None = None
    space: str
    kind: Found
    text: str = Field(description="At most `max_text_chars` of it; `GET /v1/memories/{id}` has the whole")
    truncated: bool = Field(False, description="`text` is a part")
    text_span: tuple[int, int] = Field(description="Which part of the memory's text `text` is, in characters")
    score: float
    speaker: str | None = None
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    event_time: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    topics: list[str]
    confidence: float
    source: SourceOut
    metadata: dict[str, JsonValue]
    revision: int
    recorded_at: datetime
    passage: tuple[int, int] = Field(description="The span of the memory's text that matched, in characters")
    knowledge: CitationOut | None = Field(None, description="Of a chunk: where it stands")
    explain: ExplainOut | None = None


class IntervalOut(BaseModel):
    """A phrase of the query that was understood as a time."""

    phrase: str
    start: datetime
    end: datetime


class RecallOut(BaseModel):
    """Hits, best first."""

    hits: list[HitOut]
    degraded: list[str] = Field(description="Arms and stages that failed or were too slow")
    timings_ms: dict[str, float]
    understood: list[IntervalOut] = Field(default_factory=list)
    reranked: int = Field(0, description="How many hits the cross-encoder read")


class ContextIn(Question):
    """A recall, packed into a budget."""

    budget_tokens: Whole = Field(1_024, ge=0, le=200_000)
    tokenizer: Identifier = DEFAULT_TOKENIZER
    format: Format = Format.TEXT
    order: Order = Order.BEST_FIRST
    sections: Annotated[dict[Found, Annotated[Whole, Field(ge=0, le=200_000)]], BeforeValidator(at_most(len(Kind) + 1))] = Field(
        default_factory=dict, description="Tokens reserved for a kind; what it leaves spills over"
    )
    must_include: list[UUID] = Field(default_factory=list, max_length=50)
    session_id: Key | None = Field(None, description="Working memory to show beside long-term memory, under the one budget")
    session_tokens: Annotated[Whole, Field(ge=0, le=200_000)] | None = Field(
        None,
        description="At most so many for the session; if missing half of the budget, or where its pinned messages need more, "
        "that and half of the rest. What it leaves spills over",
    )

    @model_validator(mode="after")
    def _has_a_session(self) -> Self:
        if self.session_tokens is not None and self.session_id is None:
            raise ValueError("session_tokens: of which session? Give session_id")
        return self


class ContextItemOut(BaseModel):
    """One shown item of the manifest."""

    id: str
    external_id: str | None = None
    citation: int
    rendition: Rendition
    tokens: int
    why: str
    section: str
    user_id: str | None = Field(None, description="Whom the memory is about")
    source: SourceOut
    spans: list[tuple[int, int]]
    merged: list[str] = Field(default_factory=list)
    handle: str
    knowledge: CitationOut | None = Field(None, description="Of a chunk, or of the section around it: where it stands")
    explain: ExplainOut | None = None


class DroppedOut(BaseModel):
    """One candidate that is not shown."""

    id: str
    external_id: str | None = None
    reason: str
    of: str | None = Field(None, description="The item that stands for it")


class MessageOut(BaseModel):
    """A chat message to put before the conversation."""

    role: str
    content: str


class ContextOut(BaseModel):
    """The packed context and its manifest. ``used_tokens`` never exceeds ``budget_tokens``."""

    text: str
    messages: list[MessageOut] | None = None
    used_tokens: int
    budget_tokens: int
    tokenizer: str
    items: list[ContextItemOut]
    dropped: list[DroppedOut]
    degraded: list[str]
    timings_ms: dict[str, float] = Field(default_factory=dict)
    session: SessionContextOut | None = Field(
        None, description="The session's section; its text is a part of `text` in the text format, and counted in any"
    )


class ExpandIn(Body):
    """More of one item."""

    handle: Annotated[str, Field(min_length=1, max_length=1_000)]
    budget_tokens: Whole = Field(512, ge=0, le=200_000)
    tokenizer: Identifier = DEFAULT_TOKENIZER
