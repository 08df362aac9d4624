"""The REST application."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI

from memoryd import __version__
from memoryd.http import admin, health, memories, problems, recall
from memoryd.http.document import Documented
from memoryd.http.middleware import Authentication, Envelope
from memoryd.services import Services

_DESCRIPTION = """\
Memory for AI agents: remember, recall, and pack context within a token budget.

Errors are RFC 9457 problems with a stable `code`. Writes take an `Idempotency-Key`; lists take a `cursor`.
"""

Running = Callable[[], AbstractAsyncContextManager[Services]]


def create_app(running: Running, *, max_body_bytes: int, request_timeout_s: float) -> FastAPI:
    """The application. ``running`` opens the services when the server starts, and closes them when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running() as services:
            app.state.services = services
            yield

    app = Documented(
        title="memoryd",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    for router in (memories.router, recall.router, admin.router, admin.operator_router, health.router):
        app.include_router(router)
    problems.install(app)
    # Added last runs first: the envelope is around everything.
    app.add_middleware(
        Authentication,
        authenticator=lambda: app.state.services.authenticator,
        operator_key=lambda: app.state.services.operator_key,
    )
    app.add_middleware(Envelope, max_body_bytes=max_body_bytes, timeout_s=request_timeout_s)
    return app
