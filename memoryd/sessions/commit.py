"""From working memory to long-term memory: visible turns become episodic memories, each once.

What was committed is kept as ranges of positions, so a turn that a restore brought back later is not passed over. Each memory's
external id names the session's incarnation, the position and a digest of the message: a commit that died in the middle repeats
itself without doubles.

What is committed: messages of the wanted roles (the user's and the assistant's unless others are asked for) that have text.
Tool calls without text, tool results and instructions are working material: they stay in the session.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from memoryd.access.service import require
from memoryd.errors import Conflict
from memoryd.memory.model import Content, Draft, Kind, Outcome
from memoryd.memory.ports import Clock
from memoryd.sessions.model import Page, Role, Session, Stored
from memoryd.sessions.ports import MessageStore, ProgressStore, Remembering, Target
from memoryd.sessions.ranges import Ranges, Span, closed, common, minus, union
from memoryd.sessions.working import Finder
from retrieval.errors import BatchTooLarge
from retrieval.filters import JsonValue
from retrieval.scope import Action, Scope

SPOKEN = frozenset({Role.USER, Role.ASSISTANT})
SOURCE_TYPE = "session"
_PAGE = 200
# Of one remember, unless a single message has more: what even a slow model embeds well within the time of a request, so that one
# that runs out of it has come further all the same.
_CHARACTERS = 100_000
_COLLISIONS = 10


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit did: new memories, those that were there, messages that were passed over; up to which position."""

    created: int
    duplicates: int
    passed_over: int
    through: int


class Commit:
    """The use case of ``POST /v1/sessions/{id}/commit``."""

    def __init__(
        self, finder: Finder, messages: MessageStore, progress: ProgressStore, remember: Remembering, clock: Clock
    ) -> None:
        self._find = finder
        self._messages = messages
        self._progress = progress
        self._remember = remember
        self._clock = clock

    async def __call__(self, scope: Scope, session_id: str, roles: Collection[Role] = SPOKEN) -> Committed:
        """Everything visible that was not committed before, by pieces. Raises ``NotFound`` and what a remember raises; what was
        done until then stays done."""
        require(scope, Action.WRITE)
        room = _CHARACTERS
        created = duplicates = passed = collisions = 0
        while True:
            page, pending = await self._pending(scope, session_id)
            session = page.session
            if pending is None:
                # Also where nothing was left from the start: the session is taken off the list of those to commit.
                await self._progress.commit(scope, self._target(session_id), session, session.committed)
                return Committed(created, duplicates, passed, max((span.last or 0 for span in session.committed), default=0))
            if not pending:
                continue  # a restore came between, and set aside what was left
            drafts, taken = _drafts(page, roles, room)
            try:
                written = await self._remember(scope, drafts, None) if drafts else []
            except BatchTooLarge:
                if len(drafts) == 1:
                    raise
                room = sum(len(draft.content.text) for draft in drafts) // 2
                continue
            if taken < len(page.messages):
                pending = closed(pending, page.messages[taken - 1].position)
            through = union(session.committed, pending)
            if not await self._progress.commit(scope, self._target(session_id), session, through):
                # Somebody else committed at the same time; the memories are the same ones.
                collisions += 1
                if collisions >= _COLLISIONS:
                    raise Conflict("the session is being committed by others; try again")
                continue
            made = sum(one.outcome is Outcome.CREATED for one in written)
            created, duplicates = created + made, duplicates + len(written) - made
            passed += taken - len(drafts)

    async def _pending(self, scope: Scope, session_id: str) -> tuple[Page, Ranges | None]:
        """The next page to commit, and the positions that it covers; ``None``: everything is committed."""
        page = await self._find(scope, session_id, lambda target: self._read(scope, target, 0, 1))
        session = page.session
        left: Ranges = minus(closed(session.visible, session.head), session.committed)
        if not left:
            return page, None
        first, last = left[0]
        page = await self._find(scope, session_id, lambda target: self._read(scope, target, first - 1, (last or first) + 1))
        if page.more:
            last = page.messages[-1].position
        # What was visible when these messages were read, which a restore may have changed since the first look.
        return page, common(closed(page.session.visible, page.session.head), (Span(first, last),))

    async def _read(self, scope: Scope, target: Target, after: int, before: int) -> Page:
        return await self._messages.read(scope, target, after=after, before=before, limit=_PAGE, newest=False, renew=False)

    def _target(self, session_id: str) -> Target:
        return Target(session_id, self._clock.now())


def _drafts(page: Page, roles: Collection[Role], room: int) -> tuple[list[Draft], int]:
    """What to remember of the first messages of a page, with at most ``room`` characters or of one message; and how many these
    messages are."""
    drafts: list[Draft] = []
    for number, message in enumerate(page.messages):
        draft = _draft(page.session, message, roles)
        if draft is None:
            continue
        room -= len(draft.content.text)
        if drafts and room < 0:
            return drafts, number
        drafts.append(draft)
    return drafts, len(page.messages)


def _draft(session: Session, message: Stored, roles: Collection[Role]) -> Draft | None:
    payload = message.payload
    text = text_of(payload)
    if payload["role"] not in roles or not text.strip():
        return None
    metadata = payload.get("metadata")
    agent = payload.get("agent_id")
    at = payload.get("event_time") or payload["recorded_at"]
    content = Content(
        kind=Kind.EPISODIC,
        text=text,
        speaker=speaker_of(payload),
        role=str(payload["role"]),
        user_id=session.user_id,
        agent_id=None if agent is None else str(agent),
        session_id=session.session_id,
        event_time=datetime.fromisoformat(str(at)),
        valid_from=None,
        valid_to=None,
        source_type=SOURCE_TYPE,
        source_uri=f"memoryd://sessions/{quote(session.session_id, safe='')}/messages/{message.position}",
        confidence=1.0,
        topics=(),
        metadata=metadata if isinstance(metadata, dict) else {},
        supersedes=None,
    )
    return Draft(session.space, external_id(session, message), content)


def external_id(session: Session, message: Stored) -> str:
    """What a message is called in long-term memory.

    The digest tells it from another at the same position: Redis may come back without the last second before a power cut, and
    gives those positions out again.
    """
    told = json.dumps(message.payload, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(told.encode()).hexdigest()[:12]
    return f"session:{session.session_id}:{session.incarnation[:12]}:{message.position}:{digest}"


def speaker_of(payload: Mapping[str, JsonValue]) -> str:
    """The name, else the agent, else the role."""
    return str(payload.get("name") or payload.get("agent_id") or payload["role"])


def text_of(payload: Mapping[str, JsonValue]) -> str:
    """The content's text: itself, or that of its parts."""
    content = payload.get("content")
    if isinstance(content, str):
        return content
    parts: Sequence[JsonValue] = content if isinstance(content, list) else ()
    return "\n".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))
