""":class:`memoryd.sessions.ports.LifeStore` on Redis: whole sessions, their lists, their end."""

import json
from collections.abc import Sequence
from datetime import datetime

from memoryd.errors import InvalidRequest
from memoryd.sessions.model import Restored, Session, milliseconds
from memoryd.sessions.ports import Image, Part, SessionGone, SessionPage, Target
from memoryd.stores.redis import Argument, Reply
from memoryd.stores.sessions import rows
from memoryd.stores.sessions.keys import DELETED, PARTS, Keys, decoded, encoded
from memoryd.stores.sessions.scripts import Scripts, SessionExists, list_of, pairs, str_of
from retrieval.scope import Scope

_KINDS = {
    "messages": "stream",
    "receipt_order": "list",
    "checkpoint_order": "list",
    "pins": "zset",
    "agents": "set",
    "summary": "string",
}
_READS: dict[str, tuple[tuple[str, ...], tuple[str | int, ...]]] = {
    "hash": (("HGETALL",), ()),
    "list": (("LRANGE",), (0, -1)),
    "set": (("SMEMBERS",), ()),
    "zset": (("ZRANGE",), (0, -1, "WITHSCORES")),
    "stream": (("XRANGE",), ("-", "+")),
    "string": (("GET",), ()),
}
_STEP, _STEPS = 200, 10

# Of a time in milliseconds, until the year 33658.
_DIGITS = 15

# Longer than reading a snapshot takes.
_BURIED_S = 3_600


