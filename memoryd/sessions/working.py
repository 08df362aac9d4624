"""The use cases of a session's messages, state, effects and checkpoints.

A session that Redis does not have is looked for among the snapshots before anything is said of it, also before a write makes
a new one: a session that was lost is continued, never begun again over what it was.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from memoryd.access.model import DEFAULT_SPACE
from memoryd.access.service import require
from memoryd.errors import NotFound, PayloadTooLarge, SpaceNotFound
from memoryd.ids import uuid7
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Clock
from memoryd.sessions.model import (
    Appended,
    AutoCommit,
    Birth,
    Checkpoint,
    CheckpointWish,
    Effect,
    Entry,
    Expected,
    Limits,
    NewMessage,
    Page,
    RestoredCheckpoint,
    Session,
)
from memoryd.sessions.ports import (
    CheckpointStore,
    EffectStore,
    MessageStore,
    OtherSpace,
    SessionGone,
    StateStore,
    Target,
)
from retrieval.filters import JsonValue
from retrieval.scope import Action, Scope

Answer = TypeVar("Answer")

_MOST_BYTES = 4  # of a character, in UTF-8

# Restores a session from its newest snapshot; False when there is none.
Recover = Callable[[Scope, str], Awaitable[bool]]


class Finder:
    """Runs a call on a session; when Redis does not have it, on what its newest snapshot gives back, or on a new one."""

    def __init__(self, recover: Recover, clock: Clock) -> None:
        self._recover = recover
        self._clock = clock

    async def __call__(
        self,
        scope: Scope,
        session_id: str,
        call: Callable[[Target], Awaitable[Answer]],
        *,
        once: Idempotency | None = None,
        birth: Birth | None = None,
    ) -> Answer:
        """``birth``: the call may make the session. Raises ``NotFound`` otherwise."""
        target = Target(session_id, self._clock.now(), once, birth or Birth())
        try:
            return await call(target)
        except SessionGone:
            if not await self._recover(scope, session_id):
                if birth is None:
                    raise
                space = birth.space or _home(scope)
                if not scope.may_use(space):
                    raise SpaceNotFound(f"no space named {space!r}") from None
                try:
                    return await call(replace(target, birth=replace(birth, space=space), incarnation=uuid7().hex))
                except OtherSpace:
                    if birth.space is not None:
                        raise
                    # Somebody made it meanwhile, in a space of their choice.
        return await call(target)


def _home(scope: Scope) -> str:
    """Where a session begins that names no space: the one space of a key that has no other."""
    return next(iter(scope.spaces)) if scope.spaces is not None and len(scope.spaces) == 1 else DEFAULT_SPACE


class Sessions:
    """What an agent does with its session while it works."""

    def __init__(
        self,
        finder: Finder,
        messages: MessageStore,
        state: StateStore,
        effects: EffectStore,
        checkpoints: CheckpointStore,
        limits: Limits,
    ) -> None:
        self._find = finder
        self._messages = messages
        self._state = state
        self._effects = effects
        self._checkpoints = checkpoints
        self._limits = limits

    async def append(
        self, scope: Scope, session_id: str, messages: Sequence[NewMessage], birth: Birth, once: Idempotency | None
    ) -> Appended:
        """All or none, in one total order. Raises ``PayloadTooLarge``, ``IdempotencyKeyReused``, ``Conflict``."""
        require(scope, Action.WRITE)
        for number, message in enumerate(messages):
            self._within(message.payload, self._limits.message_bytes, f"messages.{number}")
        return await self._find(
            scope, session_id, lambda target: self._messages.append(scope, target, messages), once=once, birth=birth
        )

    async def read(
        self, scope: Scope, session_id: str, *, after: int = 0, before: int | None = None, limit: int = 50, newest: bool = False
    ) -> Page:
        """Visible messages in order, which renews the session. ``newest``: the last of them instead of the first."""
        require(scope, Action.READ)
        return await self._find(
            scope,
            session_id,
            lambda target: self._messages.read(scope, target, after=after, before=before, limit=limit, newest=newest, renew=True),
        )

    async def get(self, scope: Scope, session_id: str) -> Session:
        """The session as it stands."""
        return (await self.read(scope, session_id, limit=1, newest=True)).session

    async def configure(
        self, scope: Scope, session_id: str, *, ttl_s: int | None, auto: AutoCommit | None, clear: bool, once: Idempotency | None
    ) -> Session:
        """Change how long it lives and when it is committed; ``clear`` leaves that to the tenant's setting."""
        require(scope, Action.WRITE)
        require(scope, Action.READ)  # the answer is the session as it stands
        await self._find(
            scope,
            session_id,
            lambda target: self._messages.configure(scope, target, ttl_s=ttl_s, auto=auto, clear=clear),
            once=once,
        )
        return await self._find(
            scope,
            session_id,
            lambda target: self._session(scope, target),
        )

    async def _session(self, scope: Scope, target: Target) -> Session:
        page = await self._messages.read(scope, target, after=0, before=None, limit=1, newest=True, renew=False)
        return page.session

    async def put_state(
        self, scope: Scope, session_id: str, key: str, value: JsonValue, expected: Expected, once: Idempotency | None
    ) -> tuple[int, bool]:
        """Set a key: its new version, and whether it was made. Raises ``VersionConflict``, ``PayloadTooLarge``."""
        require(scope, Action.WRITE)
        text = self._json(value, "the value")
        return await self._find(
            scope, session_id, lambda target: self._state.put(scope, target, key, text, expected), once=once, birth=Birth()
        )

    async def state(self, scope: Scope, session_id: str) -> list[Entry]:
        """Every key, by name."""
        require(scope, Action.READ)
        return await self._find(scope, session_id, lambda target: self._state.get(scope, target, None))

    async def get_state(self, scope: Scope, session_id: str, key: str) -> Entry:
        """Raises ``NotFound``."""
        require(scope, Action.READ)
        found = await self._find(scope, session_id, lambda target: self._state.get(scope, target, key))
        if not found:
            raise NotFound("no such key in this session")
        return found[0]

    async def delete_state(self, scope: Scope, session_id: str, key: str, version: int | None, once: Idempotency | None) -> None:
        """Raises ``NotFound``, ``VersionConflict``."""
        require(scope, Action.WRITE)
        await self._find(scope, session_id, lambda target: self._state.delete(scope, target, key, version), once=once)

    async def record_effect(self, scope: Scope, session_id: str, key: str, value: JsonValue) -> Effect:
        """The first write wins."""
        require(scope, Action.WRITE)
        require(scope, Action.READ)  # the answer is what somebody else wrote, if it was first
        text = self._json(value, "the value")
        return await self._find(scope, session_id, lambda target: self._effects.record(scope, target, key, text), birth=Birth())

    async def get_effect(self, scope: Scope, session_id: str, key: str) -> Effect:
        """Raises ``NotFound``."""
        require(scope, Action.READ)
        found = await self._find(scope, session_id, lambda target: self._effects.recorded(scope, target, key))
        if found is None:
            raise NotFound("no such effect in this session")
        return found

    async def checkpoint(self, scope: Scope, session_id: str, wish: CheckpointWish, once: Idempotency | None) -> Checkpoint:
        """Atomic over messages and state."""
        require(scope, Action.WRITE)
        return await self._find(scope, session_id, lambda target: self._checkpoints.make(scope, target, wish), once=once)

    async def checkpoints(self, scope: Scope, session_id: str) -> list[Checkpoint]:
        """Oldest first, without their states."""
        require(scope, Action.READ)
        return await self._find(scope, session_id, lambda target: self._checkpoints.every(scope, target))

    async def get_checkpoint(self, scope: Scope, session_id: str, checkpoint_id: UUID) -> Checkpoint:
        """With its state. Raises ``NotFound``."""
        require(scope, Action.READ)
        found = await self._find(scope, session_id, lambda target: self._checkpoints.get(scope, target, checkpoint_id))
        if found is None:
            raise NotFound("no such checkpoint in this session")
        return found

    async def restore(self, scope: Scope, session_id: str, checkpoint_id: UUID, once: Idempotency | None) -> RestoredCheckpoint:
        """Back to a checkpoint; what came after is set aside, and ``undo`` brings it back. Raises ``NotFound``."""
        require(scope, Action.WRITE)
        require(scope, Action.READ)  # the answer is the checkpoint, with its label and metadata
        done = await self._find(
            scope, session_id, lambda target: self._checkpoints.restore(scope, target, checkpoint_id), once=once
        )
        if done is None:
            raise NotFound("no such checkpoint in this session")
        return done

    def _json(self, value: JsonValue, what: str) -> str:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        self._within(text, self._limits.value_bytes, what)
        return text

    @staticmethod
    def _within(text: str, most: int, what: str) -> None:
        if len(text) * _MOST_BYTES > most and (size := len(text.encode())) > most:
            raise PayloadTooLarge(f"{what} has {size:,} bytes as JSON; at most {most:,} are stored")
