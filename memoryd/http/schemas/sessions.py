"""Bodies of working memory."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, JsonValue, StrictBool, StringConstraints, model_validator

from memoryd.http.fields import Identifier, Metadata, Name, Time, Whole
from memoryd.http.schemas.common import Body
from memoryd.sessions.model import AutoCommit, Role
from memoryd.sessions.ports import LEAST_IDLE_S

MAX_APPEND = 500
MAX_TTL_S = 30 * 86_400


def _printable(value: str) -> str:
    if not value.isprintable() or "/" in value or not value.strip(". "):
        raise ValueError("must be printable, without a slash, and not only dots or spaces")
    return value


def sound(value: JsonValue) -> JsonValue:
    """JSON that every store and client can hold: no lone surrogates, no NUL, at most 32 levels."""
    if isinstance(value, str) and value.isascii() and "\0" not in value:
        return value  # what nearly all are
    level: list[JsonValue] = [value]
    for _ in range(32):
        inner: list[JsonValue] = []
        for one in level:
            if isinstance(one, dict):
                inner += [*one.keys(), *one.values()]
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, str) and ("\0" in one or not _encodable(one)):
                raise ValueError("must be valid Unicode, without NUL")
            elif isinstance(one, float) and one - one != 0:
                raise ValueError("numbers must be finite")
        level = inner
        if not level:
            return value
    raise ValueError("is nested deeper than 32 levels")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


Key = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable)]
Json = Annotated[JsonValue, AfterValidator(sound)]
Short = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable)]
# Refused at the first part that is wrong: each would be an error, and there may be millions.
_Parts = Annotated[list[dict[str, JsonValue]], Field(fail_fast=True)]
Step = Annotated[Whole, Field(ge=0, le=2**53 - 1)]
Ttl = Annotated[Whole, Field(ge=10, le=MAX_TTL_S, description="Seconds; each use of the session begins them anew")]


class ToolCall(Body):
    """A call that the assistant makes. `arguments` as the model wrote them, or as JSON."""

    id: Identifier
    name: Identifier
    arguments: Json = None


class SessionMessageIn(Body):
    """One message. `id` is the caller's own: the same id is never appended twice."""

    role: Role
    content: Annotated[str | _Parts | None, AfterValidator(sound)] = Field(
        None, description='Text, or structured parts such as `{"type": "text", "text": "…"}`'
    )
    name: Short | None = None
    agent_id: Short | None = Field(None, description="The agent that says it, in a session that several share")
    tool_calls: list[ToolCall] = Field(default_factory=list, max_length=64)
    tool_call_id: Identifier | None = Field(None, description="The call that a tool's message answers")
    event_time: Time | None = None
    metadata: Metadata = Field(default_factory=dict)
    id: Short | None = None
    pinned: StrictBool = Field(False, description="Shown in every context, whatever falls out of the window")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        silent = self.role is Role.TOOL and self.content == ""  # a tool that has nothing to say still answers its call
        if not self.content and not self.tool_calls and not silent:
            raise ValueError("content: must not be empty, but for tool_calls and a tool's text")
        if self.tool_calls and self.role is not Role.ASSISTANT:
            raise ValueError("tool_calls: only an assistant's message makes calls")
        if (self.tool_call_id is not None) != (self.role is Role.TOOL):
            raise ValueError("tool_call_id: a tool's message, and no other, names the call that it answers")
        return self


class AppendIn(Body):
    """Messages, all or none. The other fields are for a session that is new: later they are ignored, but for `space`, and for
    `user_id` with the first messages."""

    messages: list[SessionMessageIn] = Field(min_length=1, max_length=MAX_APPEND)
    space: Name | None = Field(None, description="Where a commit goes; `default` for a new session")
    user_id: Short | None = None
    agent_id: Short | None = Field(None, description="For messages without their own")
    ttl_s: Ttl | None = None


class RestoredOut(BaseModel):
    """The snapshot that the session was read back from, because Redis did not have it."""

    snapshot_id: UUID
    taken_at: datetime
    restored_at: datetime
    skipped: list[UUID] = Field(description="Newer snapshots that could not be read")
    lost: bool = Field(description="What was written after `taken_at` is gone; if false, the session had expired, and is whole")


class PlacedOut(BaseModel):
    """Where a message is."""

    position: int
    id: str | None = None
    status: Literal["created", "duplicate"]


class AppendOut(BaseModel):
    """In the order sent. `head` is the highest position that the session gave out."""

    results: list[PlacedOut]
    head: int
    restored_from: RestoredOut | None = None


class SessionMessageOut(BaseModel):
    """A message as it was sent, with its position."""

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


class SessionMessagePage(BaseModel):
    """Visible messages in order. `next_after` goes into `after`, for what comes next; it is null when this is all."""

    messages: list[SessionMessageOut]
    head: int
    next_after: int | None = None
    restored_from: RestoredOut | None = None


