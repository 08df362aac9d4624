"""The REST application."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from memoryd import __version__
from memoryd.asked import Asked
from memoryd.http import (
    admin,
    generations,
    health,
    jobs,
    knowledge,
    knowledge_documents,
    knowledge_search,
    mcp,
    memories,
    operator,
    page,
    problems,
    recall,
    session_life,
    sessions,
)
from memoryd.http.document import Documented
from memoryd.http.express import Express
from memoryd.http.middleware import Authentication, Bounds, Envelope
from memoryd.mcp.endpoint import open_endpoint
from memoryd.services import Services

_DESCRIPTION = """\
Memory for AI agents: remember, recall, and pack context within a token budget.

Errors are RFC 9457 problems with a stable `code`. Writes take an `Idempotency-Key`; lists take a `cursor`.
"""


class _Application(Documented):
    """The envelope is outermost, and answers every error: what the framework has around it would only look at each request."""

    def build_middleware_stack(self) -> ASGIApp:
        stack: Any = super().build_middleware_stack()
        while not isinstance(stack, Envelope):
            stack = stack.app
        return stack


Running = Callable[[], AbstractAsyncContextManager[Services]]


def create_app(
    running: Running,
    *,
    max_body_bytes: int,
    request_timeout_s: float,
    max_upload_bytes: int = 2**30,
    upload_timeout_s: float = 3600.0,
    asked: Asked | None = None,
) -> FastAPI:
    """The application. ``running`` opens the services when the server starts, and closes them when it stops. ``asked`` is told
    when somebody waits for an answer."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running() as services, open_endpoint(services) as endpoint:
            app.state.services, app.state.mcp = services, endpoint
            yield

    app = _Application(
        title="memoryd",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's loads scripts that nobody checks
        redoc_url=None,
        redirect_slashes=False,
        # The framework's own would send out what callers wrote: messages of errors, and paths.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    parts = (memories, recall, sessions, session_life, knowledge, knowledge_documents, knowledge_search, jobs)
    for part in (*parts, generations, admin, operator, health, page):
        app.include_router(part.router)
    mcp.install(app)
    problems.install(app)
    # Added last runs first: the envelope is around everything.
    app.add_middleware(Express, services=lambda: app.state.services)
    app.add_middleware(
        Authentication,
        authenticator=lambda: app.state.services.authenticator,
        operator_key=lambda: app.state.services.operator_key,
        asked=asked,
    )
    app.add_middleware(mcp.Door, doors=lambda: app.state.services.doors)
    app.add_middleware(Envelope, bounds=Bounds(max_body_bytes, request_timeout_s, max_upload_bytes, upload_timeout_s))
    return app


def end_streams(app: FastAPI) -> None:
    """Whoever listens to events is to come again: the process is about to stop. Nothing where it has not begun."""
    services: Services | None = getattr(app.state, "services", None)
    if services is not None:
        services.end_streams()
