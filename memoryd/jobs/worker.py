"""The worker role on arq: rounds of maintenance, and three of sessions, each a cron job. Payloads are JSON, never pickle."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from operator import methodcaller
from typing import Any
from uuid import UUID

from arq.connections import RedisSettings
from arq.cron import CronJob, cron
from arq.typing import WorkerCoroutine
from arq.worker import func

from memoryd.generations.rebuild import Rebuild
from memoryd.jobs.courier import QUEUE, RUN_JOB, encode
from memoryd.jobs.lasting import LastingWorker
from memoryd.jobs.maintenance import Maintenance
from memoryd.jobs.work import JobWork
from memoryd.sessions.rounds import SessionRounds

_COLLECT_INTERVAL_S = 60
_GENERATIONS_INTERVAL_S = 2
# How often the queue is looked at without news: for what is due later, and for rounds.
_POLL_S = 0.5

Running = Callable[[], AbstractAsyncContextManager[Maintenance]]
SessionsRunning = Callable[[], AbstractAsyncContextManager[SessionRounds]]


JobsRunning = Callable[[], AbstractAsyncContextManager[JobWork]]
GenerationsRunning = Callable[[], AbstractAsyncContextManager[Rebuild]]


def create_worker(
    running: Running,
    redis_url: str,
    *,
    interval_s: int,
    on_ready: Callable[[], Awaitable[None]],
    sessions: SessionsRunning | None = None,
    sessions_interval_s: int = 15,
    jobs: JobsRunning | None = None,
    sweep_interval_s: int = 5,
    generations: GenerationsRunning | None = None,
) -> LastingWorker:
    """A worker that opens its services with ``running``, once; ``await worker.main()`` serves until it is cancelled.

    ``sessions`` opens those of the rounds over working memory, which run beside the others; ``jobs`` what works on jobs,
    ``generations`` what re-embeds.
    """
    opened: list[AbstractAsyncContextManager[object]] = []

    async def startup(ctx: dict[Any, Any]) -> None:
        manager = running()
        ctx["maintenance"] = await manager.__aenter__()
        opened.append(manager)
        if sessions is not None:
            rounds = sessions()
            ctx["sessions"] = await rounds.__aenter__()
            opened.append(rounds)
        if jobs is not None:
            work = jobs()
            ctx["jobs"] = await work.__aenter__()
            opened.append(work)
        if generations is not None:
            rebuilding = generations()
            ctx["generations"] = await rebuilding.__aenter__()
            opened.append(rebuilding)
        await on_ready()

    async def shutdown(ctx: dict[Any, Any]) -> None:
        while opened:
            await opened.pop().__aexit__(None, None, None)

    rounds = [_job("maintain", _alone("maintenance", methodcaller("run")), interval_s)]
    if sessions is not None:
        # Apart from each other: a language model that takes minutes for a summary must not hold up snapshots.
        apart = ("save", "tend", "summarise")
        rounds += [_job(f"sessions_{one}", _alone("sessions", methodcaller(one)), sessions_interval_s) for one in apart]
    if jobs is not None:
        rounds.append(_job("jobs_sweep", _alone("jobs", methodcaller("sweep")), sweep_interval_s))
        rounds.append(_job("versions_collect", _alone("jobs", methodcaller("collect")), _COLLECT_INTERVAL_S))
    if generations is not None:
        rounds.append(_job("generations", _alone("generations", methodcaller("run")), _GENERATIONS_INTERVAL_S))
    return LastingWorker(
        functions=[func(run_job, name=RUN_JOB, max_tries=1)],
        cron_jobs=rounds,
        redis_settings=_settings(redis_url),
        queue_name=QUEUE,
        poll_delay=_POLL_S,
        on_startup=startup,
        on_shutdown=shutdown,
        handle_signals=False,
        job_serializer=encode,
        job_deserializer=json.loads,
        keep_result=0,
        log_results=False,
    )


async def run_job(ctx: dict[Any, Any], tenant_id: str, job_id: str) -> None:
    """A reminder: a slot of this worker will look what the tenant has to do. It works on the job apart from the queue, so that
    the order of messages decides nothing. A worker without slots passes it over."""
    if "jobs" in ctx:
        ctx["jobs"].remind(UUID(tenant_id))


def _alone(service: str, work: Callable[[Any], Awaitable[object]]) -> WorkerCoroutine:
    """A job that does ``work`` of a service that startup opened, unless it still does from the last time.

    A large load takes longer to index than the interval; a second round beside the first would only take a second core.
    """
    running = asyncio.Lock()

    async def run(ctx: dict[Any, Any], *_args: object, **_kwargs: object) -> None:
        if running.locked():
            return
        async with running:
            await work(ctx[service])

    return run


def _job(name: str, work: WorkerCoroutine, interval_s: int) -> CronJob:
    minutes, seconds = clock_times(interval_s)
    return cron(work, name=name, minute=minutes, second=seconds, unique=True, run_at_startup=True, timeout=3600, max_tries=1)


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
