"""Operations that write memories and take them out again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from memoryd.client.core import answered, asked, path, writing
from memoryd.client.memory_models import Kind, Remembered, Written
from memoryd.client.operation import Operation, Operations
from memoryd.client.session_models import Role
from memoryd.client.steps import Query, Steps
from memoryd.client.wording import filled, moment

MEMORIES: Final = "memories"


@dataclass(frozen=True, slots=True)
class NewMemory:
    """A memory to store. ``external_id`` is the caller's own: the same is stored once. ``supersedes`` ends what it names.
    Times have an offset."""

    text: str
    space: str = "default"
    kind: Kind = "episodic"
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    event_time: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    topics: Sequence[str] = ()
    confidence: float = 1.0
    source_type: str = "conversation"
    source_uri: str | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    external_id: str | None = None
    supersedes: UUID | str | None = None

    def body(self) -> dict[str, JsonValue]:
        """As it is sent. Raises ``Unsayable``."""
        return filled(
            {name: getattr(self, name) for name in _PLAIN}
            | {name: moment(name, getattr(self, name)) for name in ("event_time", "valid_from", "valid_to")}
            | {
                "topics": list(self.topics),
                "source": filled({"type": self.source_type, "uri": self.source_uri}),
                "metadata": dict(self.metadata),
                "supersedes": None if self.supersedes is None else str(self.supersedes),
            }
        )


_PLAIN = ("text", "space", "kind", "user_id", "agent_id", "session_id", "confidence", "external_id")


@dataclass(frozen=True, slots=True)
class NewTurn:
    """One turn of a conversation, to become an episodic memory."""

    content: str
    role: Role = "user"
    name: str | None = None
    event_time: datetime | None = None
    external_id: str | None = None

    def body(self) -> dict[str, JsonValue]:
        """As it is sent. Raises ``Unsayable``."""
        fields: dict[str, JsonValue] = {"role": self.role, "name": self.name, "content": self.content}
        return filled(fields | {"event_time": moment("event_time", self.event_time), "external_id": self.external_id})


class RememberOperations(Operations):
    """What was remembered before is answered as ``duplicate``. ``key``: an ``Idempotency-Key`` of the caller's own."""

    @Operation
    def remember(self, *memories: str | NewMemory, key: str | None = None) -> Steps[list[Written]]:
        """Store up to 1,000, all or none; when this returns they are durable, and the next recall finds them."""
        new = [NewMemory(one) if isinstance(one, str) else one for one in memories]
        request = writing("POST", path(MEMORIES), {"memories": [one.body() for one in new]}, key=key)
        return (yield from asked(Remembered, request, self.retries)).results

    @Operation
    def remember_turns(
        self,
        turns: Sequence[NewTurn],
        *,
        space: str = "default",
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        topics: Sequence[str] = (),
        metadata: Mapping[str, JsonValue] | None = None,
        key: str | None = None,
    ) -> Steps[list[Written]]:
        """Store up to 1,000 turns of one conversation, a memory each; the other fields are of all of them."""
        body: dict[str, JsonValue] = {"messages": [one.body() for one in turns], "space": space, "user_id": user_id}
        body |= {"agent_id": agent_id, "session_id": session_id, "topics": list(topics), "metadata": dict(metadata or {})}
        return (yield from asked(Remembered, writing("POST", path(MEMORIES), filled(body), key=key), self.retries)).results

    @Operation
    def forget(
        self,
        memory_id: UUID | str,
        *,
        purge: bool = False,
        reason: str | None = None,
        revision: int | None = None,
        key: str | None = None,
    ) -> Steps[None]:
        """Take a memory out of recall; with ``purge`` erase every trace of it, which cannot be undone.

        With ``revision``, only if it is still that one. Raises ``NotFound``, ``Conflict``.
        """
        query: Query = ({"purge": "true"} if purge else {}) | ({} if reason is None else {"reason": reason})
        request = writing("DELETE", path(MEMORIES, str(memory_id)), key=key, query=query, match=revision)
        yield from answered(request, self.retries)
