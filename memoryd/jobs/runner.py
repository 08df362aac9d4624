"""One turn at a job: its items, a few at a time, until the slice is over, the job is, or somebody stops it."""

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from memoryd.errors import StoreUnavailable
from memoryd.jobs.control import Hold, ItemControl, Share
from memoryd.jobs.lanes import Lanes
from memoryd.jobs.model import Again, Busy, Claim, Dead, Failure, ItemState, Job, JobItem, Outcome, Settled, Through, Waits
from memoryd.jobs.ports import Cancelled, Courier, Desk, ItemHandler, LeaseLost, NotYet, Paused, Stopped, Yielded
from memoryd.jobs.retry import INTERNAL, Retries, failure_of
from memoryd.memory.ports import Clock
from memoryd.together import Company
from retrieval.errors import MemorydError

log = logging.getLogger(__name__)

# Between looks whether a store that was lost is back.
_AGAIN_S = 1.0
# Of a worker that is told to stop, for handing back what it holds.
_FAREWELL_S = 2.0


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """``slice_s``: after so long a turn ends with the items under way, if anything waits. ``lease``: so long after its last sign
    of life a worker counts as dead. ``per_tenant``: jobs of one tenant that are held at the same time, by all workers.
    ``stall_s``: an item, or a job's finishing, that comes to no checkpoint for so long is given up and tried again. ``at_once``:
    items of a job that are under way at the same time, while they are short."""

    retries: Retries
    slice_s: float
    lease: timedelta
    per_tenant: int
    stall_s: float
    at_once: int = 1


