"""Whether this process can answer: what ``/readyz`` asks, which anybody may call as often as they like."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from memoryd.errors import ServiceError
from memoryd.models import Models
from memoryd.services import Check
from memoryd.stores.database import Database
from memoryd.stores.migrate import migrated
from memoryd.stores.redis import Redis

_FRESH_S = 1.0
_PATIENCE_S = 3.0
_DOES_NOT_RUN = "the model does not run"

Ping = Callable[[], Awaitable[object]]


class Recent:
    """An answer kept for a second; while it is being found out, all who ask wait for the one that is on its way."""

    def __init__(self, ask: Callable[[], Awaitable[Mapping[str, Check]]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._asking: asyncio.Task[Mapping[str, Check]] | None = None
        self._known_at = 0.0

    async def checks(self) -> Mapping[str, Check]:
        """What is known of the last second, or found out now."""
        asking = self._asking
        if asking is None or (asking.done() and self._clock() - self._known_at >= _FRESH_S):
            asking = self._asking = asyncio.create_task(self._found())
        # One that stops waiting must not take the answer from the others.
        return await asyncio.shield(asking)

    async def _found(self) -> Mapping[str, Check]:
        try:
            return await self._ask()
        finally:
            self._known_at = self._clock()


class Probes:
    """The stores and models of one API process."""

    def __init__(self, db: Database, redis: Redis | None, models: Models) -> None:
        self._db = db
        self._redis = redis
        self._models = models

    async def checks(self) -> Mapping[str, Check]:
        """PostgreSQL, its migrations and the embedder of this process are needed; recall goes on without Redis, without a
        reranker, and without an inference server."""
        postgres, schema, redis = await asyncio.gather(
            _probe(self._db.ping),
            _probe(partial(migrated, self._db)),
            _probe(self._redis.ping if self._redis else None),
        )
        models = self._models
        checks = {
            "postgresql": Check(postgres[0], True, postgres[1]),
            "schema": Check(schema[0], True, schema[1]),
            "redis": Check(redis[0], False, redis[1]),
            "embedder": Check(models.embeds, models.local, models.card.name if models.embeds else _DOES_NOT_RUN),
        }
        if models.has_reranker:
            checks["reranker"] = Check(models.reranks, False, "answers" if models.reranks else _DOES_NOT_RUN)
        return checks


async def _probe(ping: Ping | None) -> tuple[bool, str]:
    if ping is None:
        return False, "not configured"
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await ping()
            return True, "answers"  # versions are for `memoryd doctor`: anybody may ask for readiness
    except (ServiceError, TimeoutError) as error:
        return False, str(error) or "no answer in time"
