"""What the session use cases need of stores. The scope comes first, always; a session in a space outside it is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from memoryd.errors import Conflict, NotFound
from memoryd.memory.model import Draft, Idempotency, Written
from memoryd.sessions.model import (
    Appended,
    AutoCommit,
    Birth,
    Checkpoint,
    CheckpointWish,
    Effect,
    Entry,
    Expected,
    NewMessage,
    Page,
    Restored,
    RestoredCheckpoint,
    Session,
    Stored,
)
from memoryd.sessions.ranges import Ranges
from retrieval.scope import Scope


class SessionGone(NotFound):
    """Redis does not have the session; a snapshot may."""


class OtherSpace(Conflict):
    """The session is in another space than the call says."""


class Changed(Conflict):
    """The session is not any more what it was when it was read."""

    retryable = True
    retry_after_s = 1.0


@dataclass(frozen=True, slots=True)
class Target:
    """A session that a call is about. It is made where ``incarnation`` is set and it is not there.

    ``birth.space`` without ``incarnation`` is a condition: the session must be in that space.
    """

    session_id: str
    now: datetime
    idempotency: Idempotency | None = None
    birth: Birth = field(default_factory=Birth)
    incarnation: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """The newest messages of a session, all pinned ones in order, and the stored summary. ``size``: bytes of all of it."""

    page: Page
    pinned: tuple[Stored, ...]
    summary: str | None
    size: int


class MessageStore(Protocol):
    """Messages in one total order. Everything raises ``SessionGone``, ``NotFound``, ``WorkingMemoryUnavailable``."""

    async def append(self, scope: Scope, target: Target, messages: Sequence[NewMessage]) -> Appended:
        """All or none, atomically. Raises ``PayloadTooLarge``, ``IdempotencyKeyReused``."""

    async def known(self, scope: Scope, target: Target, positions: Sequence[int]) -> Appended:
        """The answer to an append of what is there already, kept under its key. Raises ``Changed`` where a restore came between,
        ``IdempotencyKeyReused``."""

    async def read(
        self, scope: Scope, target: Target, *, after: int, before: int | None, limit: int, newest: bool, renew: bool
    ) -> Page:
        """Visible messages with ``after < position < before``, in order: the first of them, or the newest."""

    async def positions(self, scope: Scope, target: Target, ids: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
        """Of callers' own ids, those that there are, and every position that each was given: one at most is visible."""

    async def end(self, scope: Scope, target: Target, *, limit: int, size: int) -> End:
        """What a context begins with, in one round trip; renews the session.

        At most ``limit`` of the newest messages, and no more than ``size`` bytes of them unless the newest alone is larger.
        """

    async def configure(self, scope: Scope, target: Target, *, ttl_s: int | None, auto: AutoCommit | None, clear: bool) -> None:
        """Change a session's settings; ``clear`` returns ``auto`` to the tenant's."""


class StateStore(Protocol):
    """Versioned keys. Raises as :class:`MessageStore`."""

    async def put(self, scope: Scope, target: Target, key: str, value: str, expected: Expected) -> tuple[int, bool]:
        """Set to JSON ``value``: the new version, and whether it was made. Raises ``VersionConflict``, ``PayloadTooLarge``."""

    async def get(self, scope: Scope, target: Target, key: str | None) -> list[Entry]:
        """One key (empty when there is none), or all by name."""

    async def delete(self, scope: Scope, target: Target, key: str, version: int | None) -> None:
        """Raises ``VersionConflict``; ``NotFound`` when there is no such key."""


class EffectStore(Protocol):
    """Recorded results of steps. Raises as :class:`MessageStore`."""

    async def record(self, scope: Scope, target: Target, key: str, value: str) -> Effect:
        """The first write wins; a later one gets what the first wrote. Raises ``PayloadTooLarge``."""

    async def recorded(self, scope: Scope, target: Target, key: str) -> Effect | None:
        """What was written, or ``None``."""


class CheckpointStore(Protocol):
    """Checkpoints. Raises as :class:`MessageStore`."""

    async def make(self, scope: Scope, target: Target, wish: CheckpointWish) -> Checkpoint:
        """Atomic over messages and state."""

    async def every(self, scope: Scope, target: Target) -> list[Checkpoint]:
        """Oldest first, without their states."""

    async def get(self, scope: Scope, target: Target, checkpoint_id: UUID) -> Checkpoint | None:
        """With its state."""

    async def restore(self, scope: Scope, target: Target, checkpoint_id: UUID) -> RestoredCheckpoint | None:
        """Set aside what came after, take the state back; a checkpoint of what was is made first."""


