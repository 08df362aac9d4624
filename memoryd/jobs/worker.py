"""The worker role on arq: one cron job now, one queue for what later issues enqueue. Payloads are JSON, never pickle."""

import json
import math
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

    minutes, seconds = clock_times(interval_s)
    return Worker(
        cron_jobs=[
            cron(
                maintain,
                name="maintain",
                minute=minutes,
                second=seconds,
                unique=True,
                run_at_startup=True,
                timeout=3600,
                max_tries=1,
            )
        ],
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


def clock_times(interval_s: int) -> tuple[set[int] | None, set[int]]:
    """The minutes (``None``: all) and seconds of rounds: cron knows times of the clock, not pauses.

    Below a minute by seconds, from there on by whole minutes.
    """
    if interval_s < 60:
        return None, set(range(0, 60, interval_s))
    return set(range(0, 60, math.ceil(interval_s / 60))), {0}


def _settings(url: str) -> RedisSettings:
    settings = RedisSettings.from_dsn(url)
    settings.conn_timeout = 5
    settings.conn_retries = 60
    return settings
