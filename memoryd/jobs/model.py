"""What a job is: one kind of work on many items, each with an outcome of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from retrieval.filters import JsonValue
from retrieval.scope import Action, Scope

MAX_ITEMS = 10_000
"""Most items of one job; a larger load is several jobs."""


class JobState(StrEnum):
    """``running`` lasts from its first turn to its end, also between turns and while it waits to try an item again."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Nothing happens any more, unless somebody asks for a retry."""
        return self not in {JobState.QUEUED, JobState.RUNNING, JobState.PAUSED}


class ItemState(StrEnum):
    """``unchanged``: there was nothing to do. Both it and ``succeeded`` are good ends."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Wish(StrEnum):
    """What a worker that holds a job is to do at the next checkpoint."""

    PAUSE = "pause"
    CANCEL = "cancel"


class Command(StrEnum):
    """What can be asked of a job."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something failed: a stable code, and words without content."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class NewItem:
    """``document_id`` names it for people; ``source`` is the handler's own, JSON."""

    document_id: str
    source: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be. ``space``: a key that is confined to spaces sees the jobs of these; ``None``: only keys that are not.
    ``payload`` is the handler's own, JSON, which may be added to later. Without items it is done when the handler's ``finished``
    is."""

    kind: str
    payload: Mapping[str, JsonValue]
    items: Sequence[NewItem]
    kb_id: UUID | None = None
    space: str | None = None


@dataclass(frozen=True, slots=True)
class Counters:
    """Of ``items``, how many ended how; and what they came to: chunks, tokens, bytes."""

    items: int
    succeeded: int = 0
    unchanged: int = 0
    failed: int = 0
    cancelled: int = 0
    chunks: int = 0
    tokens: int = 0
    size: int = 0

    @property
    def ended(self) -> int:
        """Items that are through, however they ended."""
        return self.succeeded + self.unchanged + self.failed + self.cancelled

    @property
    def left(self) -> int:
        """Items that are not."""
        return self.items - self.ended


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands. ``worked_s``: how long workers have held it, up to the last beat."""

    job_id: UUID
    revision: int
    kind: str
    kb_id: UUID | None
    space: str | None
    state: JobState
    wish: Wish | None
    payload: Mapping[str, JsonValue]
    counters: Counters
    error: Failure | None
    created_by: str
    actions: frozenset[Action]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    attempts: int
    not_before: datetime
    worked_s: float

    def per_second(self, number: int) -> float | None:
        """``number`` by the time that workers have held the job; ``None`` before there was any."""
        return number / self.worked_s if self.worked_s > 0 else None

    @property
    def eta_s(self) -> float | None:
        """Seconds of work that are left, if the other items take as long as those so far; waiting comes on top."""
        ended = self.counters.ended
        if self.state.final or not ended or self.worked_s <= 0:
            return None
        return (self.counters.items - ended) * self.worked_s / ended

    def scope(self, tenant_id: UUID) -> Scope:
        """What a worker may do for it: what its maker may, in its space only."""
        spaces = None if self.space is None else frozenset({self.space})
        return Scope(tenant_id, self.created_by, self.actions, spaces, request_id=str(self.job_id))


@dataclass(frozen=True, slots=True)
class JobItem:
    """One item as it stands. ``dead``: failed for having been tried as often as may be."""

    job_id: UUID
    item: int
    document_id: str
    source: Mapping[str, JsonValue]
    state: ItemState
    attempts: int
    not_before: datetime
    reason: str | None
    detail: str | None
    chunks: int
    tokens: int
    size: int
    pages: int | None
    started_at: datetime | None
    finished_at: datetime | None
    dead: bool

    @property
    def begun_before(self) -> bool:
        """Another attempt than this one, also one that counts as none, may have done something and not come to say so."""
        if self.started_at is None:
            return False
        return self.attempts > 1 or self.chunks > 0 or self.not_before > self.started_at


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an item ended: ``succeeded``, ``unchanged`` or ``failed``. ``chunks``, ``tokens`` and ``size`` (bytes) are the item's
    whole, whatever its checkpoints counted. ``reason`` is a stable code, ``detail`` words for people."""

    state: ItemState
    reason: str | None = None
    detail: str | None = None
    chunks: int = 0
    tokens: int = 0
    size: int = 0
    pages: int | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """The item, or the finishing, goes back to be tried again. ``counted`` false: it was interrupted, that was no attempt.
    ``untouched``: nor did any attempt before do anything, and the item is as if it had never begun."""

    not_before: datetime
    failure: Failure | None = None
    counted: bool = True
    untouched: bool = False


@dataclass(frozen=True, slots=True)
class Dead:
    """The item was tried as often as may be."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Claim:
    """A turn at a job: nobody else writes to it while ``owner`` is on its row."""

    job: Job
    scope: Scope
    owner: UUID
    lease: timedelta


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead item, and the job it is of."""

    kind: str
    kb_id: UUID | None
    item: JobItem


@dataclass(frozen=True, slots=True)
class Busy:
    """There is nothing to begin before an item that is under way has ended; a wish is granted when all of them have."""


@dataclass(frozen=True, slots=True)
class Waits:
    """There is nothing to do before ``until``; the job was let go."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Through:
    """Every item has ended; ``job`` has the counters."""

    job: Job


@dataclass(frozen=True, slots=True)
class Settled:
    """A wish was granted: the job is paused or cancelled, and was let go."""

    state: JobState