@dataclass(frozen=True, slots=True)
class Part:
    """One key of a session as it is stored: its name, its type, its strings."""

    name: str
    kind: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """A whole session, read atomically."""

    session: Session
    read_at: datetime
    parts: tuple[Part, ...]

    @property
    def hollow(self) -> bool:
        """Whether its messages are gone: of a session's keys, a Redis that evicts may take any."""
        return self.session.messages > 0 and not any(part.name == "messages" for part in self.parts)


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Sessions, newest first, and where the next page begins."""

    sessions: tuple[Session, ...]
    next_cursor: str | None


class LifeStore(Protocol):
    """Sessions as wholes."""

    async def image(self, scope: Scope, target: Target) -> Image:
        """Everything of a session. Raises ``SessionGone``, ``NotFound``."""

    async def load(self, scope: Scope, target: Target, parts: Sequence[Part], origin: Restored) -> bool:
        """Put a session back; ``False`` when it is there. Raises ``SessionGone`` when it was deleted in the last hour."""

    async def settle(self, scope: Scope, image: Image) -> bool:
        """Note that a snapshot of ``image`` was stored; ``False`` when the session is gone."""

    async def evict(self, scope: Scope, session: Session, *, now: datetime, only_due: bool, buried: bool = False) -> None:
        """Remove every key; ``buried``: and :meth:`bury` it at once. Raises ``Changed`` unless it is still at this revision (and
        due); ``SessionGone``."""

    async def bury(self, scope: Scope, session_id: str) -> None:
        """From now on it is not put back, until a session of that name is made anew."""

    async def page(
        self, scope: Scope, *, user_id: str | None, agent_id: str | None, cursor: str | None, limit: int
    ) -> SessionPage:
        """The sessions that Redis has, of a user or an agent."""

    async def present(self, scope: Scope, session_ids: Sequence[str]) -> frozenset[str]:
        """Those of them that Redis has."""

    async def waiting(self, scope: Scope, name: str, before: datetime, limit: int) -> Sequence[str]:
        """Ids in a work list since before that time, oldest first: ``due``, ``dirty``, ``uncommitted``, ``unsummarised``."""

    async def postpone(self, scope: Scope, session_id: str, name: str, until: datetime) -> None:
        """Where it is in that work list, it is there since ``until`` now, unless it is since later."""

    async def reconsider(self, scope: Scope) -> None:
        """All that are in ``uncommitted`` are there since ever: what a tenant's sessions do has changed."""

    async def forget(self, scope: Scope, target: Target) -> None:
        """Take an id out of all work lists. Raises ``Changed`` when it has a session, or what is left of one."""


class ProgressStore(Protocol):
    """What the worker writes back: none of it renews the session."""

    async def commit(self, scope: Scope, target: Target, session: Session, committed: Ranges) -> bool:
        """Note what went into long-term memory; ``False`` when somebody else did meanwhile. Where that is what ``session`` has
        already, nothing is left, and it leaves the list of those to commit."""

    async def summary(self, scope: Scope, target: Target) -> str | None:
        """The stored summary, as JSON."""

    async def summarise(self, scope: Scope, target: Target, session: Session, text: str, *, last: bool) -> bool:
        """Store a summary of what was visible; ``False`` when that has changed. ``last``: no whole block is left."""


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """Where a snapshot is. ``final``: the session left Redis with nothing newer than it.

    ``leaps``: positions up to ``head + leaps × the most messages of a session`` may have been given out since.
    """

    snapshot_id: UUID
    session_id: str
    space: str
    object_key: str
    revision: int
    head: int
    size: int
    taken_at: datetime
    reason: str
    final: bool = False
    leaps: int = 0


LEAST_IDLE_S = 10


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """What a tenant's sessions do unless they say otherwise. ``idle_s`` is at least ``LEAST_IDLE_S``."""

    auto_commit: AutoCommit = AutoCommit.OFF
    idle_s: int = 900


class SessionRecords(Protocol):
    """What must outlive Redis, in PostgreSQL. Raises ``StoreUnavailable``."""

    async def add(self, scope: Scope, record: SnapshotRecord) -> None: ...
    async def snapshots(self, scope: Scope, session_id: str, limit: int) -> list[SnapshotRecord]:
        """Newest first."""

    async def remove(self, scope: Scope, snapshots: Sequence[UUID]) -> None: ...
    async def finish(self, scope: Scope, snapshot_id: UUID) -> None:
        """Mark as final, unless the session was read back from it already."""

    async def end(self, scope: Scope, session_id: str) -> None:
        """Mark all of a session as final: it was deleted."""

    async def restored(self, scope: Scope, snapshot_id: UUID, leaps: int) -> None:
        """Note that it was read back: it is final no more, and has at least so many ``leaps``."""

    async def outdated(self, scope: Scope, before: datetime, limit: int, *, skip: int) -> list[SnapshotRecord]:
        """Taken before that time, oldest first, without the ``skip`` oldest."""

    async def unfinished(self, scope: Scope, after: str, limit: int) -> list[str]:
        """Sessions above that name, in order, whose newest snapshot is not final: Redis has them, or has lost them."""

    async def settings(self, scope: Scope) -> TenantSettings: ...
    async def configure(self, scope: Scope, settings: TenantSettings) -> None: ...


class Objects(Protocol):
    """Bytes by key, in object storage. Raises ``StoreUnavailable``."""

    async def put(self, key: str, data: bytes) -> None: ...
    async def get(self, key: str) -> bytes | None:
        """``None`` when there is no such object."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Those that are not there are gone already."""

    async def clear(self, prefix: str) -> None:
        """Delete whatever is below ``prefix``, which ends with a slash."""


class Remembering(Protocol):
    """The use case that writes long-term memory."""

    async def __call__(self, scope: Scope, drafts: Sequence[Draft], idempotency: Idempotency | None) -> list[Written]: ...


class SummaryWriter(Protocol):
    """A language model that writes summaries. Raises ``ChatRefused`` for this text, ``ServiceError`` where it would for any."""

    async def write(self, earlier: str, turns: Sequence[Mapping[str, str]], *, tokens: int) -> str: ...
