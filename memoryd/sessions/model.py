"""What the session use cases speak about."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from memoryd.sessions.ranges import Ranges
from retrieval.filters import JsonValue


class Role(StrEnum):
    """Who speaks, in the field's terms."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


class AutoCommit(StrEnum):
    """When the worker promotes a session to long-term memory without being asked."""

    OFF = "off"
    EXPIRY = "expiry"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a session may hold. Bytes are of UTF-8 JSON as stored.

    ``checkpoints`` and their bytes bound what is kept: the oldest go. Everything else is refused beyond its limit.
    """

    message_bytes: int
    messages: int
    session_bytes: int
    value_bytes: int
    state_bytes: int
    checkpoints: int
    ttl_s: int
    state_keys: int = 10_000
    agents: int = 256

    @property
    def checkpoint_bytes(self) -> int:
        """Of all checkpoints with their copies of the state."""
        return 2 * (self.session_bytes + self.state_bytes)


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to append. ``payload`` is its JSON, kept verbatim; ``client_id`` is the caller's own id."""

    client_id: str | None
    agent_id: str | None
    pinned: bool
    payload: str


@dataclass(frozen=True, slots=True)
class Birth:
    """What a session is made with by the first write to it; ignored later, but for a ``space`` that must then agree."""

    space: str | None = None
    user_id: str | None = None
    agent_id: str | None = None
    ttl_s: int | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a message went; ``created`` is false for one that was there already."""

    position: int
    created: bool


@dataclass(frozen=True, slots=True)
class Appended:
    """The answer to an append."""

    head: int
    placed: tuple[Placed, ...]
    restored_from: "Restored | None"


@dataclass(frozen=True, slots=True)
class Stored:
    """A message with its position. ``payload`` as it was sent, with ``recorded_at``."""

    position: int
    payload: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Restored:
    """The snapshot a session was read back from, because Redis did not have it. ``lost``: what was written after it is gone;
    else the session had expired, and it is the last word."""

    snapshot_id: UUID
    taken_at: datetime
    restored_at: datetime
    skipped: tuple[UUID, ...] = ()
    lost: bool = True


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it stands. ``head`` is the highest position given out, ``visible`` what is not set aside.

    ``restores``: how often it went back to a checkpoint; what was visible to a reader before may not be any more.
    """

    session_id: str
    incarnation: str
    space: str
    user_id: str | None
    agents: tuple[str, ...]
    ttl_s: int
    created_at: datetime
    written_at: datetime
    touched_at: datetime
    expires_at: datetime
    head: int
    messages: int
    size: int
    state_size: int
    visible: Ranges
    committed: Ranges
    revision: int
    auto_commit: AutoCommit | None
    restored_from: Restored | None
    restores: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Visible messages in order. ``more``: there are others beyond."""

    session: Session
    messages: tuple[Stored, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of the state. Versions grow over the whole session and are never given out twice."""

    key: str
    version: int
    value: JsonValue


@dataclass(frozen=True, slots=True)
class Expected:
    """A condition on a write. ``version``: it must be this one; ``absent``: there must be none; ``present``: one, whichever."""

    version: int | None = None
    absent: bool = False
    present: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointWish:
    """A checkpoint to make; ``automatic`` are those that a restore makes first."""

    step: int | None
    label: str | None
    metadata: Mapping[str, JsonValue]
    automatic: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A session at one moment. ``state`` only where it was asked for."""

    checkpoint_id: UUID
    head: int
    visible: Ranges
    state_version: int
    created_at: datetime
    created_by: str
    step: int | None
    label: str | None
    metadata: Mapping[str, JsonValue]
    automatic: bool
    state: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoredCheckpoint:
    """What a restore did. ``undo`` is the checkpoint of what was, made just before."""

    checkpoint: Checkpoint
    undo: UUID
    set_aside: int
    first_position: int


@dataclass(frozen=True, slots=True)
class Effect:
    """A step's recorded result. ``created`` is false when an earlier write had won."""

    key: str
    value: JsonValue
    recorded_at: datetime
    recorded_by: str
    created: bool


def moment(milliseconds: int) -> datetime:
    """UTC, from milliseconds since 1970."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def milliseconds(at: datetime) -> int:
    """Since 1970."""
    return round(at.timestamp() * 1000)
