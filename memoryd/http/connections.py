"""Connections that cost something and ask nothing: without a key, anybody can open thousands and keep them.

The server's own timer runs from the end of an answer to the next byte. Here a connection that does not get as far as a
whole request's head is closed, one that does not take what it is sent is broken off, and so many are the most at once.
"""

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from memoryd.http.problems import problem_response

PATIENCE_S = 20.0
"""How long a connection may be without a request, or take nothing of an answer; it is noticed within twice that."""

_LONGEST_HEAD = 64 * 1024
_MOST_JOINED = 64 * 1024
# What the kernel keeps of an answer beyond what is on its way. It would take megabytes, and tell us when a third of them is
# gone: a slow reader that gets on would look like one that takes nothing.
_UNSENT = 128 * 1024


def bounded(most: int, *, patience_s: float = PATIENCE_S) -> type[asyncio.Protocol]:
    """The server's protocol, for ``uvicorn.Config(http=…)``: at most so many connections, each of which gets on."""

    class Bounded(HttpToolsProtocol):
        _watching: asyncio.TimerHandle | None = None
        _idle_since: RequestResponseCycle | None = None  # the request that was the last one when it was looked at
        _refused = False
        _in_head = False
        _head = 0  # bytes read while a head was not complete

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the server's own
            self._joined = _Joined(transport, self.loop)
            _tell_soon(transport)
            super().connection_made(self._joined)
            if len(self.connections) > most:
                self._refused = True
                transport.write(_REFUSAL)
                transport.close()
                return
            self._watching = self.loop.call_later(patience_s, self._look)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._watching is not None:
                self._watching.cancel()
            self._joined.drop()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._refused:
                return
            super().data_received(data)
            self._head = self._head + len(data) if self._in_head else 0
            if self._head > _LONGEST_HEAD:
                self.transport.close()

        def on_message_begin(self) -> None:
            self._in_head = True
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_head = False
            super().on_headers_complete()

        def on_response_complete(self) -> None:
            self._joined.flush()
            super().on_response_complete()

        def _look(self) -> None:
            if self._joined.stalled():
                # Closed, it would wait for ever for its last bytes to go, and count as a connection.
                self.transport.abort()
                return
            cycle: RequestResponseCycle | None = self.cycle
            if (cycle is None or cycle.response_complete) and cycle is self._idle_since:
                self.transport.close()
            self._idle_since = cycle
            self._watching = self.loop.call_later(patience_s, self._look)

    return Bounded


def _tell_soon(transport: asyncio.Transport) -> None:
    """Have the kernel tell soon what has left."""
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if connection is not None and option is not None:
        with suppress(OSError):  # not TCP
            connection.setsockopt(socket.IPPROTO_TCP, option, _UNSENT)


class _Joined(asyncio.Transport):
    """A connection whose writes of one turn of the event loop go together: the head of an answer with its body.

    The loop would send each by itself, which takes the kernel longer than most answers take us, and wakes the caller twice.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes | bytearray | memoryview] = []
        self._size = 0
        self._handed = 0  # bytes that the loop was given
        self._gone = 0  # and of these those that had left when it was looked at
        self._lost = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._lost:
            return
        if self._size + len(data) > _MOST_JOINED:
            self.flush()
            self._hand(data)
            return
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)
        self._size += len(data)

    def flush(self) -> None:
        """Send what there is."""
        if self._parts:
            parts, self._parts, self._size = self._parts, [], 0
            self._hand(b"".join(parts))

    def stalled(self) -> bool:
        """Whether something waits to go, and nothing went since this was asked before."""
        waiting = self._transport.get_write_buffer_size()
        before, self._gone = self._gone, self._handed - waiting
        return waiting > 0 and self._gone == before

    def _hand(self, data: bytes | bytearray | memoryview) -> None:
        self._handed += len(data)
        self._transport.write(data)

    def drop(self) -> None:
        """The connection is gone: the loop takes nothing for it any more."""
        self._lost = True
        self._parts, self._size = [], 0

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        self.drop()
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)


def _refusal() -> bytes:
    answer = problem_response(
        "-",
        status=503,
        code="unavailable",
        title="Service unavailable",
        detail="too many connections; nothing was done: send the request again",
        retry_after_s=1,
    )
    head = [b"HTTP/1.1 503 Service Unavailable", b"connection: close", *(b": ".join(one) for one in answer.raw_headers)]
    return b"\r\n".join([*head, b"", bytes(answer.body)])


_REFUSAL = _refusal()