class SessionOut(BaseModel):
    """A session as it stands."""

    id: str
    space: str
    user_id: str | None = None
    agents: list[str]
    head: int
    messages: int = Field(description="All that it holds, those set aside included")
    bytes: int
    state_bytes: int
    visible: list[tuple[int, int | None]] = Field(description="Ranges of positions that are not set aside; the last is open")
    committed: list[tuple[int, int | None]]
    ttl_s: int
    auto_commit: AutoCommit | None = Field(None, description="Null: the tenant's setting")
    created_at: datetime
    expires_at: datetime
    restored_from: RestoredOut | None = None


class SessionPageOut(BaseModel):
    """Sessions, newest first."""

    sessions: list[SessionOut]
    next_cursor: str | None = None


class SessionPatch(Body):
    """What to change; `auto_commit: null` leaves it to the tenant's setting."""

    ttl_s: Ttl | None = None
    auto_commit: AutoCommit | None = None


class ValueIn(Body):
    """Any JSON."""

    value: Json


class EntryOut(BaseModel):
    """One key. `version` goes into `If-Match`."""

    key: str
    version: int
    value: JsonValue


class StateOut(BaseModel):
    """The whole state, by key."""

    entries: list[EntryOut]


class WrittenStateOut(BaseModel):
    """The new version of a key."""

    key: str
    version: int


class EffectOut(BaseModel):
    """A step's recorded result. `created` is false when an earlier write had won: `value` is then the earlier one's."""

    key: str
    value: JsonValue
    recorded_at: datetime
    recorded_by: str
    created: bool


class CheckpointIn(Body):
    """What to remember of this moment, beside messages and state."""

    step: Step | None = None
    label: Short | None = Field(None, description="Labelled checkpoints outlive unlabelled ones")
    metadata: Metadata = Field(default_factory=dict)


class CheckpointOut(BaseModel):
    """A moment that the session can be taken back to."""

    id: UUID
    position: int = Field(description="The session's head then")
    step: int | None = None
    label: str | None = None
    metadata: dict[str, JsonValue]
    automatic: bool = Field(description="Made by a restore, so that it can be undone")
    created_at: datetime
    created_by: str
    state: list[EntryOut] | None = Field(None, description="Only where one checkpoint is asked for")


class CheckpointsOut(BaseModel):
    """Oldest first."""

    checkpoints: list[CheckpointOut]


class RestoreIn(Body):
    """The checkpoint to go back to."""

    checkpoint_id: UUID


class RestoreOut(BaseModel):
    """What the restore did. Restoring `undo` takes it back."""

    checkpoint: CheckpointOut
    undo: UUID
    set_aside: int = Field(description="Messages that are not shown any more")
    next_position: int


class SnapshotOut(BaseModel):
    """A copy in object storage."""

    id: UUID
    taken_at: datetime
    reason: str
    head: int
    bytes: int


class SnapshotsOut(BaseModel):
    """Newest first."""

    snapshots: list[SnapshotOut]


class CommitIn(Body):
    """Whose messages go into long-term memory."""

    roles: list[Role] = Field(default_factory=lambda: [Role.USER, Role.ASSISTANT], min_length=1, max_length=4)


class CommitOut(BaseModel):
    """What the commit did. `passed_over`: messages without text, or of other roles."""

    created: int
    duplicates: int
    passed_over: int
    through: int = Field(description="The highest position that is committed")


class SessionSettings(Body):
    """What a tenant's sessions do unless they say otherwise."""

    auto_commit: AutoCommit = AutoCommit.OFF
    idle_s: Annotated[Whole, Field(ge=LEAST_IDLE_S, le=MAX_TTL_S)] = Field(900, description="Without a new message, for `idle`")


class SummaryLineOut(BaseModel):
    """One sentence of the summary, and where it comes from."""

    position: int
    speaker: str
    time: datetime
    text: str


class SummaryOut(BaseModel):
    """What fell out of the window."""

    text: str
    tokens: int
    written_by: Literal["extractive", "model"]
    covers: int = Field(description="Messages up to this position were read for it")
    lines: list[SummaryLineOut] = Field(description="Of the extractive summary")


class SessionContextOut(BaseModel):
    """What the model should see of the session. `used_tokens` is the count of `text`, and never exceeds the budget."""

    text: str
    messages: list[SessionMessageOut] = Field(description="Pinned ones first, then the window, in order")
    cut: list[int] = Field(
        description="Positions of messages of which `messages` and `text` have the beginning alone: what was said last is larger "
        "than the budget"
    )
    summary: SummaryOut | None = None
    used_tokens: int
    budget_tokens: int
    tokenizer: str
    head: int
    window_from: int | None = Field(None, description="The first position of the window")
    omitted: int = Field(description="Visible messages that are in neither window nor summary")
    degraded: list[str]
    restored_from: RestoredOut | None = None
