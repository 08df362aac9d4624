""":class:`memoryd.sessions.ports.EffectStore` on Redis: a hash in which the first write stays."""

import json

from memoryd.errors import NotFound
from memoryd.sessions.model import Effect, Limits, milliseconds, moment
from memoryd.sessions.ports import SessionGone, Target
from memoryd.stores.redis import Reply
from memoryd.stores.sessions.scripts import Scripts, str_of
from retrieval.scope import Scope


class RedisEffects:
    """Recorded results of steps."""

    def __init__(self, scripts: Scripts, limits: Limits) -> None:
        self._scripts = scripts
        self._limits = limits

    async def record(self, scope: Scope, target: Target, key: str, value: str) -> Effect:
        # The value is JSON already, and stays as it is.
        row = f"[{milliseconds(target.now)},{json.dumps(scope.principal)},{value}]"
        users = [target.birth.user_id] if target.birth.user_id else []
        kept, created = await self._scripts("effect_put", scope, target, [key, row, self._limits.session_bytes], users=users)
        return _effect(key, kept, created=created == 1)

    async def recorded(self, scope: Scope, target: Target, key: str) -> Effect | None:
        try:
            (kept,) = await self._scripts("effect_get", scope, target, [key])
        except SessionGone:
            raise
        except NotFound:
            return None
        return _effect(key, kept, created=False)


def _effect(key: str, kept: Reply, *, created: bool) -> Effect:
    at, principal, value = json.loads(str_of(kept))
    return Effect(key, value, moment(at), principal, created)
