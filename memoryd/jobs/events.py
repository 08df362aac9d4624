"""A job as it goes on, to whoever listens: resumable by the revision last seen, ended by its final state."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from memoryd.access.service import require
from memoryd.errors import NotFound, StoreUnavailable, Unauthenticated
from memoryd.jobs.model import Job
from memoryd.jobs.ports import Ledger
from memoryd.sessions.events import Places, Still
from retrieval.scope import Action, Scope


class EventKind(StrEnum):
    """``state``: the first event, and whenever the state or the wish is another. ``progress``: counters only."""

    STATE = "state"
    PROGRESS = "progress"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, and how the job stands."""

    kind: EventKind
    job: Job


class JobEvents:
    """Streams of one process. A listener is told of what changed once every ``poll_s`` at most, however often it does; and hears
    a heartbeat after ``heartbeat_s`` of silence. Each stream ends after ``lifetime_s`` for the listener to come again."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        streams: int,
        heartbeat_s: float,
        lifetime_s: float,
        poll_s: float = 1.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._places = Places(streams)
        self._heartbeat_s = heartbeat_s
        self._lifetime_s = lifetime_s
        self._poll_s = poll_s
        self._sleep = sleep

    def close(self) -> None:
        """See :meth:`memoryd.sessions.events.Places.close`."""
        self._places.close()

    async def open(self, scope: Scope, job_id: UUID, after: int | None, still: Still) -> AsyncGenerator[Event, None]:
        """Events after a revision; ``None``: from how it stands. Of a job that has ended, its end, whatever was seen before. It
        ends when ``still`` raises, which is asked before anything is told.

        Raises ``NotFound``, ``TooManyStreams``.
        """
        require(scope, Action.READ)
        stream = self._stream(scope, job_id, after, still)
        # It begins here: what it raises is still an answer, and from now on its end gives the place back.
        await anext(stream)
        return stream

    async def _stream(self, scope: Scope, job_id: UUID, after: int | None, still: Still) -> AsyncGenerator[Event, None]:
        with self._places.one(scope.tenant_id):
            job = await self._ledger.job(scope, job_id)
            yield Event(EventKind.HEARTBEAT, job)
            # When the database goes, the job or the key, so does the stream: the listener comes again, and is told then.
            with suppress(StoreUnavailable, NotFound, Unauthenticated):
                async with aclosing(self._events(scope, job, after)) as events:
                    async for event in events:
                        await still()
                        yield event

    async def _events(self, scope: Scope, job: Job, after: int | None) -> AsyncGenerator[Event, None]:
        end = time.monotonic() + self._lifetime_s
        told, spoke = None, time.monotonic()
        if after is not None and after > job.revision:
            after = None  # not a revision that this job ever had
        while True:
            if job.state.final or after is None or job.revision > after:
                now = (job.state, job.wish)
                yield Event(EventKind.STATE if now != told else EventKind.PROGRESS, job)
                told, after, spoke = now, job.revision, time.monotonic()
            elif time.monotonic() - spoke >= self._heartbeat_s:
                yield Event(EventKind.HEARTBEAT, job)
                spoke = time.monotonic()
            if job.state.final or time.monotonic() >= end or self._places.closed:
                return
            await self._places.unless_closed(self._sleep(self._poll_s))
            job = await self._ledger.job(scope, job.job_id)
