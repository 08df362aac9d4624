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
        position = "0"
        while True:
            reply = await self._redis.command("SCAN", position, "MATCH", f"t:{{{tenant_id}}}:*", "COUNT", _STEP)
            if not isinstance(reply, list) or len(reply) != 2:  # the next position, and keys
                raise TypeError("SCAN answered something else")
            after, keys = reply
            found = [key for key in keys if isinstance(key, bytes)] if isinstance(keys, list) else []
            if found:
                await self._redis.command("UNLINK", *found)
            position = after.decode() if isinstance(after, bytes) else "0"
            if position == "0":
                return
