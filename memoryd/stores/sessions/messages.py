""":class:`memoryd.sessions.ports.MessageStore` on Redis: a stream a session, whose ids are the positions."""

from collections.abc import Mapping, Sequence

from pydantic_core import from_json

from memoryd.sessions.model import Appended, AutoCommit, Limits, NewMessage, Page, Placed, Stored
from memoryd.sessions.ports import End, Target
from memoryd.stores.redis import Reply
from memoryd.stores.sessions import rows
from memoryd.stores.sessions.scripts import Replay, Scripts, bytes_of, int_of, list_of, pairs, str_of
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
        agents = {message.agent_id for message in messages if message.agent_id}
        if target.incarnation and birth.agent_id:
            agents.add(birth.agent_id)
        told: list[str | int] = []
        for message in messages:
            told += [message.client_id or "", "1" if message.pinned else "0", message.payload]
        return await self._append(scope, target, sorted(agents), told)

    async def known(self, scope: Scope, target: Target, positions: Sequence[int]) -> Appended:
        told: list[str | int] = []
        for position in positions:
            told += ["", "at", position]
        return await self._append(scope, target, [], told)

    async def _append(self, scope: Scope, target: Target, names: Sequence[str], told: Sequence[str | int]) -> Appended:
        most = self._limits
        arguments = [most.messages, most.session_bytes, most.agents, BLOCK, len(names), *names, *told]
        users = [target.birth.user_id] if target.birth.user_id else []
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
        arguments = [after + 1, last, limit, _PAGE_BYTES, "back" if newest else "forth", "1" if renew else "0", "0"]
        return _page(target, await self._scripts("read", scope, target, arguments), newest=newest)

    async def positions(self, scope: Scope, target: Target, ids: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
        (found,) = await self._scripts("positions", scope, target, ids)
        told = zip(ids, map(str_of, list_of(found)), strict=True)
        return {one: tuple(map(int, every.split())) for one, every in told if every}

    async def end(self, scope: Scope, target: Target, *, limit: int, size: int) -> End:
        arguments: list[str | int] = [1, _END, limit, min(size, _PAGE_BYTES), "back", "1", "1"]
        *answer, pinned, summary = await self._scripts("read", scope, target, arguments)
        kept, entries = _entries(pinned), _entries(answer[3])
        held = sum(len(payload) for _, payload in (*kept, *entries)) + len(bytes_of(summary))
        return End(_page(target, answer, newest=True), _stored(kept), str_of(summary) or None, held)

    async def configure(self, scope: Scope, target: Target, *, ttl_s: int | None, auto: AutoCommit | None, clear: bool) -> None:
        try:
            await self._scripts("patch", scope, target, [ttl_s or "", "-" if clear else (auto or "")])
        except Replay:
            return


def _placed(flat: Sequence[int]) -> tuple[Placed, ...]:
    return tuple([Placed(position, created == 1) for position, created in zip(flat[::2], flat[1::2], strict=True)])


def _page(target: Target, answer: Sequence[Reply], *, newest: bool) -> Page:
    """From the script's first four answers."""
    meta, agents, more, entries = answer
    messages = _stored(_entries(entries))
    session = rows.session(target.session_id, pairs(meta), tuple(sorted(str_of(one) for one in list_of(agents))))
    return Page(session, messages[::-1] if newest else messages, more == 1)


def _entries(reply: Reply) -> list[tuple[int, bytes]]:
    """Positions and payloads."""
    return [(int_of(position), bytes_of(payload)) for position, payload in map(list_of, list_of(reply))]


def _stored(entries: Sequence[tuple[int, bytes]]) -> tuple[Stored, ...]:
    return tuple(Stored(position, from_json(payload)) for position, payload in entries)
