"""The worker role on arq: one cron job now, one queue for what later issues enqueue. Payloads are JSON, never pickle."""

import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from arq.connections import RedisSettings
from arq.cron import cron
from arq.worker import Worker

from memoryd.jobs.maintenance import Maintenance

QUEUE = "memoryd:jobs"

Running = Callable[[], AbstractAsyncContextManager[Maintenance]]


def create_worker(running: Running, redis_url: str, *, interval_s: int, on_ready: Callable[[], Awaitable[None]]) -> Worker:
    """A worker that opens its services with ``running``; ``await worker.main()`` serves until it is cancelled."""
    opened: list[AbstractAsyncContextManager[Maintenance]] = []

    async def startup(ctx: dict[Any, Any]) -> None:
        manager = running()
        ctx["maintenance"] = await manager.__aenter__()
        opened.append(manager)
        await on_ready()

    async def shutdown(ctx: dict[Any, Any]) -> None:
        while opened:
            await opened.pop().__aexit__(None, None, None)

    async def maintain(ctx: dict[Any, Any], *_args: object, **_kwargs: object) -> None:
        maintenance = ctx["maintenance"]
        assert isinstance(maintenance, Maintenance)  # noqa: S101 - put there by startup
        await maintenance.run()

    seconds = set(range(0, 60, min(interval_s, 60)))
    return Worker(
        cron_jobs=[cron(maintain, name="maintain", second=seconds, unique=True, run_at_startup=True, timeout=3600, max_tries=1)],
        redis_settings=_settings(redis_url),
        queue_name=QUEUE,
        on_startup=startup,
        on_shutdown=shutdown,
        handle_signals=False,
        job_serializer=lambda job: json.dumps(job).encode(),
        job_deserializer=json.loads,
        keep_result=0,
        log_results=False,
    )


def _settings(url: str) -> RedisSettings:
    settings = RedisSettings.from_dsn(url)
    settings.conn_timeout = 5
    settings.conn_retries = 60
    return settings