class RedisLife:
    """Images are read as they are at one moment, and put back by one script."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def image(self, scope: Scope, target: Target) -> Image:
        keys = Keys(scope.tenant_id)
        commands: list[tuple[Argument, ...]] = []
        for name in PARTS:
            head, tail = _READS[_KINDS.get(name, "hash")]
            commands.append((*head, keys.part(target.session_id, name), *tail))
        commands.append(("HMGET", keys.part(target.session_id, "meta"), "rev", "inc"))
        *answers, as_read = await self._scripts.redis.together(commands, atomic=False)
        if list_of(as_read) != _version(answers[PARTS.index("meta")]):
            # Written to meanwhile. Not so from the beginning: a server whose memory is full takes no transactions.
            *answers, _ = await self._scripts.redis.together(commands, atomic=True)
        parts = tuple(_part(name, answer) for name, answer in zip(PARTS, answers, strict=True))
        by_name = {part.name: part.values for part in parts}
        meta = by_name["meta"]
        if not meta:
            raise SessionGone("no such session")
        fields = dict(zip(meta[::2], meta[1::2], strict=True))
        session = rows.session(target.session_id, fields, tuple(sorted(by_name["agents"])))
        if not scope.may_use(session.space):
            raise SessionGone("no such session")
        return Image(session, target.now, tuple(part for part in parts if part.values))

    async def load(self, scope: Scope, target: Target, parts: Sequence[Part], origin: Restored) -> bool:
        told = [str(origin.snapshot_id), milliseconds(origin.taken_at), milliseconds(origin.restored_at)]
        whole = [] if origin.lost else [rows.WHOLE]
        arguments: list[Argument] = [json.dumps(told + [str(one) for one in origin.skipped] + whole)]
        for part in parts:
            values = part.values
            if part.kind == "zset":  # read as member and score, written the other way round
                values = tuple(one for pair in zip(values[1::2], values[::2], strict=True) for one in pair)
            arguments += [part.name, part.kind, len(values), *values]
        meta = next(part.values for part in parts if part.name == "meta")
        user = dict(zip(meta[::2], meta[1::2], strict=True))["user"]
        agents = next((part.values for part in parts if part.name == "agents"), ())
        try:
            await self._scripts("load", scope, target, arguments, users=[user] if user else [], agents=agents)
        except SessionExists:
            return False
        return True

    async def settle(self, scope: Scope, image: Image) -> bool:
        session = image.session
        target = Target(session.session_id, image.read_at, incarnation=session.incarnation)
        try:
            await self._scripts("settle", scope, target, [session.revision, milliseconds(image.read_at)])
        except SessionGone:
            return False
        return True

    async def evict(self, scope: Scope, session: Session, *, now: datetime, only_due: bool, buried: bool = False) -> None:
        target = Target(session.session_id, now, incarnation=session.incarnation)
        users = [session.user_id] if session.user_id else []
        arguments: list[Argument] = [session.revision, "1" if only_due else "0", _BURIED_S if buried else 0]
        await self._scripts("evict", scope, target, arguments, users=users, agents=session.agents)

    async def bury(self, scope: Scope, session_id: str) -> None:
        key = Keys(scope.tenant_id).part(session_id, DELETED)
        await self._scripts.redis.command("SET", key, "1", "EX", _BURIED_S)

    async def page(
        self, scope: Scope, *, user_id: str | None, agent_id: str | None, cursor: str | None, limit: int
    ) -> SessionPage:
        keys = Keys(scope.tenant_id)
        index = keys.index("sessions")
        if user_id is not None:
            index = keys.of_user(user_id)
        elif agent_id is not None:
            index = keys.of_agent(agent_id)
        picky = scope.spaces is not None or (user_id is not None and agent_id is not None)
        found: list[Session] = []
        at, more = cursor, True
        for _ in range(_STEPS):
            # Where many may be passed over, large steps, and so many of them: a page can be short, and says where to go on.
            ids, at = await self._ids(index, at, max(limit, _STEP) if picky else limit)
            more = at is not None
            for session in await self._sessions(keys, ids):
                if not scope.may_use(session.space) or user_id not in {None, session.user_id}:
                    continue
                if agent_id is not None and agent_id not in session.agents:
                    continue
                found.append(session)
                if len(found) == limit:
                    at = f"{milliseconds(session.created_at)}:{encoded(session.session_id)}"
                    more = more or session.session_id != ids[-1]
                    break
            if not more or len(found) == limit:
                break
        return SessionPage(tuple(found), at if more else None)

    async def _sessions(self, keys: Keys, ids: Sequence[str]) -> list[Session]:
        """Those that are there, with their agents."""
        commands: list[tuple[Argument, ...]] = []
        for one in ids:
            commands += [("HGETALL", keys.part(one, "meta")), ("SMEMBERS", keys.part(one, "agents"))]
        answers = await self._scripts.redis.together(commands, atomic=False) if commands else []
        made = []
        for one, meta, agents in zip(ids, answers[::2], answers[1::2], strict=True):
            fields = pairs(meta)
            if fields:
                made.append(rows.session(one, fields, tuple(sorted(str_of(agent) for agent in list_of(agents)))))
        return made

    async def _ids(self, index: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        """Newest first; of equal times, in falling order of the encoded id. And the cursor, where there are more."""
        ties: list[tuple[bytes, int]] = []
        top = "+inf"
        if cursor is not None:
            score, _, member = cursor.partition(":")
            if not (score.isascii() and score.isdigit() and len(score) <= _DIGITS) or not member:
                raise InvalidRequest("cursor: not one that this service gave out")
            same = list_of(await self._scripts.redis.command("ZREVRANGEBYSCORE", index, score, score))
            ties = [(one, int(score)) for one in same if isinstance(one, bytes) and one < member.encode()]
            top = f"({score}"
        rest = list_of(
            await self._scripts.redis.command("ZREVRANGEBYSCORE", index, top, "-inf", "WITHSCORES", "LIMIT", 0, limit + 1)
        )
        scored = ties + [
            (one, int(float(str_of(at)))) for one, at in zip(rest[::2], rest[1::2], strict=True) if isinstance(one, bytes)
        ]
        page = scored[:limit]
        ids = [decoded(one) for one, _ in page]
        return ids, f"{page[-1][1]}:{page[-1][0].decode()}" if len(scored) > limit else None

    async def present(self, scope: Scope, session_ids: Sequence[str]) -> frozenset[str]:
        keys = Keys(scope.tenant_id)
        commands = [("EXISTS", keys.part(one, "meta")) for one in session_ids]
        answers = await self._scripts.redis.together(commands, atomic=False) if commands else []
        return frozenset(one for one, there in zip(session_ids, answers, strict=True) if there)

    async def waiting(self, scope: Scope, name: str, before: datetime, limit: int) -> Sequence[str]:
        index = Keys(scope.tenant_id).index(name)
        found = await self._scripts.redis.command("ZRANGEBYSCORE", index, "-inf", milliseconds(before), "LIMIT", 0, limit)
        return [decoded(one) for one in list_of(found) if isinstance(one, bytes)]

    async def postpone(self, scope: Scope, session_id: str, name: str, until: datetime) -> None:
        await self._scripts("postpone", scope, Target(session_id, until), [name, milliseconds(until)])

    async def reconsider(self, scope: Scope) -> None:
        index = Keys(scope.tenant_id).index("uncommitted")
        await self._scripts.redis.command("ZUNIONSTORE", index, 1, index, "WEIGHTS", 0)

    async def forget(self, scope: Scope, target: Target) -> None:
        await self._scripts("forget", scope, target)


def _version(meta: Reply) -> list[Reply]:
    """What every change makes another: revision and incarnation, from the whole hash."""
    flat = list_of(meta)
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return [fields.get(b"rev"), fields.get(b"inc")]


def _part(name: str, answer: Reply) -> Part:
    kind = _KINDS.get(name, "hash")
    if answer is None:
        return Part(name, kind, ())
    if kind == "string":
        return Part(name, kind, (str_of(answer),))
    if kind == "stream":
        values = []
        for one in list_of(answer):
            position, fields = list_of(one)
            values += [str_of(position).partition("-")[0], str_of(list_of(fields)[1])]
        return Part(name, kind, tuple(values))
    return Part(name, kind, tuple(str_of(one) for one in list_of(answer)))
