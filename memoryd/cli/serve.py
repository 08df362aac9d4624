"""The roles of an installation on external stores, and the migration that comes before them."""

import asyncio
import logging
import os
import signal
import socket
from contextlib import suppress

import click
import uvicorn

from memoryd.embedded.ports import listen
from memoryd.embedded.readiness import inherited_listener, signal_draining, signal_ready
from memoryd.http.app import create_app
from memoryd.http.connections import bounded
from memoryd.jobs.worker import create_worker
from memoryd.logs import configure
from memoryd.models import Models
from memoryd.session_wiring import round_interval_s
from memoryd.settings import Settings
from memoryd.stores.redis_cluster import is_cluster
from memoryd.wiring import (
    open_jobs,
    open_maintenance,
    open_rebuild,
    open_services,
    open_session_rounds,
    open_worker_models,
    prepare_database,
)

log = logging.getLogger("memoryd")

_GRACE_S = 3
_NICENESS = 10


class _Server(uvicorn.Server):
    """Tells a supervisor when requests may come, and when they may not any more."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            signal_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        signal_draining()
        await super().shutdown(sockets)


@click.command()
@click.option("--host", default=None, help="Address to listen on (MEMORYD_HOST).")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port (MEMORYD_PORT).")
def api(host: str | None, port: int | None) -> None:
    """Serve REST. Needs MEMORYD_DATABASE_URL and MEMORYD_HANDLE_SECRET."""
    settings = Settings()
    configure(settings.log_level)
    app = create_app(
        lambda: open_services(settings),
        max_body_bytes=settings.max_body_bytes,
        request_timeout_s=settings.request_timeout_s,
        max_upload_bytes=settings.max_upload_bytes,
        upload_timeout_s=settings.upload_timeout_s,
    )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # ours has the request id, and never a path's content
        server_header=False,
        http=bounded(settings.max_connections),
        ws="none",
        timeout_graceful_shutdown=_GRACE_S,
    )
    listener = inherited_listener() or listen(host or settings.host, settings.port if port is None else port)
    _Server(config).run(sockets=[listener])


@click.command()
def worker() -> None:
    """Run jobs: maintenance, and sessions' snapshots, commits and summaries. Needs MEMORYD_DATABASE_URL and MEMORYD_REDIS_URL.

    It lowers its own priority (nice 10): on a small machine what agents wait for goes first.
    """
    settings = Settings()
    configure(settings.log_level)
    os.nice(_NICENESS)
    if settings.redis_url is None:
        raise click.ClickException("set MEMORYD_REDIS_URL: the worker takes its jobs from Redis or Valkey")
    queue = (settings.jobs_redis_url or settings.redis_url).get_secret_value()
    if is_cluster(queue):
        raise click.ClickException("set MEMORYD_JOBS_REDIS_URL to a server that is no cluster: the worker's queue spans slots")
    asyncio.run(_work(settings, queue))


async def _work(settings: Settings, redis_url: str) -> None:
    async with open_worker_models(settings) as models:
        await _serve(settings, redis_url, models)


async def _serve(settings: Settings, redis_url: str, models: Models) -> None:
    async def ready() -> None:
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


@click.command()
def migrate() -> None:
    """Bring the database to this version. Needs MEMORYD_OWNER_DATABASE_URL; safe to repeat."""
    settings = Settings()
    applied = prepare_database(settings)
    click.echo(f"applied {', '.join(applied)}" if applied else "nothing to apply")
