"""Around every request that computes: its credential, its body, its deadline, its caller's patience, and its errors."""

import asyncio
import hashlib
import hmac
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_OID, UUID, uuid5

from fastapi import HTTPException
from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from memoryd.errors import DeadlineExceeded, InvalidRequest, PayloadTooLarge, Unauthenticated
from memoryd.http.inference.metrics import Metrics
from memoryd.http.middleware import presented
from memoryd.http.strict import INLINE_BYTES, parsed
from memoryd.threads import BULK
from retrieval.errors import InferenceError, InferenceUnavailable, MemorydError
from retrieval.inference.wire import DEADLINE, OWNER

_GONE = 499
"""The caller closed the connection: nobody reads the answer."""
_LONGEST_OWNER = 200
_LONGEST_DEADLINE = 9  # digits

Errors = Callable[[str, MemorydError], Response]
"""An answer for a request's id and an error."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An authenticated request. ``body`` is ``None`` of a GET. ``due``, of ``time.monotonic``, is when it is over."""

    request: Request
    owner: UUID | None
    body: JsonValue
    due: float

    @property
    def left_s(self) -> float:
        """How long the caller will still wait, or may."""
        return max(0.001, self.due - time.monotonic())


Work = Callable[[Asked], Coroutine[None, None, Response]]


class Handling:
    """Makes endpoints of the framework out of functions from :class:`Asked` to a response."""

    def __init__(self, *, tokens: Sequence[str], max_body_bytes: int, longest_s: float, metrics: Metrics) -> None:
        """``longest_s``: of a request, also where its caller would wait longer or does not say."""
        self._tokens = [token.encode() for token in tokens]
        self._max_body_bytes = max_body_bytes
        self._longest_s = longest_s
        self._metrics = metrics

    def endpoint(self, route: str, work: Work, errors: Errors) -> Callable[[Request], Coroutine[None, None, Response]]:
        """``errors`` is the shape that callers of this route expect; ``route`` is its name in the metrics."""

        async def handle(request: Request) -> Response:
            started = time.monotonic()
            self._metrics.in_flight += 1
            status = _GONE
            try:
                response = await self._answer(request, started, work, errors)
                status = response.status_code
                return response
            finally:
                self._metrics.in_flight -= 1
                self._metrics.answered(route, status, time.monotonic() - started)

        return handle

    async def _answer(self, request: Request, started: float, work: Work, errors: Errors) -> Response:
        try:
            token = self._token(request)
            due = started + min(self._longest_s, _deadline_s(request))
            async with asyncio.timeout(due - time.monotonic()):
                body = await self._body(request) if request.method == "POST" else None
                return await _while_there(request, work(Asked(request, _owner(request, token), body, due)))
        except TimeoutError:
            return errors(_id(request), DeadlineExceeded("the request took too long"))
        except MemorydError as error:
            return errors(_id(request), InputRefused(str(error)) if type(error) is InferenceError else error)
        except HTTPException as error:
            return errors(_id(request), MalformedBody(str(error.detail)))

    def _token(self, request: Request) -> bytes | None:
        """The token presented; ``None`` where none is needed. Raises ``Unauthenticated``."""
        if not self._tokens:
            return None
        given = (presented(request.scope) or "").encode("utf-8", "surrogateescape")
        found = [token for token in self._tokens if hmac.compare_digest(given, token)]
        if not found:
            raise Unauthenticated("send one of this server's tokens: Authorization: Bearer <token>")
        return found[0]

    async def _body(self, request: Request) -> JsonValue:
        """The body as JSON; no more of it is read than is taken. Raises ``PayloadTooLarge``, ``HTTPException`` 400."""
        most = self._max_body_bytes
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > most:
            raise PayloadTooLarge(f"the body is larger than {most} bytes")
        parts, size = [], 0
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise InferenceUnavailable("the caller went away")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise PayloadTooLarge(f"the body is larger than {most} bytes")
            if not message.get("more_body", False):
                break
        content = b"".join(parts)
        return parsed(content) if size <= INLINE_BYTES else await BULK.run(parsed, content)


class InputRefused(InvalidRequest):
    """The model failed on what was sent. The API says 503 (``inference_failed``); here that would tell clients that the
    server is unwell, and one text could have all of them leave it alone."""

    code, title = "input_refused", "The model failed on this input"


class MalformedBody(InvalidRequest):
    """The body is not JSON that can be read in one way."""

    code, status, title = "malformed_body", 400, "Bad Request"


async def _while_there(request: Request, work: Awaitable[Response]) -> Response:
    """What ``work`` gives; it is cancelled when the caller goes away."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else Response(status_code=_GONE)
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await request.receive()


def _deadline_s(request: Request) -> float:
    """How long the caller will wait; infinite where he does not say."""
    given = request.headers.get(DEADLINE)
    if given is None:
        return math.inf
    if not given.isascii() or not given.isdigit() or len(given) > _LONGEST_DEADLINE or int(given) == 0:
        raise InvalidRequest(f"{DEADLINE}: is a whole number of milliseconds, above 0")
    return int(given) / 1000


def _owner(request: Request, token: bytes | None) -> UUID | None:
    """Whose work it is, apart for each token. Without tokens anybody could be anyone, so that nobody is."""
    if token is None:
        return None
    given = request.headers.get(OWNER, "")
    if len(given) > _LONGEST_OWNER:
        raise InvalidRequest(f"{OWNER}: is longer than {_LONGEST_OWNER} characters")
    return uuid5(NAMESPACE_OID, f"{hashlib.sha256(token).hexdigest()} {given}")


def _id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", "-"))
