""":class:`memoryd.sessions.ports.StateStore` on Redis: a hash whose values begin with their version."""

from memoryd.sessions.model import Entry, Expected, Limits
from memoryd.sessions.ports import Target
from memoryd.stores.sessions import rows
from memoryd.stores.sessions.scripts import Replay, Scripts, int_of, list_of, str_of
from retrieval.scope import Scope


class RedisState:
    """Versioned keys with compare-and-set."""

    def __init__(self, scripts: Scripts, limits: Limits) -> None:
        self._scripts = scripts
        self._limits = limits

    async def put(self, scope: Scope, target: Target, key: str, value: str, expected: Expected) -> tuple[int, bool]:
        condition: str | int = "" if expected.version is None else expected.version
        if expected.absent or expected.present:
            condition = "absent" if expected.absent else "present"
        users = [target.birth.user_id] if target.birth.user_id else []
        arguments = [key, value, condition, self._limits.state_bytes, self._limits.state_keys]
        try:
            version, made = await self._scripts("state_put", scope, target, arguments, users=users)
        except Replay as replay:
            earlier, _, first = replay.answer.partition(":")
            return int(earlier), first == "1"
        return int_of(version), made == 1

    async def get(self, scope: Scope, target: Target, key: str | None) -> list[Entry]:
        (found,) = await self._scripts("state_get", scope, target, [key or ""])
        return list(rows.entries([str_of(one) for one in list_of(found)]))

    async def delete(self, scope: Scope, target: Target, key: str, version: int | None) -> None:
        try:
            await self._scripts("state_delete", scope, target, [key, "" if version is None else version])
        except Replay:
            return
