"""What the service answers about long-term memory."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field, JsonValue

from memoryd.client.models import Model
from memoryd.client.session_models import SessionContext

Kind = Literal["episodic", "semantic", "preference", "procedural"]
Found = Kind | Literal["knowledge"]
Rendition = Literal["pointer", "gist", "excerpt", "full"]


class Source(Model):
    """Where a memory comes from."""

    type: str
    uri: str | None = None


class Citation(Model):
    """Where a chunk stands: the version, the document, and the place in it. ``span``: characters, ``[start, end)``."""

    kb: str
    version: int
    document_id: str
    title: str | None = None
    section: list[str]
    pages: tuple[int, int] | None = None
    span: tuple[int, int]
    media_type: str | None = None
    uri: str | None = None


class ArmScore(Model):
    """Rank from 1, and the arm's own score."""

    rank: int | None = None
    score: float | None = None


class Explanation(Model):
    """Why a hit is where it is."""

    arms: dict[str, ArmScore]
    fused: float
    parts: dict[str, float]
    temporal: float
    rerank: float | None = None
    via_neighbour: bool


class Hit(Model):
    """A memory that was found, or a chunk, which has ``knowledge``."""

    id: UUID
    external_id: str | None = None
    space: str
    kind: Found
    text: str
    truncated: bool = False
    text_span: tuple[int, int]
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
    source: Source
    metadata: dict[str, JsonValue]
    revision: int
    recorded_at: datetime
    passage: tuple[int, int]
    knowledge: Citation | None = None
    explain: Explanation | None = None


class Interval(Model):
    """A phrase of the query that was understood as a time."""

    phrase: str
    start: datetime
    end: datetime


class Recall(Model):
    """Hits, best first. ``degraded``: arms and stages that are missing from the answer; read it before an empty list."""

    hits: list[Hit]
    degraded: list[str]
    timings_ms: dict[str, float]
    understood: list[Interval] = Field(default_factory=list)
    reranked: int = 0


class ContextItem(Model):
    """What is shown, and how much of it. ``handle`` gives more of it."""

    id: str
    external_id: str | None = None
    citation: int
    rendition: Rendition
    tokens: int
    why: str
    section: str
    source: Source
    spans: list[tuple[int, int]]
    merged: list[str] = Field(default_factory=list)
    handle: str
    knowledge: Citation | None = None
    explain: Explanation | None = None


class Dropped(Model):
    """What is not shown, and why; ``of``: what stands for it."""

    id: str
    external_id: str | None = None
    reason: str
    of: str | None = None


class ChatMessage(Model):
    """A message to put before a conversation."""

    role: str
    content: str


class Context(Model):
    """A packed context with its manifest. ``used_tokens`` never exceeds ``budget_tokens``."""

    text: str
    messages: list[ChatMessage] | None = None
    used_tokens: int
    budget_tokens: int
    tokenizer: str
    items: list[ContextItem]
    dropped: list[Dropped]
    degraded: list[str]
    timings_ms: dict[str, float] = Field(default_factory=dict)
    session: SessionContext | None = None


class Written(Model):
    """What became of one memory."""

    id: UUID
    external_id: str | None = None
    status: Literal["created", "duplicate"]


class Remembered(Model):
    """In the order sent."""

    results: list[Written]


class Memory(Model):
    """A memory as it stands, or stood."""

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
    source: Source
    metadata: dict[str, JsonValue]
    supersedes: UUID | None = None
    superseded_by: UUID | None = None
    revision: int
    created_at: datetime
    updated_at: datetime


class Revision(Memory):
    """One state of a memory, with who made it and why."""

    action: Literal["created", "updated", "reverted", "superseded", "deleted"]
    actor: str
    reason: str | None = None
    retired_at: datetime | None = None


class MemoryPage(Model):
    """In order of arrival."""

    memories: list[Memory]
    next_cursor: str | None = None


class HistoryPage(Model):
    """Newest first."""

    revisions: list[Revision]
    next_cursor: str | None = None
