""":class:`memoryd.sessions.events.Waiter` on Redis: blocking reads, on connections of their own."""

from memoryd.sessions.model import Session, milliseconds
from memoryd.stores.redis import Redis
from memoryd.stores.sessions.keys import WAKE, Keys
from retrieval.scope import Scope


class RedisWaiter:
    """``redis`` must have a timeout above the longest wait, and a connection for each stream."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def wait(self, scope: Scope, session: Session, after: int, seconds: float) -> None:
        keys = Keys(scope.tenant_id)
        messages, wake = (keys.part(session.session_id, part) for part in ("messages", WAKE))
        known = f"{milliseconds(session.created_at)}-{session.restores}"
        ids = (f"{after}-0", known)
        block = max(1, round(seconds * 1000))
        await self._redis.command("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", messages, wake, *ids, key=messages)
