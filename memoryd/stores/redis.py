"""The connection to Redis or Valkey. Every call has a timeout; nothing waits for a server that is gone."""

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from memoryd.errors import StoreUnavailable


class Redis:
    """A client of one server. Working memory and quotas will stand on it; today it carries jobs and readiness."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._client = aioredis.Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, health_check_interval=30
        )

    async def ping(self) -> str:
        """The server's version. Raises ``StoreUnavailable``."""
        try:
            info = await self._client.info("server")
        except (RedisError, OSError) as error:
            raise StoreUnavailable("Redis cannot be reached") from error
        name = "Valkey" if "valkey_version" in info else "Redis"
        return f"{name} {info.get('valkey_version') or info.get('redis_version')}"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
