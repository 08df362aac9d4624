""":class:`memoryd.sessions.ports.ProgressStore` on Redis."""

from dataclasses import replace

from memoryd.sessions.model import Session
from memoryd.sessions.ports import Changed, Target
from memoryd.sessions.ranges import Ranges, dump
from memoryd.stores.sessions.keys import Keys
from memoryd.stores.sessions.scripts import Scripts, str_of
from retrieval.scope import Scope


class RedisProgress:
    """What was committed and summarised."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def commit(self, scope: Scope, target: Target, session: Session, committed: Ranges) -> bool:
        arguments: list[str | int] = [dump(session.committed), dump(committed), session.head, dump(session.visible)]
        try:
            await self._scripts("committed", scope, _same(target, session), arguments)
        except Changed:
            return False
        return True

    async def summary(self, scope: Scope, target: Target) -> str | None:
        found = await self._scripts.redis.command("GET", Keys(scope.tenant_id).part(target.session_id, "summary"))
        return None if found is None else str_of(found)

    async def summarise(self, scope: Scope, target: Target, session: Session, text: str, *, last: bool) -> bool:
        arguments: list[str | int] = [dump(session.visible), session.head, text, "1" if last else "0"]
        try:
            await self._scripts("summary_put", scope, _same(target, session), arguments)
        except Changed:
            return False
        return True


def _same(target: Target, session: Session) -> Target:
    """This very session, not the next of its name."""
    return replace(target, incarnation=session.incarnation)
