"""The two calls that an agent makes at every step, appending messages and reading its context, past the framework.

FastAPI takes most of a millisecond to find a route, to solve its parameters and to form its answer: more than these two calls
take by themselves. A request that is plainly right is read here as the framework would read it, and given to the same
function. Any other goes on to the framework's route as it came, which says what is wrong with it.
"""

import re
from collections import deque
from collections.abc import Callable
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memoryd.http import session_life, sessions
from memoryd.http.caller import once_of
from memoryd.http.middleware import HEADERS, header
from memoryd.http.plain import appending_of
from memoryd.http.schemas.sessions import Key
from memoryd.http.session_views import appended_json
from memoryd.http.strict import INLINE_BYTES
from memoryd.memory.model import Idempotency
from memoryd.services import Services
from retrieval.packing import DEFAULT_TOKENIZER

_PATH = re.compile(r"/v1/sessions/([^/]+)/(messages|context)")
_WHOLE = re.compile(r"\d{1,6}", re.ASCII)
_LONGEST_NAME = 256
_LONGEST_KEY = 255
_SINGLE = (b"content-type", b"idempotency-key")
_KEY: TypeAdapter[str] = TypeAdapter(Key)


class Express:
    """Middleware, the innermost: the caller is known, the limits hold, and errors become answers further out."""

    def __init__(self, app: ASGIApp, *, services: Callable[[], Services]) -> None:
        self._app = app
        self._services = services
        self._ways = {("POST", "messages"): self._append, ("GET", "context"): self._context}
        every = (*sessions.router.routes, *session_life.router.routes)
        named = {route.operation_id: route for route in every if isinstance(route, APIRoute)}
        self._routes = {"messages": named["append_messages"], "context": named["session_context"]}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" else None
        way = self._ways.get((scope["method"], found[2])) if found else None
        if found is None or way is None:
            await self._app(scope, receive, send)
            return
        again = _Again(receive)
        route = scope["route"] = self._routes[found[2]]  # for the log, also of what is refused here
        answer = await way(scope, again, found[1])
        if answer is None:
            await self._app(scope, again, send)
            return
        headers = [(b"content-length", str(len(answer)).encode()), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": route.status_code or 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _append(self, scope: Scope, receive: "_Again", session_id: str) -> bytes | None:
        """What was appended, as JSON; ``None`` where the framework is to look at the request."""
        headers = scope["state"][HEADERS]
        kind, length = headers.get(b"content-type", b""), headers.get(b"content-length", b"")
        if kind.partition(b";")[0].strip().lower() != b"application/json" or scope["query_string"]:
            return None
        if b"content-encoding" in headers:
            return None
        if len(headers) < len(scope["headers"]) and any(_given(scope, name) > 1 for name in _SINGLE):
            return None
        if length.isdigit() and int(length) > INLINE_BYTES:
            return None
        content = await receive.all(most=INLINE_BYTES)
        if content is None:
            return None
        try:
            session_id = _KEY.validate_python(session_id)
            wish = appending_of(content, self._services().clock.now())
        except (ValidationError, HTTPException):
            return None
        once: Idempotency | None = None
        key = header(scope, b"idempotency-key")
        if key is not None:
            if not 0 < len(key) <= _LONGEST_KEY:
                return None
            once = once_of(Request(scope), key, content)
        use = await sessions.session_services(self._services())
        done = await use.working.append(scope["state"]["scope"], session_id, wish.messages, wish.birth, once)
        return appended_json(wish.messages, done)

    async def _context(self, scope: Scope, receive: "_Again", session_id: str) -> bytes | None:
        """As :meth:`_append`."""
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(pairs)
        if len(given) < len(pairs) or not given.keys() <= {"budget_tokens", "tokenizer"}:
            return None
        budget = given.get("budget_tokens", str(session_life.DEFAULT_TOKENS))
        tokenizer = given.get("tokenizer", DEFAULT_TOKENIZER)
        if not _WHOLE.fullmatch(budget) or int(budget) > session_life.MOST_TOKENS or not 0 < len(tokenizer) <= _LONGEST_NAME:
            return None
        try:
            session_id = _KEY.validate_python(session_id)
        except ValidationError:
            return None
        use = await sessions.session_services(self._services())
        found = await session_life.context(session_id, scope["state"]["scope"], use, int(budget), tokenizer)
        return found.model_dump_json().encode()


def _given(scope: Scope, name: bytes) -> int:
    return sum(one == name for one, _ in scope["headers"])


class _Again:
    """``receive`` that can be read twice: here, and where the request goes then."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: deque[Message] = deque()

    async def all(self, *, most: int) -> bytes | None:
        """The whole body; ``None`` when the caller went away, and as soon as it is longer than ``most``."""
        parts: list[bytes] = []
        left = most
        while True:
            message = await self._receive()
            self._kept.append(message)
            if message["type"] != "http.request":
                return None
            parts.append(message.get("body", b""))
            left -= len(parts[-1])
            if left < 0:
                return None
            if not message.get("more_body", False):
                return b"".join(parts)

    async def __call__(self) -> Message:
        return self._kept.popleft() if self._kept else await self._receive()
