"""Around every request: its id, its limits, its time, its credential, one line in the log. Plain ASGI."""

import hmac
import logging
import re
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memoryd.access.authenticate import Authenticator
from memoryd.allowance import Allowance
from memoryd.asked import Asked
from memoryd.errors import DeadlineExceeded, MalformedPath, PayloadTooLarge, Unauthenticated
from memoryd.http.problems import error_response, problem_response
from memoryd.ids import uuid7_text
from retrieval.errors import MemorydError

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_GENERATIONS = re.compile(r"/v1/generations(/|$)")
_MCP_PATH = "/mcp"
# The SDK reads it on the event loop. The longest text that a tool takes is 200,000 characters.
_MCP_BODY_BYTES = 2 * 2**20
# These spool what they read to disk, and write it to object storage in pieces.
_UPLOADS = re.compile(r"/v1/knowledge-bases/[^/]+/(uploads|documents)")
# And these send a file of that size.
_ORIGINALS = re.compile(r"/v1/knowledge-bases/[^/]+/originals/.+", re.DOTALL)

# What an agent waits for; not what data teams send, or watch.
_QUESTIONS = re.compile(r"/v1/(recall|context|sessions|knowledge-bases/[^/]+/search)(/|$)|/mcp$")

HEADERS = "headers"
"""In a request's state: the first value of each header, by its name in small letters."""
BODILESS = "bodiless"
"""In a request's state: it is a HEAD, so that what the body would be made of need not be read."""

log = logging.getLogger("memoryd.access")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a request may take: bytes of its body, and seconds; uploads of files have their own, and downloads their seconds."""

    max_body_bytes: int
    timeout_s: float
    max_upload_bytes: int
    upload_timeout_s: float

    def body(self, scope: Scope) -> int:
        """Most bytes of the body."""
        path = scope.get("path", "")
        if path == _MCP_PATH:
            return min(self.max_body_bytes, _MCP_BODY_BYTES)
        return self.max_upload_bytes if _uploads(scope) else self.max_body_bytes

    def seconds(self, scope: Scope) -> float:
        """Most seconds from its first byte to the answer's last."""
        return self.upload_timeout_s if _uploads(scope) or _downloads(scope) else self.timeout_s


def _legible(scope: Scope) -> None:
    """Raises ``MalformedPath``. A server reads U+FFFD for what is not UTF-8, and many names would be one."""
    if "\ufffd" in scope["path"]:
        try:
            unquote_to_bytes(scope.get("raw_path") or b"").decode()
        except UnicodeDecodeError as error:
            raise MalformedPath("the path is not UTF-8, percent-encoded") from error


def _uploads(scope: Scope) -> bool:
    return scope["method"] == "POST" and _UPLOADS.fullmatch(scope.get("path", "")) is not None


def _downloads(scope: Scope) -> bool:
    return scope["method"] == "GET" and _ORIGINALS.fullmatch(scope.get("path", "")) is not None


class Envelope:
    """Request id, body limit, time limit, last resort for unexpected errors, and the access log (never content)."""

    def __init__(self, app: ASGIApp, bounds: Bounds) -> None:
        self._app = app
        self._bounds = bounds
        self._allowances: dict[float, Allowance] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        state = scope.setdefault("state", {})
        state[HEADERS] = dict(reversed(scope["headers"]))
        request_id = state["request_id"] = _request_id(header(scope, b"x-request-id"))
        answer = _Exchange(receive, send, request_id, bodiless=scope["method"] == "HEAD")
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET", "state": {**state, BODILESS: True}}
        try:
            _legible(scope)
            answer.takes(self._bounds.body(scope), announced=header(scope, b"content-length"))
            with self._allowance(self._bounds.seconds(scope)).each():
                await self._app(scope, answer.receive, answer.send)
        except TimeoutError:
            await answer.instead(scope, receive, DeadlineExceeded("the request took too long"))
        except MemorydError as error:
            await answer.instead(scope, receive, error)
        except Exception as error:  # noqa: BLE001 - the outermost handler
            log.error(  # noqa: TRY400 - not the message: it may quote a value
                "request %s failed unexpectedly: %s\n%s", request_id, type(error).__name__, _bare(error)
            )
            await answer.unexpected(scope, receive)
        finally:
            log.info(
                "%s %s %s %.1fms %s",
                scope["method"],
                _route(scope),
                answer.status,
                (time.perf_counter() - started) * 1000,
                request_id,
            )

    def _allowance(self, seconds: float) -> Allowance:
        """There are two."""
        found = self._allowances.get(seconds)
        if found is None:
            found = self._allowances[seconds] = Allowance(seconds)
        return found


