"""Operations on jobs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from memoryd.client.core import asked, paged, parsed, path, writing
from memoryd.client.errors import Unavailable, WaitedTooLong
from memoryd.client.job_models import (
    DeadLetter,
    DeadLetterPage,
    ItemState,
    Job,
    JobItem,
    JobItemPage,
    JobPage,
    JobState,
    Replayed,
)
from memoryd.client.operation import Iteration, Operation, Operations
from memoryd.client.sse import Event
from memoryd.client.steps import Flow, Query, Request, Sleep, Steps, each
from memoryd.client.streams import followed, listening

JOBS: Final = "jobs"
_DEAD: Final = "dead-letters"

_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class JobEvent:
    """``kind``: ``state`` at first and whenever it changes, else ``progress``; and the job as it stood."""

    kind: str
    job: Job


class JobOperations(Operations):
    """``key``: an ``Idempotency-Key`` of the caller's own."""

    @Operation
    def get(self, job_id: UUID | str) -> Steps[Job]:
        """A job as it stands."""
        return (yield from asked(Job, Request("GET", path(JOBS, str(job_id))), self.retries))

    @Iteration
    def list(self, *, state: JobState | None = None, kb: str | None = None, kb_id: UUID | None = None) -> Flow[Job]:
        """Newest first; of a state, of a knowledge base by its name or its id."""
        asked_for = {"state": state, "kb": kb, "kb_id": None if kb_id is None else str(kb_id)}
        query: Query = {name: value for name, value in asked_for.items() if value is not None}
        yield from paged(JobPage, path(JOBS), query, self.retries, lambda page: (page.jobs, page.next_cursor))

    @Iteration
    def items(self, job_id: UUID | str, *, state: ItemState | None = None) -> Flow[JobItem]:
        """What became of each document, in order."""
        query: Query = {} if state is None else {"state": state}
        where = path(JOBS, str(job_id), "items")
        yield from paged(JobItemPage, where, query, self.retries, lambda page: (page.items, page.next_cursor))

    @Iteration
    def events(self, job_id: UUID | str, *, after: int | None = None) -> Flow[JobEvent]:
        """How the job goes on, up to its end; with ``after``, only what a later revision brings.

        A stream that breaks off is taken up where it was. Raises as any request does when it cannot be taken up.
        """
        where = listening(path(JOBS, str(job_id), "events"))
        resumed = None if after is None else str(after)
        yield from followed(where, resumed, self.retries, _job_event, lambda event: event.job.final)

    @Operation
    def wait(
        self, job_id: UUID | str, *, on_change: Callable[[Job], None] | None = None, timeout_s: float | None = None
    ) -> Steps[Job]:
        """The job when it has ended; ``on_change`` is told of every step, once a second at most. A paused job is waited for too.

        Listens to the job's events; with ``timeout_s``, and where the service has no stream to spare, asks every second.
        Raises ``WaitedTooLong``.
        """
        if timeout_s is not None:
            return (yield from self._polled(job_id, on_change, time.monotonic() + timeout_s))
        last: list[Job] = []

        def tell(event: JobEvent) -> bool:
            last[:] = [event.job]
            if on_change is not None:
                on_change(event.job)
            return False

        try:
            yield from each(JobOperations.events.flow(self, job_id), tell)
        except Unavailable as error:
            if error.code != "too_many_streams":
                raise
            return (yield from self._polled(job_id, on_change, None))
        return last[0]

    @Operation
    def cancel(self, job_id: UUID | str, *, key: str | None = None) -> Steps[Job]:
        """Stop for good. What was stored stays in the draft."""
        return (yield from self._told(job_id, "cancel", key))

    @Operation
    def pause(self, job_id: UUID | str, *, key: str | None = None) -> Steps[Job]:
        """Stop at the next checkpoint, and keep everything."""
        return (yield from self._told(job_id, "pause", key))

    @Operation
    def resume(self, job_id: UUID | str, *, key: str | None = None) -> Steps[Job]:
        """Go on where it was paused."""
        return (yield from self._told(job_id, "resume", key))

    @Operation
    def retry(self, job_id: UUID | str, *, key: str | None = None) -> Steps[Job]:
        """Do the failed documents of a ``partial`` or ``failed`` job again, and no others."""
        return (yield from self._told(job_id, "retry", key))

    @Iteration
    def dead_letters(self) -> Flow[DeadLetter]:
        """Documents that were tried as often as may be, of all jobs; those of the oldest job first."""
        yield from paged(DeadLetterPage, path(_DEAD), {}, self.retries, lambda page: (page.dead_letters, page.next_cursor))

    @Operation
    def replay(self, job_id: UUID | str, *, items: Sequence[int] | None = None, key: str | None = None) -> Steps[Replayed]:
        """Do dead letters of a job again, with all their attempts: those of these numbers, or all of them."""
        body: dict[str, JsonValue] = {"job_id": str(job_id), "items": None if items is None else list(items)}
        return (yield from asked(Replayed, writing("POST", path(_DEAD, "replay"), body, key=key), self.retries))

    def _told(self, job_id: UUID | str, command: str, key: str | None) -> Steps[Job]:
        return (yield from asked(Job, writing("POST", path(JOBS, str(job_id), command), key=key), self.retries))

    def _polled(self, job_id: UUID | str, on_change: Callable[[Job], None] | None, until: float | None) -> Steps[Job]:
        revision = None
        while True:
            job = yield from JobOperations.get.steps(self, job_id)
            if on_change is not None and job.revision != revision:
                on_change(job)
            revision = job.revision
            if job.final:
                return job
            left = _POLL_S if until is None else min(_POLL_S, until - time.monotonic())
            if left <= 0:
                raise WaitedTooLong(f"job {job.id} is {job.state}; it goes on")
            yield Sleep(left)


def _job_event(event: Event) -> JobEvent:
    return JobEvent(event.kind, parsed(Job, event.data))
