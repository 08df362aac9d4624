"""What the service answers about sessions."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field, JsonValue

from memoryd.client.models import Model

Role = Literal["user", "assistant", "system", "tool"]
AutoCommit = Literal["off", "expiry", "idle"]


class RestoredFrom(Model):
    """The snapshot that a session was read back from."""

    snapshot_id: UUID
    taken_at: datetime
    restored_at: datetime
    skipped: list[UUID]


class Placed(Model):
    """Where a message is."""

    position: int
    id: str | None = None
    status: Literal["created", "duplicate"]


class Appended(Model):
    """In the order sent; ``head`` is the highest position that the session gave out."""

    results: list[Placed]
    head: int
    restored_from: RestoredFrom | None = None


class SessionMessage(Model):
    """A message with its position."""

    position: int
    id: str | None = None
    role: Role
    content: str | list[dict[str, JsonValue]] | None = None
    name: str | None = None
    agent_id: str | None = None
    tool_calls: list[dict[str, JsonValue]] = Field(default_factory=list)
    tool_call_id: str | None = None
    event_time: datetime | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    pinned: bool = False
    recorded_at: datetime


class SessionMessagePage(Model):
    """In order; ``next_after`` is where the next page begins."""

    messages: list[SessionMessage]
    head: int
    next_after: int | None = None
    restored_from: RestoredFrom | None = None


class Session(Model):
    """A session as it stands. ``visible`` and ``committed``: ranges of positions; an open one has no end."""

    id: str
    space: str
    user_id: str | None = None
    agents: list[str]
    head: int
    messages: int
    bytes: int
    state_bytes: int
    visible: list[tuple[int, int | None]]
    committed: list[tuple[int, int | None]]
    ttl_s: int
    auto_commit: AutoCommit | None = None
    created_at: datetime
    expires_at: datetime
    restored_from: RestoredFrom | None = None


class SessionPage(Model):
    """Newest first."""

    sessions: list[Session]
    next_cursor: str | None = None


class Entry(Model):
    """One key of a session's state, with its version."""

    key: str
    version: int
    value: JsonValue


class State(Model):
    """The whole state, by key."""

    entries: list[Entry]


class WrittenState(Model):
    """The new version of a key."""

    key: str
    version: int


class Effect(Model):
    """A step's recorded result; ``created`` is false when an earlier write had won."""

    key: str
    value: JsonValue
    recorded_at: datetime
    recorded_by: str
    created: bool


class Checkpoint(Model):
    """A moment that a session can be taken back to. ``state`` only where one checkpoint is asked for."""

    id: UUID
    position: int
    step: int | None = None
    label: str | None = None
    metadata: dict[str, JsonValue]
    automatic: bool
    created_at: datetime
    created_by: str
    state: list[Entry] | None = None


class Checkpoints(Model):
    """Oldest first."""

    checkpoints: list[Checkpoint]


class Restored(Model):
    """What a restore did; restoring ``undo`` takes it back."""

    checkpoint: Checkpoint
    undo: UUID
    set_aside: int
    next_position: int


class Snapshot(Model):
    """A copy in object storage."""

    id: UUID
    taken_at: datetime
    reason: str
    head: int
    bytes: int


class Snapshots(Model):
    """Newest first."""

    snapshots: list[Snapshot]


class Committed(Model):
    """What a commit did. ``passed_over``: messages without text, or of other roles; ``through``: the highest position."""

    created: int
    duplicates: int
    passed_over: int
    through: int


class SummaryLine(Model):
    """One sentence of a summary, and where it comes from."""

    position: int
    speaker: str
    time: datetime
    text: str


class Summary(Model):
    """What fell out of the window."""

    text: str
    tokens: int
    written_by: Literal["extractive", "model"]
    covers: int
    lines: list[SummaryLine]


class SessionContext(Model):
    """What a model should see of a session. ``used_tokens`` is the count of ``text``, and never exceeds the budget."""

    text: str
    messages: list[SessionMessage]
    summary: Summary | None = None
    used_tokens: int
    budget_tokens: int
    tokenizer: str
    head: int
    window_from: int | None = None
    omitted: int
    degraded: list[str]
    restored_from: RestoredFrom | None = None


class Visible(Model):
    """Which positions of a session are shown since a restore."""

    head: int
    visible: list[tuple[int, int | None]]
