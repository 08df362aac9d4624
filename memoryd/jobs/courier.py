"""Reminders to workers, over arq. They are JSON, carry two ids, and may be lost: the sweeper finds what they were about."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from arq.connections import ArqRedis, RedisSettings, create_pool

QUEUE = "memoryd:jobs"
RUN_JOB = "run_job"
ALIVE = "memoryd:worker"
"""A key that the queue's server has while there is a worker, and for a minute after the last of them."""

NEWS = "memoryd:news"
"""A list that grows by one for each reminder, so that a worker that waits for the next looks at the queue at once."""

_REACHED = "memoryd:reached"

log = logging.getLogger(__name__)

# arq keeps the name of a message that its worker died of from being used again, for an hour here.
_NAME_S = 60
# What nobody waits for is dropped: no more news than workers could be waiting.
_MOST_NEWS = 64


def encode(job: dict[str, object]) -> bytes:
    """How arq's messages look: JSON, never pickle."""
    return json.dumps(job).encode()


class ArqCourier:
    """:class:`memoryd.jobs.ports.Courier` on Redis. It connects when it first has something to carry, and for as long as that
    fails it answers false within ``timeout_s``."""

    def __init__(self, url: str, *, timeout_s: float, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._clock = clock
        self._timeout_s = timeout_s
        self._pool: ArqRedis | None = None
        self._connecting = asyncio.Lock()

    async def enqueue(self, tenant_id: UUID, job_id: UUID, delay_s: float = 0.0) -> bool:
        """Remind a worker, once a minute for reminders that wait at the same time; a delayed one does not stand in for one at
        once."""
        name = f"{tenant_id}:{job_id}:{int(self._clock()) // _NAME_S}" + (":later" if delay_s > 0 else "")
        try:
            async with asyncio.timeout(self._timeout_s):
                pool = await self._connected()
                await pool.enqueue_job(RUN_JOB, str(tenant_id), str(job_id), _job_id=name, _defer_by=delay_s or None)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the courier, the ledger has the job
            log.warning("no reminder of job %s: %s", job_id, type(error).__name__)
            return False
        if delay_s <= 0:
            await self._tell(pool)
        return True

    async def _tell(self, pool: ArqRedis) -> None:
        try:
            async with asyncio.timeout(self._timeout_s), pool.pipeline() as pipe:
                pipe.rpush(NEWS, b"1")
                pipe.ltrim(NEWS, -_MOST_NEWS, -1)
                pipe.expire(NEWS, _NAME_S)
                await pipe.execute()
        except Exception as error:  # noqa: BLE001 - the reminder is there, and found a little later
            log.info("no worker was told of a reminder: %s", type(error).__name__)

    async def reachable(self) -> bool:
        """Its server takes something within ``timeout_s``: one whose memory is full answers, and carries nothing."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await (await self._connected()).set(_REACHED, b"1", ex=_NAME_S)
        except Exception:  # noqa: BLE001 - whatever is wrong with it
            return False
        return True

    async def close(self) -> None:
        """Give its connections back."""
        if self._pool is not None:
            await self._pool.aclose()

    async def _connected(self) -> ArqRedis:
        async with self._connecting:
            if self._pool is None:
                settings = replace(RedisSettings.from_dsn(self._url), conn_timeout=max(1, int(self._timeout_s)), conn_retries=0)
                self._pool = await create_pool(
                    settings, job_serializer=encode, job_deserializer=json.loads, default_queue_name=QUEUE
                )
            return self._pool


class NoCourier:
    """Of an installation without Redis, or with a cluster and no server for the queue: the sweeper finds every job."""

    async def enqueue(self, tenant_id: UUID, job_id: UUID, delay_s: float = 0.0) -> bool:
        """Always false."""
        return False

    async def reachable(self) -> bool:
        """Never."""
        return False
