"""Appends of callers that may say the same again without a key: agents, and what carries their calls and lost an answer.

A message's own id makes a repetition safe, and so does a key; a model gives neither reliably. So what is sent is also a
repetition when it is the end of the session already, message for message, and was said within minutes. A key made of what was
seen then lets two that are sent at once be one: the session cannot have grown between the look and the append of both.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from memoryd.access.service import require
from memoryd.errors import NotFound
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Clock
from memoryd.sessions.model import Appended, Birth, NewMessage, Page, Placed
from memoryd.sessions.ports import MessageStore, Target
from memoryd.sessions.working import Finder, Sessions
from retrieval.filters import JsonValue
from retrieval.scope import Action, Scope

# Longer than any client waits before it asks again; somebody who says the same to the letter later means it.
WITHIN = timedelta(minutes=10)
_WHEN = "recorded_at"


class Repeats:
    """:meth:`memoryd.sessions.working.Sessions.append` for callers without a key."""

    def __init__(self, finder: Finder, messages: MessageStore, working: Sessions, clock: Clock) -> None:
        self._find = finder
        self._messages = messages
        self._working = working
        self._clock = clock

    async def append(self, scope: Scope, session_id: str, messages: Sequence[NewMessage], birth: Birth) -> Appended:
        """Raises what an append raises."""
        require(scope, Action.WRITE)
        if all(one.client_id is not None for one in messages):  # a key would outlive a restore, after which they are new
            return await self._working.append(scope, session_id, messages, birth, None)
        said = [_said(json.loads(one.payload)) for one in messages]
        page = await self._end(scope, session_id, len(messages))
        if page is not None and self._is_end(page, said):
            placed = tuple(Placed(one.position, created=False) for one in page.messages)
            return Appended(page.session.head, placed, page.session.restored_from)
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
        seen = "" if page is None else f"{page.session.incarnation} {page.session.head} {page.session.restores}"
        once = Idempotency(f"said {seen} {digest.hexdigest()}", digest.digest())
        return await self._working.append(scope, session_id, messages, birth, once)

    async def _end(self, scope: Scope, session_id: str, limit: int) -> Page | None:
        """The newest messages; ``None`` where there is no session yet."""

        async def read(target: Target) -> Page:
            return await self._messages.read(scope, target, after=0, before=None, limit=limit, newest=True, renew=False)

        try:
            return await self._find(scope, session_id, read)
        except NotFound:
            return None

    def _is_end(self, page: Page, said: Sequence[Mapping[str, JsonValue]]) -> bool:
        if [_said(one.payload) for one in page.messages] != said:
            return False
        recorded = datetime.fromisoformat(str(page.messages[0].payload[_WHEN]))
        return self._clock.now() - recorded <= WITHIN


def _said(payload: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {name: value for name, value in payload.items() if name != _WHEN}
