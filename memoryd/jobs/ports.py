"""What jobs need of a store and of a courier, and what one kind of job has to bring."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from memoryd.errors import Conflict
from memoryd.jobs.model import (
    Again,
    Busy,
    Claim,
    Command,
    Dead,
    DeadLetter,
    Failure,
    ItemState,
    Job,
    JobItem,
    JobState,
    NewJob,
    Outcome,
    Settled,
    Through,
    Waits,
    Wish,
)
from memoryd.memory.model import Idempotency
from retrieval.scope import Scope


class Ledger(Protocol):
    """The jobs of a tenant, for its callers. A job of another space than the key's is as if it were not there."""

    async def add(self, scope: Scope, job_id: UUID, new: NewJob, now: datetime, once: Idempotency | None) -> UUID:
        """Store a job with its items; its id, or that of the job which an earlier request with this key made."""

    async def job(self, scope: Scope, job_id: UUID) -> Job:
        """Raises ``NotFound``."""

    async def page(
        self, scope: Scope, *, state: JobState | None, kb_id: UUID | None, before: UUID | None, limit: int
    ) -> list[Job]:
        """Newest first, those that were made before ``before``."""

    async def items(self, scope: Scope, job_id: UUID, *, state: ItemState | None, after: int, limit: int) -> list[JobItem]:
        """In order, those with a number above ``after``. Raises ``NotFound``."""

    async def act(self, scope: Scope, job_id: UUID, command: Command, now: datetime, once: Idempotency | None) -> Job:
        """The job afterwards. Raises ``NotFound``, and ``WrongState`` where its state does not allow it."""

    async def dead(self, scope: Scope, *, after: tuple[UUID, int] | None, limit: int) -> list[DeadLetter]:
        """By job and item, those after ``after``."""

    async def replay(
        self, scope: Scope, job_id: UUID, items: Sequence[int] | None, now: datetime, once: Idempotency | None
    ) -> int:
        """Queue dead items of a job again (``None``: all of them); how many. Raises ``NotFound``, ``WrongState``."""


class Desk(Protocol):
    """The same rows, for a worker. Whoever lost the job to another learns it by ``LeaseLost``, and has written nothing."""

    async def claim(self, tenant_id: UUID, kinds: Sequence[str], now: datetime, *, lease: timedelta, limit: int) -> Claim | None:
        """Take the tenant's job whose turn is longest ago, unless ``limit`` of its jobs are held already.

        What a worker that died left running is queued again, or dead when it was tried as often as may be.
        """

    async def next(self, claim: Claim, now: datetime) -> JobItem | Busy | Waits | Through | Settled:
        """Begin the next item that is due; or say what there is instead. Raises ``LeaseLost``."""

    async def progress(self, claim: Claim, item: int | None, *, chunks: int, tokens: int, now: datetime) -> Wish | None:
        """Renew the lease, and add to the counters of an item and of the job. Raises ``LeaseLost``."""

    async def settle(self, claim: Claim, item: int, verdict: Outcome | Again | Dead, now: datetime) -> None:
        """An item's end, or its return into the queue. Raises ``LeaseLost``."""

    async def settle_and_next(self, claim: Claim, item: int, verdict: Outcome | Dead, now: datetime) -> JobItem | None:
        """An item's end, and the beginning of the next that is due and was never tried; ``None``: :meth:`next` knows why there is
        none. Raises ``LeaseLost``."""

    async def finish(self, claim: Claim, verdict: Failure | Again | None, now: datetime) -> Job:
        """The job's end, by its counters; or a later attempt. Items that were queued meanwhile keep it open.

        Raises ``LeaseLost``.
        """

    async def let_go(self, claim: Claim, now: datetime) -> None:
        """The turn is over and the job is not. Items that were begun and not settled are queued again, and that was no attempt.

        Losing it to another is no error.
        """

    async def may_stay(self, claim: Claim, under_way: int, now: datetime) -> bool:
        """A turn that would end may go on: no other job of the tenant waits, the tenant is not suspended, and of the job no more
        items are begun than the ``under_way`` of this turn, so that none waits for its end.
        """


class Waiting(Protocol):
    """What the sweeper looks at."""

    async def waiting(self, tenant_id: UUID, now: datetime) -> UUID | None:
        """A job that could go on and that nobody holds, the one whose turn is longest ago."""

    async def forget(self, tenant_id: UUID, before: datetime) -> int:
        """Delete jobs that ended before ``before``, a batch; how many."""


class Courier(Protocol):
    """Carries reminders to the workers. What it loses is found by the sweeper."""

    async def enqueue(self, tenant_id: UUID, job_id: UUID, delay_s: float = 0.0) -> bool:
        """Remind a worker of a job; false when that was not possible. Raises nothing for a courier that is down."""

    async def reachable(self) -> bool:
        """Whether it carries anything at present."""


class Control(Protocol):
    """How a handler stays in touch while it works on one item."""

    async def checkpoint(self, *, chunks: int = 0, tokens: int = 0) -> None:
        """What was stored up to here stays: say how much since the last time, between batches; less than nothing where what an
        earlier attempt told of is gone.

        Renews the lease. Raises ``Paused``, ``Cancelled``, ``Yielded`` or ``LeaseLost``, which a handler lets through.
        """

    async def waits(self) -> None:
        """A sign of life of an item that cannot go on before another has ended, of its job or of another. Raises as
        :meth:`checkpoint`."""

    def waited(self, seconds: float) -> None:
        """It goes on after so long, which is no part of its share of the slot. Raises ``Yielded``."""


class ItemHandler(Protocol):
    """One kind of job. Both methods may be interrupted anywhere and called again for the same item: they go on from what they
    stored. Several items of a job may be worked on at the same time. An error that is ``retryable``, or a timeout, is tried
    again; any other ends the item, and the next has its turn."""

    async def process(self, scope: Scope, job: Job, item: JobItem, control: Control) -> Outcome:
        """Do one item."""

    async def finished(self, scope: Scope, job: Job) -> None:
        """Every item is through and at least one of them well (or there is none). After a retry it is called again.

        Raises ``NotYet`` where other jobs have to come first.
        """


class NotYet(Conflict):
    """An item, or a job that is through but for its finishing, waits for other jobs, as often as it takes: that is no attempt."""

    code, title = "others_write", "Others write"
    retryable = True
    retry_after_s = 2.0


class Stopped(Exception):
    """The handler is to stop here; what it stored stays."""


class Paused(Stopped):
    """Somebody paused the job."""


class Cancelled(Stopped):
    """Somebody cancelled the job."""


class Yielded(Stopped):
    """Other tenants wait for the slot, and this item has had its share of it; it goes on in a later turn."""


class LeaseLost(Stopped):
    """The job belongs to another worker now, or is gone."""
