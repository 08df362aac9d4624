"""``/mcp``: what stands before the Model Context Protocol's endpoint, and what it says of itself."""

from collections.abc import Callable

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from memoryd.errors import Forbidden, Unauthenticated
from memoryd.http.problems import error_response
from memoryd.mcp.doors import PATH, WELL_KNOWN, Doors

router = APIRouter(include_in_schema=False)


@router.get(WELL_KNOWN)
@router.get(WELL_KNOWN + PATH)
async def protected_resource(request: Request) -> JSONResponse:
    """RFC 9728. No ``authorization_servers``: keys are made here, by an admin, and tokens of others are not taken."""
    doors: Doors = request.app.state.services.doors
    host = _known_host(doors, request.headers)
    return JSONResponse(
        {
            "resource": doors.resource(request.url.scheme, host),
            "resource_name": "memoryd",
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["read", "write", "delete"],
        }
    )


class Door:
    """Checks who is at the door before the caller's key is looked at; tells those without one where to read about keys."""

    def __init__(self, app: ASGIApp, *, doors: Callable[[], Doors]) -> None:
        self._app = app
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope.get("path") != PATH:
            await self._app(scope, receive, send)
            return
        headers, doors = Headers(scope=scope), self._doors()
        host = _known_host(doors, headers)
        if not doors.admits_origin(headers.get("origin"), host):
            raise Forbidden("pages of this origin may not ask; name it in MEMORYD_MCP_ALLOWED_ORIGINS to let them")
        try:
            await self._app(scope, receive, send)
        except Unauthenticated as error:
            response = error_response(scope["state"]["request_id"], error)
            response.headers["WWW-Authenticate"] = f'Bearer resource_metadata="{doors.metadata(scope["scheme"], host)}"'
            await response(scope, receive, send)


class Endpoint:
    """The route: hands the request to the one that the lifespan opened."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app.state.mcp.handle_request(scope, receive, send)


def install(app: FastAPI) -> None:
    """Add the routes. Without sessions there is nothing to listen for or to end: only POST."""
    app.include_router(router)
    app.router.routes.append(Route(PATH, Endpoint(app), methods=["POST"], include_in_schema=False))


def _known_host(doors: Doors, headers: Headers) -> str:
    host = headers.get("host", "")
    if not doors.knows_host(host):
        raise Forbidden("this server does not answer to that Host; name it in MEMORYD_MCP_ALLOWED_HOSTS if it should")
    return host
