"""What the memory use cases need of a store: units of work that write, and reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from memoryd.memory.model import Change, Content, Idempotency, Passage, Prepared, Revision, Written
from retrieval.filters import Filters, JsonValue
from retrieval.scope import Scope

Receipt = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class NewRevision:
    """A revision to append. With ``passages`` ``None`` nothing of it can be found (a deletion).

    ``keep_vectors``: the embedded text is unchanged, so the head's vectors are copied.
    """

    content: Content
    action: Change
    reason: str | None
    passages: tuple[Passage, ...] | None
    keep_vectors: bool
    superseded_by: UUID | None = None
    identity: bytes | None = None


class Unit(Protocol):
    """One transaction: rows, vectors, BM25 statistics, audit entry and idempotency receipt commit together."""

    @property
    def replay(self) -> Receipt | None:
        """The receipt of an earlier request with the same Idempotency-Key, else ``None``."""

    async def insert(self, memories: Sequence[Prepared]) -> list[Written]:
        """Insert what is new; in the order given."""

    async def lock(self, memory_id: UUID) -> Revision | None:
        """The head revision of a memory, deleted ones included, locked until the unit ends."""

    async def lock_all(self, memory_ids: Collection[UUID]) -> dict[UUID, Revision]:
        """As :meth:`lock`, for many at once and in one order for all writers; what there is not is missing."""

    async def revise(self, head: Revision, new: NewRevision) -> Revision:
        """Retire ``head`` and append; the new head. Raises ``Conflict`` when its identity is taken."""

    async def purge(self, memory_id: UUID) -> int:
        """Erase the memory, its revisions, passages, postings and vectors; how many revisions went."""

    async def audit(self, action: str, memory_ids: Sequence[UUID], detail: Receipt) -> None:
        """Append to the audit log; ``detail`` holds no content."""

    async def receipt(self, receipt: Receipt) -> None:
        """Keep what a repeated request is answered with."""


class Units(Protocol):
    """Begins units of work."""

    def begin(self, scope: Scope, idempotency: Idempotency | None) -> AbstractAsyncContextManager[Unit]:
        """Commits on a clean exit. Raises ``IdempotencyKeyReused``, ``StoreUnavailable``."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, and the position after it (``None``: the end)."""

    revisions: tuple[Revision, ...]
    next_seq: int | None


@dataclass(frozen=True, slots=True)
class Moment:
    """When to look: at what was true in the world at ``as_of``, as far as we knew at ``known_at``. ``None``: now."""

    as_of: datetime | None = None
    known_at: datetime | None = None


NOW = Moment()


class MemoryReader(Protocol):
    """Reads without a recall."""

    async def get(self, scope: Scope, memory_id: UUID, at: Moment = NOW) -> Revision | None:
        """The head of a memory that is not deleted; or the revision of another moment."""

    async def get_many(self, scope: Scope, memory_ids: Sequence[UUID], at: Moment = NOW) -> dict[UUID, Revision]:
        """As :meth:`get`, for many at once; what there is not is missing."""

    async def history(self, scope: Scope, memory_id: UUID, *, before: int | None, limit: int, at: Moment = NOW) -> list[Revision]:
        """Revisions, newest first; also of a deleted memory."""

    async def page(self, scope: Scope, spaces: Sequence[UUID], filters: Filters, *, after: int | None, limit: int) -> Page:
        """Memories in arrival order."""

    async def known(self, scope: Scope, identities: Sequence[tuple[UUID, bytes]]) -> dict[tuple[UUID, bytes], UUID]:
        """Which of these (space, identity) pairs exist already."""

    async def earlier_receipt(self, scope: Scope, idempotency: Idempotency) -> Receipt | None:
        """The committed receipt of this key, without opening a unit. Raises ``IdempotencyKeyReused``."""

    async def neighbours(self, scope: Scope, turn: Revision, *, before: int, after: int, at: Moment = NOW) -> list[Revision]:
        """Turns of the same space, session and user around a turn (itself excluded) as they are, or were ``at`` a time."""


class Clock(Protocol):
    """The time, so that a test can set it."""

    def now(self) -> datetime:
        """The present, in UTC."""
