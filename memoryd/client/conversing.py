"""Operations on the messages of a session."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from pydantic import JsonValue

from memoryd.client.core import asked, parsed, path, writing
from memoryd.client.operation import Iteration, Operation, Operations
from memoryd.client.recalling import DEFAULT_TOKENIZER
from memoryd.client.session_models import (
    Appended,
    Role,
    Session,
    SessionContext,
    SessionMessage,
    SessionMessagePage,
    Visible,
)
from memoryd.client.sse import Event
from memoryd.client.steps import Flow, Give, Query, Request, Steps
from memoryd.client.streams import followed, listening
from memoryd.client.wording import filled, moment, segment

SESSIONS: Final = "sessions"

_PAGE = 500


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to append. ``id`` is the caller's own: the same is appended once. ``pinned``: shown in every context.
    ``event_time`` has an offset."""

    role: Role
    content: str | Sequence[Mapping[str, JsonValue]] | None = None
    name: str | None = None
    agent_id: str | None = None
    tool_calls: Sequence[Mapping[str, JsonValue]] = ()
    tool_call_id: str | None = None
    event_time: datetime | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    id: str | None = None
    pinned: bool = False

    def body(self) -> dict[str, JsonValue]:
        """As it is sent. Raises ``Unsayable``."""
        content: JsonValue = self.content if self.content is None or isinstance(self.content, str) else [*map(dict, self.content)]
        return filled(
            {name: getattr(self, name) for name in ("role", "name", "agent_id", "tool_call_id", "id", "pinned")}
            | {
                "content": content,
                "tool_calls": [dict(one) for one in self.tool_calls],
                "event_time": moment("event_time", self.event_time),
                "metadata": dict(self.metadata),
            }
        )


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """``message`` for a new one; ``visible`` after a restore; neither when the session is gone."""

    kind: Literal["message", "restore", "gone"]
    message: SessionMessage | None = None
    visible: Visible | None = None


class ConversationOperations(Operations):
    """A session's id is the caller's own name for it. ``key``: an ``Idempotency-Key`` of the caller's own."""

    @Operation
    def get(self, session_id: str) -> Steps[Session]:
        """A session as it stands. Raises ``NotFound``."""
        return (yield from asked(Session, Request("GET", session_path(session_id)), self.retries))

    @Operation
    def append(
        self,
        session_id: str,
        *messages: NewMessage,
        space: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        ttl_s: int | None = None,
        key: str | None = None,
    ) -> Steps[Appended]:
        """Append up to 500, all or none; the first makes the session. ``space``: where a commit goes."""
        body: dict[str, JsonValue] = {"messages": [one.body() for one in messages]}
        body |= filled({"space": space, "user_id": user_id, "agent_id": agent_id, "ttl_s": ttl_s})
        request = writing("POST", session_path(session_id, "messages"), body, key=key)
        return (yield from asked(Appended, request, self.retries))

    @Iteration
    def messages(self, session_id: str, *, after: int = 0) -> Flow[SessionMessage]:
        """Those above a position, in order, without those that a restore set aside."""
        while True:
            query: Query = {"after": after, "limit": _PAGE}
            request = Request("GET", session_path(session_id, "messages"), query=query)
            page = yield from asked(SessionMessagePage, request, self.retries)
            for message in page.messages:
                yield Give(message)
            if page.next_after is None:
                return
            after = page.next_after

    @Operation
    def newest(self, session_id: str, most: int = 20) -> Steps[list[SessionMessage]]:
        """The last messages, at most 500, in order."""
        request = Request("GET", session_path(session_id, "messages"), query={"newest": "true", "limit": most})
        return (yield from asked(SessionMessagePage, request, self.retries)).messages

    @Operation
    def context(
        self, session_id: str, *, budget_tokens: int = 4_000, tokenizer: str = DEFAULT_TOKENIZER
    ) -> Steps[SessionContext]:
        """Pinned messages, a summary of what fell out of the window, and the newest messages that fit."""
        query: Query = {"budget_tokens": budget_tokens, "tokenizer": tokenizer}
        return (yield from asked(SessionContext, Request("GET", session_path(session_id, "context"), query=query), self.retries))

    @Iteration
    def events(self, session_id: str, *, after: int | None = None) -> Flow[SessionEvent]:
        """Messages as they come, above ``after`` or from now on, until the session is gone.

        A stream that breaks off is taken up where it was. Raises as any request does when it cannot be taken up.
        """
        if after is None:
            # Else a stream that breaks off before its first message could not be taken up where it was.
            after = (yield from asked(Session, Request("GET", session_path(session_id)), self.retries)).head
        where = listening(session_path(session_id, "events"))
        yield from followed(
            where, str(after), self.retries, _session_event, lambda event: event.kind == "gone", gone=SessionEvent("gone")
        )


def session_path(session_id: str, *more: str) -> str:
    """Raises ``Unsayable`` for what cannot name a session."""
    return path(SESSIONS, segment("session_id", session_id), *more)


def _session_event(event: Event) -> SessionEvent | None:
    match event.kind:
        case "message":
            return SessionEvent("message", message=parsed(SessionMessage, event.data))
        case "restore":
            return SessionEvent("restore", visible=parsed(Visible, event.data))
        case "gone":
            return SessionEvent("gone")
        case _:
            return None
