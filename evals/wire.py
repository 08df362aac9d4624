"""HTTP/1.1 with as little of its own as can be: on few cores, a caller that costs as much as the service hides what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlencode, urlsplit

import httptools
from pydantic import JsonValue
from pydantic_core import to_json

from evals.client import ApiError

_OK = range(200, 300)
_WAITABLE = (429, 503)
_WAIT_S = 0.2
_ATTEMPTS = 50
# After so long without a request a connection is made anew: the service closes it after five seconds, perhaps just now.
_QUIET_S = 2.0

StatusAndBody = tuple[int, bytes]


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._waiter: asyncio.Future[StatusAndBody] | None = None
        self._used = asyncio.get_running_loop().time()

    @property
    def usable(self) -> bool:
        """Whether a request may be sent on it."""
        quiet = asyncio.get_running_loop().time() - self._used
        return self._transport is not None and not self._transport.is_closing() and quiet < _QUIET_S

    async def ask(self, request: bytes) -> StatusAndBody:
        """The answer. Raises ``ConnectionError``."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self._waiter is not None:
            raise ConnectionError("the connection is closed, or answers another request")
        self._waiter = loop.create_future()
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            self._waiter, self._used = None, loop.time()

    def close(self) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionError("the service closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """A new answer."""
        self._body.clear()

    def on_body(self, body: bytes) -> None:
        """A piece of it."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """All of it."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result((self._parser.get_status_code(), b"".join(self._body)))


class Wire:
    """One connection after the other, one request at a time: no pool, no redirects, no compression."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._head = f"host: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        self._connection: _Connection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._connection is not None:
            self._connection.close()

    async def get(self, path: str, query: Mapping[str, str]) -> bytes:
        """The body of the answer. Asks again as long as it is told to wait. Raises ``ApiError``, ``ConnectionError``."""
        return await self._accepted(f"GET {path}?{urlencode(query)} HTTP/1.1\r\n{self._head}\r\n".encode())

    async def post(self, path: str, body: JsonValue) -> bytes:
        """As :meth:`get`."""
        content = to_json(body)
        lines = f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
        return await self._accepted(f"POST {path} HTTP/1.1\r\n{self._head}{lines}\r\n".encode() + content)

    async def _accepted(self, request: bytes) -> bytes:
        for _ in range(_ATTEMPTS):
            status, body = await self._answer(request)
            if status in _OK:
                return body
            if status not in _WAITABLE:
                break
            await asyncio.sleep(_WAIT_S)
        raise ApiError(f"{request.split(maxsplit=2)[1].decode()}: {status} {body[:500].decode(errors='replace')}")

    async def _answer(self, request: bytes) -> StatusAndBody:
        if self._connection is None or not self._connection.usable:
            if self._connection is not None:
                self._connection.close()
            loop = asyncio.get_running_loop()
            _, self._connection = await loop.create_connection(_Connection, self._host, self._port)
        return await self._connection.ask(request)
