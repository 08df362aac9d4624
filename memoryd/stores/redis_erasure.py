""":class:`memoryd.access.ports.Eraser` on Redis: every key of a tenant begins alike, see :mod:`memoryd.stores.sessions.keys`."""

from uuid import UUID

from memoryd.stores.redis import Redis

_STEP = 500


class RedisEraser:
    """Removes all keys of a tenant, a few hundred at a time: nobody else waits for it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def erase(self, tenant_id: UUID) -> None:
        """Raises ``WorkingMemoryUnavailable``; safe to repeat."""
        async for found in self._redis.scan(f"t:{{{tenant_id}}}:*", _STEP):
            if found:
                await self._redis.command("UNLINK", *found)
