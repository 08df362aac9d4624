"""``memoryd worker``: the role that runs jobs and rounds of maintenance."""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from contextlib import suppress

import click

from memoryd.asked import Asked
from memoryd.embedded.readiness import signal_ready
from memoryd.garbage import spare_what_is_there
from memoryd.jobs.worker import create_worker
from memoryd.logs import configure
from memoryd.models import Models
from memoryd.session_wiring import round_interval_s
from memoryd.settings import Settings
from memoryd.stores.redis_cluster import is_cluster
from memoryd.wiring import open_jobs, open_maintenance, open_rebuild, open_session_rounds, open_worker_models
from retrieval.inference.rank import into_background

log = logging.getLogger("memoryd")

_NICENESS = 10


@click.command()
def worker() -> None:
    """Run jobs, maintenance, and sessions' snapshots, commits and summaries. Needs MEMORYD_DATABASE_URL and MEMORYD_REDIS_URL.

    It lowers its own priority (nice 10), and embeds where a core is idle (Linux), on half of its threads while MEMORYD_ASKED_FILE
    says that agents wait: on a small machine what they wait for goes first.
    """
    settings = Settings()
    configure(settings.log_level)
    if settings.redis_url is None:
        raise click.ClickException("set MEMORYD_REDIS_URL: the worker takes its jobs from Redis or Valkey")
    queue = (settings.jobs_redis_url or settings.redis_url).get_secret_value()
    if is_cluster(queue):
        raise click.ClickException("set MEMORYD_JOBS_REDIS_URL to a server that is no cluster: the worker's queue spans slots")
    asked = Asked(settings.asked_file) if settings.asked_file is not None else None
    into_background(_NICENESS, asked=asked.lately if asked is not None else None)
    _run(_work(settings, queue))


def _run(work: Coroutine[None, None, None]) -> None:
    """On the quicker loop where there is one: what a document needs of the database costs as much as a third of embedding it."""
    try:
        import uvloop
    except ImportError:  # not for Windows
        asyncio.run(work)
    else:
        uvloop.run(work)


async def _work(settings: Settings, redis_url: str) -> None:
    async with open_worker_models(settings) as models:
        await _serve(settings, redis_url, models)


async def _serve(settings: Settings, redis_url: str, models: Models) -> None:
    async def ready() -> None:
        spare_what_is_there()
        signal_ready()
        log.info("worker is ready")

    running = create_worker(
        lambda: open_maintenance(settings),
        redis_url,
        interval_s=settings.maintenance_interval_s,
        on_ready=ready,
        sessions=lambda: open_session_rounds(settings, models),
        sessions_interval_s=round_interval_s(settings),
        jobs=lambda: open_jobs(settings, models),
        sweep_interval_s=settings.jobs_sweep_interval_s,
        generations=lambda: open_rebuild(settings, models),
    )
    task = asyncio.ensure_future(running.main())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        with suppress(asyncio.CancelledError):
            await task
    finally:
        await running.close()
