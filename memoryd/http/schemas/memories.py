"""Bodies of writing, reading and changing memories."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Discriminator, Field, JsonValue, Tag, model_validator

from memoryd.http.fields import (
    Confidence,
    Identifier,
    Metadata,
    Name,
    Reason,
    Text,
    Time,
    Topic,
    Whole,
)
from memoryd.http.schemas.common import Body, Source, SourceOut
from memoryd.memory.model import Change, Kind, Outcome

MAX_BATCH = 1_000


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
