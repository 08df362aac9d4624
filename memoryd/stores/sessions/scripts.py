"""The Lua scripts of working memory: which keys each declares, and one way to run them.

Every script gets ten common arguments: now (ms), the spaces the caller may use, the encoded session id, the receipt's field
and fingerprint of an ``Idempotency-Key``, and what a session is made with. See ``lua/prelude.lua``.
"""

import json
from collections.abc import Sequence
from importlib import resources

from memoryd.errors import (
    Conflict,
    IdempotencyKeyReused,
    NotFound,
    PayloadTooLarge,
    VersionConflict,
)
from memoryd.sessions.model import milliseconds
from memoryd.sessions.ports import Changed, OtherSpace, SessionGone, Target
from memoryd.stores.redis import Argument, Redis, Reply, Script
from memoryd.stores.sessions.keys import DELETED, INDEXES, PARTS, WAKE, encoded, of_tenant
from retrieval.scope import Scope

_WRITE = ("meta", "messages", "receipts", "receipt_order", "due", "dirty")
_MAKE = (*PARTS, "sessions", "due", "dirty", DELETED)
_CHECKPOINTS = ("state", "checkpoints", "checkpoint_states", "checkpoint_order")
_KEYS: dict[str, tuple[str, ...]] = {
    "append": (*_MAKE, "uncommitted", "unsummarised"),
    "read": ("meta", "messages", "agents", "due", "pins", "summary"),
    "positions": ("meta", "ids"),
    "state_put": _MAKE,
    "state_get": ("meta", "due", "state"),
    "state_delete": (*_WRITE, "state"),
    "effect_put": _MAKE,
    "effect_get": ("meta", "due", "effects"),
    "checkpoint_put": (*_WRITE, *_CHECKPOINTS),
    "checkpoint_get": ("meta", "due", *_CHECKPOINTS),
    "restore": (*_WRITE, *_CHECKPOINTS, "uncommitted", "unsummarised", WAKE),
    "patch": (*_WRITE, "uncommitted"),
    "evict": (*PARTS, *INDEXES, DELETED, WAKE),
    "forget": ("meta", *INDEXES),
    "postpone": ("meta", *INDEXES),
    "settle": ("meta", "dirty"),
    "committed": ("meta", "dirty", "uncommitted"),
    "summary_put": ("meta", "summary", "unsummarised"),
    "load": (*PARTS, *INDEXES, DELETED),
}


def _script(name: str) -> Script:
    folder = resources.files("memoryd.stores.sessions") / "lua"
    declared = ", ".join(f"{key} = KEYS[{number}]" for number, key in enumerate(_KEYS[name], 1))
    header = f"local K = {{{declared}}}\nlocal OWN = {len(_KEYS[name]) + 1}\n"
    return Script.of(name, header + (folder / "prelude.lua").read_text() + (folder / f"{name}.lua").read_text())


def _common(scope: Scope, target: Target, ttl_s: int | None) -> list[Argument]:
    """The ten arguments that every script gets."""
    once, birth = target.idempotency, target.birth
    return [
        milliseconds(target.now),
        "*" if scope.spaces is None else "\n" + "\n".join(sorted(scope.spaces)) + "\n",
        encoded(target.session_id),
        "" if once is None else f"{scope.principal}\n{once.key}",
        "" if once is None else once.fingerprint.hex(),
        "1" if target.incarnation else "0",
        target.incarnation,
        birth.space or "",
        birth.user_id or "",
        birth.ttl_s or ttl_s or "",
    ]


class Scripts:
    """Runs scripts for one installation."""

    def __init__(self, redis: Redis, *, ttl_s: int) -> None:
        self.redis = redis
        self._ttl_s = ttl_s
        self._scripts = {name: _script(name) for name in _KEYS}

    async def __call__(
        self,
        name: str,
        scope: Scope,
        target: Target,
        arguments: Sequence[Argument] = (),
        *,
        users: Sequence[str] = (),
        agents: Sequence[str] = (),
    ) -> list[Reply]:
        """The script's answer after its first word, which is ``ok``.

        Raises ``SessionGone`` where there is none in Redis; ``Replay`` for a repeated request; ``NotFound`` for a session in a
        space outside the key's; what a script refuses otherwise; ``WorkingMemoryUnavailable``.
        """
        keys = of_tenant(scope.tenant_id)
        named = keys.named(target.session_id, _KEYS[name])
        named += [keys.of_user(user) for user in users] + [keys.of_agent(agent) for agent in agents]
        word, *rest = await self.redis.run(self._scripts[name], named, [*_common(scope, target, self._ttl_s), *arguments])
        if word != b"ok":
            raise refusal(str_of(word), rest)
        return rest


class SessionExists(Conflict):
    """A snapshot is put back only where there is nothing."""


class Replay(Exception):
    """Not an error: the same request was answered before, with this."""

    def __init__(self, answer: str) -> None:
        super().__init__("answered before")
        self.answer = answer

    def numbers(self) -> list[int]:
        """The answer, where it is a JSON list of whole numbers."""
        return [int(one) for one in json.loads(self.answer)]


_LIMITS = {
    "messages": "the session has as many messages as it may have: commit it and begin another",
    "session_bytes": "the session's messages and effects would be larger than a session may be",
    "state_bytes": "the session's state would be larger than it may be",
    "state_keys": "the session's state has as many keys as it may have",
    "agents": "as many agents have spoken in the session as may: leave out agent_id, or use another session",
}


def refusal(word: str, rest: Sequence[Reply]) -> Exception:
    """The error for a script's first word."""
    if word == "replay":
        return Replay(str_of(rest[0]))
    if word == "conflict":
        version = int(str_of(rest[0]))
        found = f"the current version is {version}" if version else "there is no such key"
        return VersionConflict(f"another version was expected; {found}", version)
    if word == "limit":
        return PayloadTooLarge(_LIMITS[str_of(rest[0])])
    return {
        "gone": SessionGone("no such session"),
        "exists": SessionExists("the session is there already"),
        "changed": Changed("the session changed meanwhile; try again"),
        "missing": NotFound("no such thing in this session"),
        "reused": IdempotencyKeyReused("this Idempotency-Key was used with another request; use a new one"),
        "space": OtherSpace("the session exists in another space"),
    }.get(word, NotFound("no such session"))


def str_of(reply: Reply) -> str:
    """Text of a bulk string or number."""
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def bytes_of(reply: Reply) -> bytes:
    """A bulk string."""
    if not isinstance(reply, bytes):
        raise TypeError(f"a string was expected, not {type(reply).__name__}")
    return reply


def int_of(reply: Reply) -> int:
    """A number."""
    if isinstance(reply, int):
        return reply
    return int(str_of(reply))


def list_of(reply: Reply) -> list[Reply]:
    """A list."""
    if not isinstance(reply, list):
        raise TypeError(f"a list was expected, not {type(reply).__name__}")
    return reply


def pairs(reply: Reply) -> dict[str, str]:
    """A flat list of names and values."""
    flat = [str_of(one) for one in list_of(reply)]
    return dict(zip(flat[::2], flat[1::2], strict=True))