class Authentication:
    """Puts the Scope of the presented key where the routes find it, before the body is read.

    ``/v1/admin`` has its own credential, the operator's; ``/v1/generations`` takes either. ``asked`` is told of requests that the
    worker is to leave room for, when their credential was good.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Callable[[], Authenticator],
        operator_key: Callable[[], str | None],
        asked: Asked | None = None,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._operator_key = operator_key
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith("/v1/admin/"):
            require_operator(self._operator_key(), scope)
        elif scope["type"] == "http" and (path.startswith("/v1/") or path == _MCP_PATH):
            state = scope["state"]
            credential = presented(scope)
            if credential is None:
                raise Unauthenticated("send an API key: Authorization: Bearer <key>, or X-API-Key")
            if _GENERATIONS.match(path) and is_operator(self._operator_key(), credential):
                state["operator"] = True
            else:
                state["scope"] = await self._authenticator().scope(credential, state["request_id"])
                if self._asked is not None and _QUESTIONS.match(path):
                    self._asked.note()
        await self._app(scope, receive, send)


def require_operator(wanted: str | None, scope: Scope) -> None:
    """Raises ``Unauthenticated`` unless the operator's key was sent."""
    if not is_operator(wanted, presented(scope) or ""):
        raise Unauthenticated("this needs the operator's key (MEMORYD_OPERATOR_KEY)")


def is_operator(wanted: str | None, given: str) -> bool:
    """True when this is the operator's key."""
    return wanted is not None and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def presented(scope: Scope) -> str | None:
    """The credential of a request, from either header."""
    scheme, _, token = (header(scope, b"authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return header(scope, b"x-api-key")


def header(scope: Scope, name: bytes) -> str | None:
    """The first of this name, which is in small letters. The framework's mapping copies and encodes what it is asked for."""
    found: bytes | None = scope["state"][HEADERS].get(name)
    return None if found is None else str(found, "latin-1")


class _Exchange:
    """Watches what is read, so that a body ends at its limit, and what is sent, so that an error after the start of a response
    does not start another."""

    __slots__ = ("_announced", "_most", "_receive", "_refused", "_request_id", "_seen", "_send", "refusal", "status")

    def __init__(self, receive: Receive, send: Send, request_id: str, *, bodiless: bool) -> None:
        self._receive = receive
        self._send = _without_body(send) if bodiless else send
        self._request_id = request_id
        self._most = self._announced = self._seen = 0
        self.status = 0
        self.refusal: MemorydError | None = None
        self._refused = False

    def takes(self, most: int, *, announced: str | None) -> None:
        """At most so many bytes, by what is announced, and by what is sent."""
        self._most = most
        self._announced = int(announced) if announced and announced.isdecimal() else 0

    async def receive(self) -> Message:
        """The framework takes any error while reading for a malformed body, so the real one is told instead of its answer."""
        if self._announced > self._most:
            raise self._too_large()
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > self._most:
            raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        if self.refusal is not None or self._refused:
            await self._refuse()
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self._request_id.encode("latin-1"))]
        await self._send(message)

    def _too_large(self) -> MemorydError:
        """What the caller is told, whatever the application makes of it."""
        self.refusal = PayloadTooLarge(f"the body is larger than {self._most} bytes")
        return self.refusal

    async def instead(self, scope: Scope, receive: Receive, error: MemorydError) -> None:
        self.refusal = None  # it is what ``error`` is
        if not self.status:
            await error_response(self._request_id, error)(scope, receive, self.send)

    async def _refuse(self) -> None:
        """Send the refusal in place of what the application made of it; what follows of that is swallowed."""
        if self.refusal is None:
            return
        refusal, self.refusal, self._refused = self.refusal, None, True
        response = error_response(self._request_id, refusal)
        self.status = response.status_code
        response.headers["X-Request-ID"] = self._request_id
        start = {"type": "http.response.start", "status": self.status, "headers": response.raw_headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": response.body})

    async def unexpected(self, scope: Scope, receive: Receive) -> None:
        if not self.status:
            response = problem_response(
                self._request_id,
                status=500,
                code="internal",
                title="Internal error",
                detail="an unexpected error; it was logged under the request id",
            )
            await response(scope, receive, self.send)


def _without_body(send: Send) -> Send:
    """For HEAD: a GET's headers, its length included, and nothing else (RFC 9110, 9.3.2)."""

    async def headers_only(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return headers_only


def _request_id(given: str | None) -> str:
    return given if given and _REQUEST_ID.fullmatch(given) else uuid7_text()


def _route(scope: Scope) -> str:
    """The route's template: paths may hold what a caller put there."""
    route = scope.get("route")
    return str(getattr(route, "path", "-"))


def _bare(error: BaseException) -> str:
    """The traceback without the message, which may quote a value."""
    return "".join(traceback.format_tb(error.__traceback__))
