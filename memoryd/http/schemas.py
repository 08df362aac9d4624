"""Bodies of requests and answers: the names of ``docs/api.md``, which clients rely on."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, StrictBool, Tag, model_validator

from memoryd.http.fields import (
    Confidence,
    Identifier,
    Metadata,
    Name,
    Query,
    Reason,
    Text,
    Time,
    Topic,
    Uri,
    Wanted,
    Whole,
)
from memoryd.memory.model import Change, Kind, Outcome
from memoryd.memory.recall import RerankMode
from retrieval.packing import DEFAULT_TOKENIZER, Format, Order, Rendition
from retrieval.scope import Action
from retrieval.search import Arm, Fusion

MAX_BATCH = 1_000


class Body(BaseModel):
    """A request body: unknown fields are refused, so that a typo is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class Source(Body):
    """Where a memory comes from."""

    type: Identifier = "conversation"
    uri: Uri | None = None


class MemoryIn(Body):
    """One memory to store."""

    text: Text = Field(examples=["Caroline prefers oat milk in her coffee."])
    space: Name = "default"
    kind: Kind = Kind.EPISODIC
    user_id: Identifier | None = None
    agent_id: Identifier | None = None
    session_id: Identifier | None = None
    event_time: Time | None = None
    valid_from: Time | None = None
    valid_to: Time | None = None
    topics: list[Topic] = Field(default_factory=list, max_length=32)
    confidence: Confidence = 1.0
    source: Source = Field(default_factory=Source)
    metadata: Metadata = Field(default_factory=dict)
    external_id: Identifier | None = None
    supersedes: UUID | None = None

    @model_validator(mode="after")
    def _valid_interval(self) -> Self:
        if self.valid_from and self.valid_to and self.valid_from >= self.valid_to:
            raise ValueError("valid_from must be before valid_to")
        return self


class MessageIn(Body):
    """One turn of a conversation; becomes an episodic memory."""

    role: Literal["user", "assistant", "system", "tool"] = "user"
    name: Identifier | None = None
    content: Text
    event_time: Time | None = None
    external_id: Identifier | None = None


class RememberMemories(Body):
    """Memories, each with its own fields."""

    memories: list[MemoryIn] = Field(min_length=1, max_length=MAX_BATCH)


class RememberMessages(Body):
    """Turns of one conversation that share everything else."""

    messages: list[MessageIn] = Field(min_length=1, max_length=MAX_BATCH)
    space: Name = "default"
    user_id: Identifier | None = None
    agent_id: Identifier | None = None
    session_id: Identifier | None = None
    event_time: Time | None = Field(None, description="For turns without their own")
    topics: list[Topic] = Field(default_factory=list, max_length=32)
    confidence: Confidence = 1.0
    source: Source = Field(default_factory=Source)
    metadata: Metadata = Field(default_factory=dict)


def _kind_of_body(body: object) -> str:
    if isinstance(body, RememberMessages) or (isinstance(body, dict) and "messages" in body):
        return "messages"
    return "memories"


RememberBody = Annotated[
    Annotated[RememberMemories, Tag("memories")] | Annotated[RememberMessages, Tag("messages")],
    Discriminator(_kind_of_body),
]


class WrittenOut(BaseModel):
    """What became of one memory."""

    id: UUID
    external_id: str | None = None
    status: Outcome


class RememberOut(BaseModel):
    """In the order sent."""

    results: list[WrittenOut]


class SourceOut(BaseModel):
    """Where a memory comes from."""

    type: str
    uri: str | None = None


class MemoryOut(BaseModel):
    """A memory as it stands."""

    id: UUID
    external_id: str | None = None
    space: str
    kind: Kind
    text: str
    speaker: str | None = None
    role: str | None = None
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
    supersedes: UUID | None = None
    superseded_by: UUID | None = None
    revision: int
    created_at: datetime
    updated_at: datetime


class RevisionOut(MemoryOut):
    """One state of a memory, with who made it and why."""

    action: Change
    actor: str
    reason: str | None = None
    retired_at: datetime | None = None


class MemoryPage(BaseModel):
    """One page; ``next_cursor`` is missing on the last."""

    memories: list[MemoryOut]
    next_cursor: str | None = None


class HistoryPage(BaseModel):
    """Revisions, newest first."""

    revisions: list[RevisionOut]
    next_cursor: str | None = None


class PatchIn(Body):
    """The fields to change; what is not named stays. A ``null`` clears an optional field."""

    text: Text | None = None
    kind: Kind | None = None
    user_id: Identifier | None = None
    agent_id: Identifier | None = None
    session_id: Identifier | None = None
    event_time: Time | None = None
    valid_from: Time | None = None
    valid_to: Time | None = None
    topics: list[Topic] | None = Field(None, max_length=32)
    confidence: Confidence | None = None
    source: Source | None = None
    metadata: Metadata | None = None
    reason: Reason | None = None


