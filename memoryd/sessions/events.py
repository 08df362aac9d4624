"""New messages as they come, in order, to whoever listens: resumable by the position last seen."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from memoryd.access.service import require
from memoryd.errors import TooManyStreams
from memoryd.memory.ports import Clock
from memoryd.sessions import ranges
from memoryd.sessions.model import Page, Stored
from memoryd.sessions.ports import MessageStore, SessionGone, Target
from memoryd.sessions.working import Finder
from retrieval.scope import Action, Scope

_PAGE = 100


class Waiter(Protocol):
    """Waits for a session's next message without asking again and again."""

    async def wait(self, scope: Scope, session_id: str, after: int, seconds: float) -> None:
        """Returns when there is a message above ``after``, or after ``seconds``. Raises ``WorkingMemoryUnavailable``."""


class EventKind(StrEnum):
    """What can happen."""

    MESSAGE = "message"
    RESTORE = "restore"
    HEARTBEAT = "heartbeat"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Event:
    """``message`` with :attr:`EventKind.MESSAGE`; ``page`` says how the session stood."""

    kind: EventKind
    page: Page
    message: Stored | None = None


class Events:
    """Streams of one process: at most ``streams`` at once, each ended after ``lifetime_s`` for the listener to come again."""

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
        self._free = streams
        self._heartbeat_s = heartbeat_s
        self._lifetime_s = lifetime_s

    async def open(self, scope: Scope, session_id: str, after: int | None) -> AsyncIterator[Event]:
        """Events after a position; ``None``: only what is new. Raises ``NotFound``, ``TooManyStreams``."""
        require(scope, Action.READ)
        if self._free <= 0:
            raise TooManyStreams("this process serves as many event streams as it may; read `messages?after=`, or try again")
        start = after or 0
        page = await self._find(scope, session_id, lambda target: self._read(scope, target, start))
        if after is None:
            start = page.session.head
            page = await self._find(scope, session_id, lambda target: self._read(scope, target, start))
        return self._stream(scope, session_id, start, page)

    async def _stream(self, scope: Scope, session_id: str, after: int, page: Page) -> AsyncIterator[Event]:
        self._free -= 1
        try:
            end = time.monotonic() + self._lifetime_s
            shown = ranges.closed(page.session.visible, after)
            while True:
                now_shown = ranges.closed(page.session.visible, after)
                if now_shown != shown:
                    yield Event(EventKind.RESTORE, page)
                for message in page.messages:
                    yield Event(EventKind.MESSAGE, page, message)
                    after = message.position
                shown = ranges.closed(page.session.visible, after)
                if not page.more:
                    # What was set aside before it could be shown is passed over.
                    left = end - time.monotonic()
                    if left <= 0:
                        return
                    await self._waiter.wait(scope, session_id, max(after, page.session.head), min(self._heartbeat_s, left))
                try:
                    page = await self._read(scope, Target(session_id, self._clock.now()), after)
                except SessionGone:
                    yield Event(EventKind.GONE, page)
                    return
                if not page.messages:
                    yield Event(EventKind.HEARTBEAT, page)
        finally:
            self._free += 1

    async def _read(self, scope: Scope, target: Target, after: int) -> Page:
        # Listening is not using: it renews nothing, so that a forgotten listener keeps no session alive.
        return await self._messages.read(scope, target, after=after, before=None, limit=_PAGE, newest=False, renew=False)
