"""``memoryd api``: the role that serves REST and MCP."""

import socket
from collections.abc import Callable
from functools import partial

import click
import uvicorn

from memoryd.asked import Asked
from memoryd.embedded.ports import listen
from memoryd.embedded.readiness import inherited_listener, signal_draining, signal_ready
from memoryd.garbage import spare_what_is_there
from memoryd.http.app import create_app, end_streams
from memoryd.http.connections import bounded
from memoryd.logs import configure
from memoryd.settings import Settings
from memoryd.wiring import open_services

_GRACE_S = 3


class Server(uvicorn.Server):
    """Tells a supervisor when requests may come, and when they may not any more; and does not wait for those who listen."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            spare_what_is_there()
            signal_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        signal_draining()
        self._end_streams()
        await super().shutdown(sockets)


@click.command()
@click.option("--host", default=None, help="Address to listen on (MEMORYD_HOST).")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port (MEMORYD_PORT).")
def api(host: str | None, port: int | None) -> None:
    """Serve REST and MCP. Needs MEMORYD_DATABASE_URL and MEMORYD_HANDLE_SECRET."""
    settings = Settings()
    configure(settings.log_level)
    app = create_app(
        lambda: open_services(settings),
        max_body_bytes=settings.max_body_bytes,
        request_timeout_s=settings.request_timeout_s,
        max_upload_bytes=settings.max_upload_bytes,
        upload_timeout_s=settings.upload_timeout_s,
        asked=Asked(settings.asked_file) if settings.asked_file is not None else None,
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
    Server(config, partial(end_streams, app)).run(sockets=[listener])