class RevertIn(Body):
    """The revision to go back to."""

    revision: Whole = Field(ge=1, le=2**31 - 1)
    reason: Reason | None = None


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


class RecallIn(Body):
    """A question to long-term memory."""

    query: Query = Field(examples=["When did Caroline go to the support group?"])
    spaces: list[Name] | None = Field(None, min_length=1, max_length=100, description="Default: all that the key may use")
    filters: FiltersIn = Field(default_factory=FiltersIn)
    limit: Whole = Field(10, ge=1, le=100)
    rerank: RerankMode = RerankMode.AUTO
    explain: StrictBool = False
    query_time: Time | None = Field(None, description="«Now» for phrases such as «last week»; without it they are ignored")
    as_of: Time | None = Field(None, description="What was true in the world then")
    known_at: Time | None = Field(None, description="What this service knew then")
    deadline_ms: float | None = Field(None, strict=True, ge=1, le=60_000, allow_inf_nan=False)
    arms: list[Arm] | None = Field(None, min_length=1, max_length=3)
    fusion: Fusion = Fusion.CONVEX


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


class HitOut(BaseModel):
    """One memory found."""

    id: UUID
    external_id: str | None = None
    space: str
    kind: Kind
    text: str
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
    passage: tuple[int, int] = Field(description="The span of `text` that matched, in characters")
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


class ContextIn(RecallIn):
    """A recall, packed into a budget."""

    budget_tokens: Whole = Field(1_024, ge=0, le=200_000)
    tokenizer: Identifier = DEFAULT_TOKENIZER
    format: Format = Format.TEXT
    order: Order = Order.BEST_FIRST
    sections: dict[Kind, Annotated[Whole, Field(ge=0, le=200_000)]] = Field(
        default_factory=dict, description="Tokens reserved for a kind; what it leaves spills over"
    )
    must_include: list[UUID] = Field(default_factory=list, max_length=50)
    session_id: Identifier | None = Field(None, description="Reserved for working memory; must be null for now")

    @model_validator(mode="after")
    def _no_session_yet(self) -> Self:
        if self.session_id is not None:
            raise ValueError("session_id: working memory is not available yet; use filters.session_id")
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
    source: SourceOut
    spans: list[tuple[int, int]]
    merged: list[str] = Field(default_factory=list)
    handle: str
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


class ExpandIn(Body):
    """More of one item."""

    handle: Annotated[str, Field(min_length=1, max_length=1_000)]
    budget_tokens: Whole = Field(512, ge=0, le=200_000)
    tokenizer: Identifier = DEFAULT_TOKENIZER


class SpaceIn(Body):
    """A new space."""

    name: Name
    description: Reason | None = None


class SpaceOut(BaseModel):
    """A memory bank."""

    id: UUID
    name: str
    description: str | None = None
    created_at: datetime


class SpacePage(BaseModel):
    """Spaces by name."""

    spaces: list[SpaceOut]
    next_cursor: str | None = None


class KeyIn(Body):
    """A new key; it can grant no more than the caller has."""

    name: Reason
    actions: list[Action] = Field(default_factory=lambda: [Action.READ, Action.WRITE], min_length=1, max_length=4)
    spaces: list[Name] | None = Field(None, min_length=1, max_length=100, description="null: every space")
    expires_at: Time | None = None


class RotateIn(Body):
    """How long the old key keeps working."""

    grace_s: Whole = Field(0, ge=0, le=30 * 86_400)


class KeyOut(BaseModel):
    """A key without its secret."""

    id: UUID
    name: str
    prefix: str
    actions: list[Action]
    spaces: list[str] | None = None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    rotated_from: UUID | None = None


class NewKeyOut(KeyOut):
    """A new key. ``key`` is shown once; it is null when a repeated request finds the key made already."""

    key: str | None = None


class KeyPage(BaseModel):
    """Keys in order of creation."""

    keys: list[KeyOut]
    next_cursor: str | None = None


class TenantIn(Body):
    """A new tenant."""

    name: Name


class TenantPatch(Body):
    """Suspend a tenant (its keys stop working at once), or let it go on."""

    suspended: StrictBool


class TenantOut(BaseModel):
    """A tenant."""

    id: UUID
    name: str
    created_at: datetime
    suspended_at: datetime | None = None


class NewTenantOut(TenantOut):
    """A new tenant with its first key, shown once."""

    key: NewKeyOut


class TenantPage(BaseModel):
    """Tenants in order of creation."""

    tenants: list[TenantOut]
    next_cursor: str | None = None


class LiveOut(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class CheckOut(BaseModel):
    """One thing that readiness looks at."""

    ok: bool
    required: bool
    detail: str


class ReadyOut(BaseModel):
    """Ready to serve."""

    status: Literal["ready"] = "ready"
    checks: dict[str, CheckOut]
