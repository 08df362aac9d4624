"""The use cases of jobs, for the API."""

from collections.abc import Sequence
from uuid import UUID

from memoryd.access.service import require
from memoryd.errors import InvalidRequest, SpaceNotFound
from memoryd.ids import uuid7
from memoryd.jobs.model import MAX_ITEMS, Command, DeadLetter, ItemState, Job, JobItem, JobState, NewJob
from memoryd.jobs.ports import Courier, Ledger
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Clock
from retrieval.scope import Action, Scope


class Jobs:
    """A job is made, looked at, and told what to do. It is durable when it is made, whether or not a worker hears of it."""

    def __init__(self, ledger: Ledger, courier: Courier, clock: Clock) -> None:
        self._ledger = ledger
        self._courier = courier
        self._clock = clock

    async def create(self, scope: Scope, new: NewJob, once: Idempotency | None = None) -> Job:
        """Queue a job; for a repeated request the one that the first made.

        It acts with the caller's actions, in its space only. Raises ``Forbidden``, ``SpaceNotFound`` for one that the key is
        not for, ``InvalidRequest`` for more than :data:`MAX_ITEMS` items.
        """
        require(scope, Action.WRITE)
        if len(new.items) > MAX_ITEMS:
            raise InvalidRequest(f"a job takes at most {MAX_ITEMS:,} items; make several")
        if scope.spaces is not None and (new.space is None or not scope.may_use(new.space)):
            raise SpaceNotFound(f"no space named {new.space!r}" if new.space else "a confined key needs a space")
        job_id = await self._ledger.add(scope, uuid7(), new, self._clock.now(), once)
        await self._courier.enqueue(scope.tenant_id, job_id)
        return await self._ledger.job(scope, job_id)

    async def get(self, scope: Scope, job_id: UUID) -> Job:
        """Raises ``NotFound``."""
        require(scope, Action.READ)
        return await self._ledger.job(scope, job_id)

    async def page(
        self, scope: Scope, *, state: JobState | None = None, kb_id: UUID | None = None, before: UUID | None = None, limit: int
    ) -> list[Job]:
        """Newest first."""
        require(scope, Action.READ)
        return await self._ledger.page(scope, state=state, kb_id=kb_id, before=before, limit=limit)

    async def items(
        self, scope: Scope, job_id: UUID, *, state: ItemState | None = None, after: int = -1, limit: int
    ) -> list[JobItem]:
        """Outcomes in the order of the items, without their sources. Raises ``NotFound``."""
        require(scope, Action.READ)
        return await self._ledger.items(scope, job_id, state=state, after=after, limit=limit)

    async def act(self, scope: Scope, job_id: UUID, command: Command, once: Idempotency | None = None) -> Job:
        """Cancel, pause, resume, or queue the failed items again. A job that a worker holds stops at its next checkpoint; until
        then ``wish`` says so. Raises ``NotFound``, ``WrongState``."""
        require(scope, Action.WRITE)
        require(scope, Action.READ)  # the answer is the whole job, which may be another key's
        job = await self._ledger.act(scope, job_id, command, self._clock.now(), once)
        if job.state is JobState.QUEUED:
            await self._courier.enqueue(scope.tenant_id, job_id)
        return job

    async def dead_letters(self, scope: Scope, *, after: tuple[UUID, int] | None = None, limit: int) -> list[DeadLetter]:
        """Items that were tried as often as may be, oldest job first."""
        require(scope, Action.READ)
        return await self._ledger.dead(scope, after=after, limit=limit)

    async def replay(
        self, scope: Scope, job_id: UUID, items: Sequence[int] | None = None, once: Idempotency | None = None
    ) -> int:
        """Queue dead items of a job again, all or these; how many. Raises ``NotFound``, ``WrongState``."""
        require(scope, Action.WRITE)
        require(scope, Action.READ)  # how many were dead is of a job that may be another key's
        replayed = await self._ledger.replay(scope, job_id, items, self._clock.now(), once)
        if replayed:
            await self._courier.enqueue(scope.tenant_id, job_id)
        return replayed
