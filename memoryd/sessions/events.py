"""New messages as they come, in order, to whoever listens: resumable by the position last seen."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from memoryd.access.service import require
from memoryd.errors import StoreUnavailable, TooManyStreams, Unauthenticated
from memoryd.memory.ports import Clock
from memoryd.sessions import ranges
from memoryd.sessions.model import Page, Session, Stored
from memoryd.sessions.ports import MessageStore, SessionGone, Target
from memoryd.sessions.working import Finder
from retrieval.scope import Action, Scope

_PAGE = 100


class Waiter(Protocol):
    """Waits for a session's next message without asking again and again."""

    async def wait(self, scope: Scope, session: Session, after: int, seconds: float) -> None:
        """Returns when there is a message above ``after``, when the session was restored more often than ``session`` says or was
        deleted, or after ``seconds``. Raises ``WorkingMemoryUnavailable``."""


Still = Callable[[], Awaitable[object]]
"""Raises ``Unauthenticated`` when the listener's key is good no more, and ``StoreUnavailable`` when that cannot be said."""


class EventKind(StrEnum):
    """What can happen. ``begin`` comes first and says where the listener stands."""

    BEGIN = "begin"
    MESSAGE = "message"
    RESTORE = "restore"
    HEARTBEAT = "heartbeat"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Event:
    """``message`` with :attr:`EventKind.MESSAGE`; ``page`` says how the session stood.

    ``after``: who comes back with it misses nothing that comes later.
    """

    kind: EventKind
    page: Page
    after: int
    message: Stored | None = None


class Places:
    """Counts the streams of one process: at most ``streams``, and of one tenant at most half of them."""

    def __init__(self, streams: int) -> None:
        self._streams = streams
        self._of_one = max(1, streams // 2)
        self._taken: Counter[UUID] = Counter()
        self._closed = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Every stream is to end."""
        return self._closed.is_set()

    def close(self) -> None:
        """The process is about to stop, and would wait for them: who listens comes again."""
        self._closed.set()

    async def unless_closed(self, news: Awaitable[None]) -> None:
        """Wait for it, at most until every stream is to end."""
        tasks = asyncio.ensure_future(news), asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                tasks[0].result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @contextmanager
    def one(self, tenant_id: UUID) -> Iterator[None]:
        """A place for as long as the context is open. Raises ``TooManyStreams``."""
        if self._taken.total() >= self._streams or self._taken[tenant_id] >= self._of_one:
            raise TooManyStreams(
                "this process serves as many event streams as it may, or as it may for one tenant; "
                "read what there is (`messages?after=`, the job), or try again"
            )
        self._taken[tenant_id] += 1
        try:
            yield
        finally:
            self._taken[tenant_id] -= 1
            if not self._taken[tenant_id]:
                del self._taken[tenant_id]


class Events:
    """Streams of one process, each ended after ``lifetime_s`` for the listener to come again."""

    def __init__(
        self,
        finder: Finder,
        messages: MessageStore,
        waiter: Waiter,
        clock: Clock,
        *,
        streams: int,
        heartbeat_s: float,
        lifetime_s: float,
    ) -> None:
        self._find = finder
        self._messages = messages
        self._waiter = waiter
        self._clock = clock
        self._places = Places(streams)
        self._heartbeat_s = heartbeat_s
        self._lifetime_s = lifetime_s

    def close(self) -> None:
        """See :meth:`Places.close`."""
        self._places.close()

    async def open(self, scope: Scope, session_id: str, after: int | None, still: Still) -> AsyncGenerator[Event, None]:
        """Events after a position; ``None``: only what is new. Raises ``NotFound``, ``TooManyStreams``. It ends when ``still``
        raises, which is asked before anything new is told.

        Who comes back with a position is told by a ``restore`` first when there can have been one since: nobody but the
        listener knows what it was shown.
        """
        require(scope, Action.READ)
        stream = self._stream(scope, session_id, after, still)
        # It begins here: what it raises is still an answer, and from now on its end gives the place back.
        await anext(stream)
        return stream

    async def _stream(self, scope: Scope, session_id: str, after: int | None, still: Still) -> AsyncGenerator[Event, None]:
        with self._places.one(scope.tenant_id):
            page = await self._find(scope, session_id, lambda target: self._read(scope, target, after or 0))
            if after is None:
                after = page.session.head
                page = await self._read(scope, Target(session_id, self._clock.now()), after)
                seen = _seen(page, after)
            else:
                seen = 0, ranges.closed((ranges.Span(1, None),), after)
            begun = Event(EventKind.BEGIN, page, after)
            yield begun  # to open()
            yield begun
            # When a store goes or the key ends, so does the stream: the listener comes again, and is told then.
            with suppress(StoreUnavailable, Unauthenticated):
                async with aclosing(self._events(scope, after, page, seen, still)) as events:
                    async for event in events:
                        yield event

    async def _events(
        self, scope: Scope, after: int, page: Page, seen: tuple[int, ranges.Ranges], still: Still
    ) -> AsyncGenerator[Event, None]:
        end, incarnation = time.monotonic() + self._lifetime_s, page.session.incarnation
        while True:
            if after > page.session.head or page.session.incarnation != incarnation:
                # Deleted, and made anew under its name: what was shown is not in it, and it begins with its first message.
                after, incarnation = 0, page.session.incarnation
                yield Event(EventKind.RESTORE, page, after)
            else:
                if after and _seen(page, after) != seen:
                    yield Event(EventKind.RESTORE, page, after)
                for message in page.messages:
                    after = message.position
                    yield Event(EventKind.MESSAGE, page, after, message)
                seen = _seen(page, after)
                if self._places.closed:
                    return
                if not page.more:
                    # What was set aside before it could be shown is passed over.
                    left = end - time.monotonic()
                    if left <= 0:
                        return
                    last, seconds = max(after, page.session.head), min(self._heartbeat_s, left)
                    await self._places.unless_closed(self._waiter.wait(scope, page.session, last, seconds))
            try:
                page = await self._read(scope, Target(page.session.session_id, self._clock.now()), after)
            except SessionGone:
                await still()
                yield Event(EventKind.GONE, page, after)
                return
            # After reading: what was written when the key had ended is not told.
            await still()
            if not page.messages:
                yield Event(EventKind.HEARTBEAT, page, after)

    async def _read(self, scope: Scope, target: Target, after: int) -> Page:
        # Listening is not using: it renews nothing, so that a forgotten listener keeps no session alive.
        return await self._messages.read(scope, target, after=after, before=None, limit=_PAGE, newest=False, renew=False)


def _seen(page: Page, after: int) -> tuple[int, ranges.Ranges]:
    """What tells a listener's view of the messages up to ``after`` from another: restores so far, and what is visible."""
    return page.session.restores, ranges.closed(page.session.visible, after)