class Runner:
    """Works on jobs of the kinds that it has handlers of."""

    def __init__(
        self,
        desk: Desk,
        courier: Courier,
        handlers: Mapping[str, ItemHandler],
        clock: Clock,
        policy: RunPolicy,
        *,
        company: Company | None = None,
        passed: Callable[[], float] = time.monotonic,
    ) -> None:
        """``company`` is joined by every lane. ``passed``: seconds, by which turns and shares are measured."""
        self._desk = desk
        self._courier = courier
        self._handlers = handlers
        self._clock = clock
        self._policy = policy
        self._company = company or Company()
        self._passed = passed

    async def claim(self, tenant_id: UUID) -> Claim | None:
        """A turn at a job of this tenant, if there is one to be had."""
        policy = self._policy
        kinds = sorted(self._handlers)
        return await self._desk.claim(tenant_id, kinds, self._clock.now(), lease=policy.lease, limit=policy.per_tenant)

    async def work(self, claim: Claim, others_wait: Callable[[], bool] = lambda: True) -> None:
        """One slice, and another when neither another tenant waits (``others_wait``) nor another job of this one. Whatever it is
        interrupted by, the job can go on from where it is."""
        hold = Hold(self._desk, claim, self._clock, others_wait)
        async with hold.kept():
            try:
                try:
                    await self._slice(claim, hold)
                except MemorydError as error:
                    log.warning("a turn at job %s ended early: %s", claim.job.job_id, error.code)
                    await self._hand_back(claim, hold)
            except LeaseLost:
                log.warning("job %s belongs to another worker now", claim.job.job_id)
            except asyncio.CancelledError:
                await self._farewell(claim)
                raise

    async def _slice(self, claim: Claim, hold: Hold) -> None:
        clock, slice_s = self._passed, self._policy.slice_s
        end = clock() + slice_s
        lanes, begun = Lanes(self._policy.at_once), False

        def ended(seconds: float) -> bool:
            return lanes.ended(seconds) and clock() < end and not hold.yielded

        try:
            while True:
                if hold.yielded:
                    break
                if begun and clock() >= end:
                    # At the end of a slice the items under way run dry, and the next begins with one: not for nobody.
                    if hold.others_wait() or not await self._may_stay(claim, len(lanes)):
                        break
                    end = clock() + slice_s
                if lanes.room:
                    step = await self._desk.next(claim, self._clock.now())
                    if isinstance(step, JobItem):
                        # What was tried before may have been the end of a worker: it takes down nothing else.
                        await lanes.begin(self._lane(claim, step, hold, ended), alone=step.attempts > 1)
                        begun = True
                        continue
                    if not isinstance(step, Busy):
                        await self._pause(claim, step)
                        return
                    if not lanes:
                        break
                await lanes.one_ended()
            while lanes:
                await lanes.one_ended()
        finally:
            await lanes.stop()
        await self._desk.let_go(claim, self._clock.now())

    async def _hand_back(self, claim: Claim, hold: Hold) -> None:
        """What the store failed under is for another turn, and was no attempt: it is told so as soon as it answers again."""
        while not hold.lost:
            # Before the first time too: the next turn may end as this one did.
            await asyncio.sleep(_AGAIN_S)
            with suppress(StoreUnavailable):
                await self._desk.let_go(claim, self._clock.now())
                return

    async def _may_stay(self, claim: Claim, under_way: int) -> bool:
        try:
            return await self._desk.may_stay(claim, under_way, self._clock.now())
        except MemorydError as error:  # the turn ends as it would have, and nothing under way is lost
            log.info("whether job %s may go on could not be seen: %s", claim.job.job_id, type(error).__name__)
            return False

    async def _pause(self, claim: Claim, step: Waits | Through | Settled) -> None:
        """There is no item to do now."""
        if isinstance(step, Through):
            job = await self._finish(claim, step.job)
            log.info("job %s (%s) is %s", job.job_id, job.kind, job.state.value)
        elif isinstance(step, Waits):
            wait = (step.until - self._clock.now()).total_seconds()
            await self._courier.enqueue(claim.scope.tenant_id, claim.job.job_id, max(0.0, wait))

    async def _lane(self, claim: Claim, first: JobItem, hold: Hold, ended: Callable[[float], bool]) -> None:
        """One item after the other. ``ended`` hears the seconds of each, and says whether another may follow."""
        clock, item = self._passed, first
        with self._company.joined(claim.scope.tenant_id):
            while True:
                began = clock()
                verdict = await self._verdict(claim, item, hold)
                if not ended(clock() - began) or isinstance(verdict, Again):
                    await self._desk.settle(claim, item.item, verdict, self._clock.now())
                    return
                following = await self._desk.settle_and_next(claim, item.item, verdict, self._clock.now())
                if following is None:
                    return
                item = following

    async def _verdict(self, claim: Claim, item: JobItem, hold: Hold) -> Outcome | Again | Dead:
        try:
            return await self._outcome(claim, item, hold)
        except (Yielded, Paused, Cancelled):
            return Again(self._clock.now(), counted=False)

    async def _outcome(self, claim: Claim, item: JobItem, hold: Hold) -> Outcome | Again | Dead:
        handler, stall_s = self._handlers[claim.job.kind], self._policy.stall_s
        try:
            async with asyncio.timeout(stall_s) as stalled:
                share = Share(self._policy.slice_s, hold.others_wait, self._passed)
                hold.going_on.add(item.item)
                control = ItemControl(hold, item.item, share, stalled, stall_s)
                return await handler.process(claim.scope, claim.job, item, control)
        except Stopped:
            raise
        except NotYet as error:
            return replace(self._not_yet(error), untouched=not item.begun_before)
        except Exception as error:  # noqa: BLE001 - one item must not stop the others; it is counted and told
            failure, retryable = self._failed(claim.job, error)
            if not retryable:
                return Outcome(ItemState.FAILED, failure.code, failure.detail)
            log.info("item %d of job %s failed for now: %s", item.item, claim.job.job_id, failure.code)
            return self._again(item.attempts, failure, error) or Dead(failure)
        finally:
            hold.going_on.discard(item.item)

    async def _finish(self, claim: Claim, job: Job) -> Job:
        counters = job.counters
        verdict: Failure | Again | None = None
        try:
            if counters.succeeded or counters.unchanged or not counters.items:
                async with asyncio.timeout(self._policy.stall_s):
                    await self._handlers[job.kind].finished(claim.scope, job)
        except NotYet as error:
            verdict = self._not_yet(error)
        except Exception as error:  # noqa: BLE001 - it is the job's end, and told there
            failure, retryable = self._failed(job, error)
            verdict = (self._again(job.attempts + 1, failure, error) if retryable else None) or failure
        if isinstance(verdict, Again):
            wait = (verdict.not_before - self._clock.now()).total_seconds()
            await self._courier.enqueue(claim.scope.tenant_id, job.job_id, max(0.0, wait))
        return await self._desk.finish(claim, verdict, self._clock.now())

    def _not_yet(self, error: NotYet) -> Again:
        due = self._clock.now() + timedelta(seconds=error.retry_after_s or 0.0)
        return Again(due, failure_of(error)[0], counted=False)

    def _failed(self, job: Job, error: Exception) -> tuple[Failure, bool]:
        failure, retryable = failure_of(error)
        if failure.code == INTERNAL:
            # Not the message: it may quote a value.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("job %s (%s) failed unexpectedly: %s\n%s", job.job_id, job.kind, type(error).__name__, where)
        return failure, retryable

    def _again(self, attempt: int, failure: Failure, error: Exception) -> Again | None:
        wanted = (error.retry_after_s or 0.0) if isinstance(error, MemorydError) else 0.0
        return self._policy.retries.again(attempt, failure, self._clock.now(), at_least_s=wanted)

    async def _farewell(self, claim: Claim) -> None:
        """The worker stops: what it has not done is for another at once, and was no attempt."""
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await self._desk.let_go(claim, self._clock.now())
                await self._courier.enqueue(claim.scope.tenant_id, claim.job.job_id)
        except Exception as error:  # noqa: BLE001 - the lease runs out by itself
            log.info("job %s was not handed back: %s", claim.job.job_id, type(error).__name__)
