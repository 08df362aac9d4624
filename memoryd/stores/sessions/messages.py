""":class:`memoryd.sessions.ports.MessageStore` on Redis: a stream a session, whose ids are the positions."""

import json
from collections.abc import Sequence

from memoryd.sessions.model import Appended, AutoCommit, Limits, NewMessage, Page, Placed, Stored
from memoryd.sessions.ports import Target
from memoryd.sessions.ranges import Ranges, contains
from memoryd.stores.redis import Reply
from memoryd.stores.sessions import rows
from memoryd.stores.sessions.keys import Keys
from memoryd.stores.sessions.scripts import Replay, Scripts, int_of, list_of, pairs, str_of
from retrieval.scope import Scope

BLOCK = 8
"""A session is summarised whenever so many messages have come."""
_END = 2**52
# A page larger than this is cut short, and says that there is more.
_PAGE_BYTES = 2 * 2**20


class RedisMessages:
    """Messages, in the order of one atomic script each append."""

    def __init__(self, scripts: Scripts, limits: Limits) -> None:
        self._scripts = scripts
        self._limits = limits

    async def append(self, scope: Scope, target: Target, messages: Sequence[NewMessage]) -> Appended:
        birth = target.birth
        agents = {message.agent_id for message in messages} | {birth.agent_id if target.incarnation else None}
        names = sorted(agent for agent in agents if agent)
        most = self._limits
        arguments: list[str | int] = [most.messages, most.session_bytes, most.agents, BLOCK, len(names), *names]
        for message in messages:
            arguments += [message.client_id or "", "1" if message.pinned else "0", message.payload]
        users = [birth.user_id] if birth.user_id else []
        try:
            head, origin, placed = await self._scripts("append", scope, target, arguments, users=users, agents=names)
        except Replay as replay:
            # What came after it is not ours to tell: the same request is answered the same.
            flat = replay.numbers()
            return Appended(max(flat[::2]), _placed(flat), None)
        return Appended(int_of(head), _placed([int_of(one) for one in list_of(placed)]), rows.restored(str_of(origin)))

    async def read(
        self, scope: Scope, target: Target, *, after: int, before: int | None, limit: int, newest: bool, renew: bool
    ) -> Page:
        last = _END if before is None else before - 1
        arguments = [after + 1, last, limit, _PAGE_BYTES, "back" if newest else "forth", "1" if renew else "0"]
        meta, agents, more, entries = await self._scripts("read", scope, target, arguments)
        messages = [_stored(*list_of(one)) for one in list_of(entries)]
        if newest:
            messages.reverse()
        session = rows.session(target.session_id, pairs(meta), tuple(sorted(str_of(one) for one in list_of(agents))))
        return Page(session, tuple(messages), more == 1)

    async def pinned(self, scope: Scope, target: Target, visible: Ranges) -> tuple[Stored, ...]:
        keys = Keys(scope.tenant_id)
        found = await self._scripts.redis.command("ZRANGE", keys.part(target.session_id, "pins"), 0, -1)
        positions = [one for one in map(int_of, list_of(found)) if contains(visible, one)]
        stream = keys.part(target.session_id, "messages")
        reads = [("XRANGE", stream, f"{position}-0", f"{position}-0") for position in positions]
        answers = await self._scripts.redis.together(reads, atomic=False) if reads else []
        messages = []
        for position, answer in zip(positions, answers, strict=True):
            messages += [_stored(position, list_of(list_of(one)[1])[1]) for one in list_of(answer)]
        return tuple(messages)

    async def configure(self, scope: Scope, target: Target, *, ttl_s: int | None, auto: AutoCommit | None, clear: bool) -> None:
        try:
            await self._scripts("patch", scope, target, [ttl_s or "", "-" if clear else (auto or "")])
        except Replay:
            return


def _placed(flat: Sequence[int]) -> tuple[Placed, ...]:
    return tuple(Placed(position, created == 1) for position, created in zip(flat[::2], flat[1::2], strict=True))


def _stored(position: Reply, payload: Reply) -> Stored:
    return Stored(int_of(position), json.loads(str_of(payload)))
