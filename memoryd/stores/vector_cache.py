""":class:`retrieval.inference.cached.VectorCache` on Redis: a bounded number of vectors for each tenant, oldest use out first.

Keys begin as all of a tenant's do, ``t:{tenant}:``, so no two tenants meet and erasing the tenant erases them.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from uuid import UUID

from redis.exceptions import RedisError

from memoryd.errors import StoreUnavailable
from memoryd.stores.redis import Argument, Redis, Script

log = logging.getLogger(__name__)

_PATIENCE_S: Final = 0.1
"""Embedding a question takes a tenth of that: a cache that is slower is none."""
_REST_S: Final = 5.0
_PREFIX: Final = "vec:"

# KEYS: the index, then one key for each vector. ARGV: now.
_GET = Script.of(
    "vectors_get",
    """
local found = {}
for n = 2, #KEYS do
    found[n - 1] = redis.call('GET', KEYS[n])
    if found[n - 1] then redis.call('ZADD', KEYS[1], 'XX', ARGV[1], KEYS[n]) end
end
return found
""",
)
# KEYS: the index, then one key for each vector. ARGV: now, seconds to live, most vectors, then the vectors.
# What is pushed out is deleted by its name in the index: it has the same hash tag as the others, thus lies on the same server.
_PUT = Script.of(
    "vectors_put",
    """
for n = 2, #KEYS do
    redis.call('SET', KEYS[n], ARGV[n + 2], 'EX', ARGV[2])
    redis.call('ZADD', KEYS[1], ARGV[1], KEYS[n])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1] - ARGV[2])
local over = redis.call('ZCARD', KEYS[1]) - ARGV[3]
if over > 0 then
    for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, over - 1)) do redis.call('UNLINK', key) end
    redis.call('ZREMRANGEBYRANK', KEYS[1], 0, over - 1)
end
return 0
""",
)


class RedisVectorCache:
    """At most ``entries`` vectors of a tenant, for ``ttl_s`` after each was stored.

    After a failure it is left alone for some seconds: a frozen Redis must not delay every question.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        entries: int,
        ttl_s: int,
        clock: Callable[[], float] = time.time,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._redis = redis
        self._entries = entries
        self._ttl_s = ttl_s
        self._clock = clock
        self._patience_s = patience_s
        self._resting_until = 0.0

    async def get(self, owner: UUID, keys: Sequence[str]) -> Sequence[bytes | None]:
        """What is there; nothing when Redis does not answer at once."""
        reply = await self._run(_GET, _keys(owner, keys), [self._clock()])
        found = [one if isinstance(one, bytes) else None for one in reply]
        return found if len(found) == len(keys) else [None] * len(keys)

    async def put(self, owner: UUID, found: Mapping[str, bytes]) -> None:
        """Keep these, at most as many as there may be."""
        kept = list(found)[: self._entries]
        arguments: list[Argument] = [self._clock(), self._ttl_s, self._entries, *(found[key] for key in kept)]
        await self._run(_PUT, _keys(owner, kept), arguments)

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Sequence[object]:
        if self._clock() < self._resting_until:
            return ()
        try:
            async with asyncio.timeout(self._patience_s):
                return await self._redis.run(script, keys, arguments)
        except (StoreUnavailable, RedisError, TimeoutError) as error:
            self._resting_until = self._clock() + _REST_S
            log.warning("the cache of vectors is left alone for %.0f s: %s", _REST_S, type(error).__name__)
            return ()


def _keys(owner: UUID, keys: Sequence[str]) -> list[str]:
    tenant = f"t:{{{owner}}}:"
    return [f"{tenant}i:vectors", *(f"{tenant}{_PREFIX}{key}" for key in keys)]
