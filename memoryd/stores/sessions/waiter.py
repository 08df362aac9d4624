""":class:`memoryd.sessions.events.Waiter` on Redis: blocking reads, on connections of their own."""

from memoryd.stores.redis import Redis
from memoryd.stores.sessions.keys import Keys
from retrieval.scope import Scope


class RedisWaiter:
    """``redis`` must have a timeout above the longest wait, and a connection for each stream."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def wait(self, scope: Scope, session_id: str, after: int, seconds: float) -> None:
        key = Keys(scope.tenant_id).part(session_id, "messages")
        milliseconds = max(1, round(seconds * 1000))
        await self._redis.command("XREAD", "COUNT", 1, "BLOCK", milliseconds, "STREAMS", key, f"{after}-0", key=key)
