"""Appends of callers that may say the same again without a key: agents, and what carries their calls and lost an answer.

A message's own id makes a repetition safe, and so does a key; a model gives neither reliably. So what is sent is also a
repetition when it is the end of the session already, message for message, and was said within minutes; where some messages have
ids, the others are. A key made of what was seen then lets two that are sent at once be one: the session cannot have grown
between the look and the append of both. What repeats calls by itself gives each a key, and others may have spoken meanwhile;
of such calls those that say the same go one after the other in a process, so that the second finds what the first has said.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from weakref import WeakValueDictionary

from memoryd.access.service import require
from memoryd.errors import NotFound
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Clock
from memoryd.sessions import ranges
from memoryd.sessions.model import Appended, Birth, NewMessage, Page, Placed
from memoryd.sessions.ports import MessageStore, Target
from memoryd.sessions.working import Finder, Sessions
from retrieval.filters import JsonValue
from retrieval.scope import Action, Scope

# Longer than any client waits before it asks again; somebody who says the same to the letter later means it.
WITHIN = timedelta(minutes=10)
_WHEN = "recorded_at"


@dataclass(frozen=True, slots=True)
class _End:
    """The newest messages of a session, and where those are that have one of some ids."""

    page: Page
    known: Mapping[str, int]


class Repeats:
    """:meth:`memoryd.sessions.working.Sessions.append` for callers without a key."""

    def __init__(self, finder: Finder, messages: MessageStore, working: Sessions, clock: Clock) -> None:
        self._find = finder
        self._messages = messages
        self._working = working
        self._clock = clock
        self._saying: WeakValueDictionary[tuple[UUID, str, bytes], asyncio.Lock] = WeakValueDictionary()

    async def append(
        self, scope: Scope, session_id: str, messages: Sequence[NewMessage], birth: Birth, once: str | None = None
    ) -> Appended:
        """``once``: the key of what carries the call, and may carry it again after others spoke. Raises what an append raises."""
        require(scope, Action.WRITE)
        given = [one.client_id for one in messages if one.client_id is not None]
        if len(given) == len(messages):  # that is enough
            return await self._working.append(scope, session_id, messages, birth, None)
        said = [_said(json.loads(one.payload)) for one in messages]
        digest = hashlib.sha256("\n".join(said).encode()).digest()
        async with self._saying.setdefault((scope.tenant_id, session_id, digest), asyncio.Lock()):
            end = await self._end(scope, session_id, given, len(messages))
            key = Idempotency(_key(digest, end) if once is None else f"call {once}", digest)
            if end is not None and (positions := self._repeated(end, messages, said)):
                if once is not None:
                    # A receipt, for the same call may come again when this is the end no more.
                    return await self._find(
                        scope, session_id, lambda target: self._messages.known(scope, target, positions), once=key
                    )
                placed = tuple(Placed(one, created=False) for one in positions)
                return Appended(end.page.session.head, placed, end.page.session.restored_from)
            return await self._working.append(scope, session_id, messages, birth, key)

    async def _end(self, scope: Scope, session_id: str, ids: Sequence[str], limit: int) -> _End | None:
        """``None`` where there is no session yet."""

        async def read(target: Target) -> _End:
            # In this order: who appends between the two is seen at the end, with whatever ids.
            known = await self._messages.positions(scope, target, ids) if ids else {}
            page = await self._messages.read(scope, target, after=0, before=None, limit=limit, newest=True, renew=False)
            visible = page.session.visible
            return _End(page, {one: at for one, every in known.items() for at in every if ranges.contains(visible, at)})

        try:
            return await self._find(scope, session_id, read)
        except NotFound:
            return None

    def _repeated(self, end: _End, messages: Sequence[NewMessage], said: Sequence[str]) -> list[int] | None:
        """Where the messages are, when all that no id tells are the end of the session, but for those that an id does tell; each
        behind those of known ids that it is sent behind, or somebody said the same before them."""
        known = [end.known.get(one.client_id or "") for one in messages]
        new = [text for text, position in zip(said, known, strict=True) if position is None]
        others = [one for one in end.page.messages if one.position not in known][-len(new) :]
        if [_said(one.payload) for one in others] != new:
            return None
        recorded = datetime.fromisoformat(str(others[0].payload[_WHEN]))
        if self._clock.now() - recorded > WITHIN:
            return None
        found = iter(others)
        positions: list[int] = []
        latest = 0
        for position in known:
            positions.append(next(found).position if position is None else position)
            if position is None and positions[-1] < latest:
                return None
            latest = max(latest, position or 0)
        return positions


def _key(digest: bytes, end: _End | None) -> str:
    """The same for all that say the same to the session as it was seen."""
    was = None if end is None else end.page.session
    seen = "" if was is None else f"{was.incarnation} {was.head} {was.restores}"
    return f"said {seen} {digest.hex()}"


def _said(payload: Mapping[str, JsonValue]) -> str:
    """What tells a message from others: as text, for Python takes ``True`` for ``1``."""
    return json.dumps({name: value for name, value in payload.items() if name != _WHEN}, sort_keys=True)
