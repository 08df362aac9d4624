"""The HTTP socket outlives the API: while the API is down, the gate answers on it at once instead of letting callers hang.

The supervisor binds the socket once; the API child inherits it, so both share one accept queue. While the child is not
ready the gate accepts from that queue, which also drains what a dead child left in it. Every answer is ``503`` with
``Retry-After: 1``, but for ``GET /livez``: 200, because that asks whether this installation should be killed, and a
supervisor that is restarting its API should not.

A child that is ready but stuck (stopped, swapping, a blocked loop) is noticed by its queue: connections that were waiting
at every look for :data:`STALL_S` seconds are answered 503 as well.
"""

import asyncio
import contextlib
import json
import select
import socket
from http import HTTPStatus
from types import TracebackType

from memoryd.ids import uuid7

STALL_S = 2.0
_LOOK_S = 0.25
_PAUSE_S = 0.1
_FAREWELL_S = 1.0
_HEADER_PATIENCE_S = 2.0
_LINGER_S = 2.0
_LINGER_BYTES = 64 * 2**20
_MOST_AT_ONCE = 512
_ACCEPTS_A_TURN = 64


class Gate:
    """Answers ``listener`` while open. Starts open; use as an async context manager, which closes the socket at the end."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._reason = "starting"
        self._open = False
        self._resuming: asyncio.TimerHandle | None = None
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def listener(self) -> socket.socket:
        """The shared listening socket."""
        return self._listener

    async def __aenter__(self) -> "Gate":
        self._watching = asyncio.create_task(self._watch())
        self.open("starting")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        self._watching.cancel()
        self._accept()
        self._listener.close()
        if self._answering:
            await asyncio.wait(self._answering, timeout=_FAREWELL_S)
        for task in self._answering:
            task.cancel()

    def open(self, reason: str) -> None:
        """Answer from now on; ``reason`` (starting, backoff, draining, stopping …) is in the problem's detail."""
        self._reason = reason
        if not self._open:
            self._open = True
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Leave new connections to the API; those already accepted here still get their answer."""
        if self._resuming is not None:
            self._resuming.cancel()
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._listener)

    async def _watch(self) -> None:
        """See to it that nobody waits behind a child that is stuck. One poll(2) a look: nothing is taken from the queue."""
        poller = select.poll()
        poller.register(self._listener, select.POLLIN)
        waiting = 0
        while True:
            await asyncio.sleep(_LOOK_S)
            waiting = waiting + 1 if not self._open and poller.poll(0) else 0
            if waiting * _LOOK_S >= STALL_S:
                self._reason = "not answering"
                self._accept()

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError:  # out of file descriptors: come back when some are free, rather than spin
                self._pause()
                return
            connection.setblocking(False)
            if len(self._answering) >= _MOST_AT_ONCE:
                _refuse(connection, self._answer(b""))
                continue
            task = asyncio.create_task(self._serve(connection))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    def _pause(self) -> None:
        if self._open:
            self.close()
            self._resuming = asyncio.get_running_loop().call_later(_PAUSE_S, self.open, self._reason)

    async def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection(sock=connection)
            try:
                head = await _head(reader)
                if head is None:
                    return
                writer.write(self._answer(head))
                writer.write_eof()
                await asyncio.wait_for(writer.drain(), _LINGER_S)
                await _linger(reader)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
        if path == b"/livez" and method in (b"GET", b"HEAD"):
            body = json.dumps({"status": "ok", "api": self._reason}).encode()
            return _response(HTTPStatus.OK, "application/json", body, head_only=method == b"HEAD")
        problem = {
            "type": "https://memoryd.dev/errors/unavailable",
            "title": "Service unavailable",
            "status": int(HTTPStatus.SERVICE_UNAVAILABLE),
            "code": "unavailable",
            "detail": f"the API is not serving now ({self._reason}); nothing was done: send the request again",
            "request_id": str(uuid7()),
        }
        body = json.dumps(problem).encode()
        return _response(HTTPStatus.SERVICE_UNAVAILABLE, "application/problem+json", body, head_only=method == b"HEAD")


async def _head(reader: asyncio.StreamReader) -> bytes | None:
    """The request up to its empty line, or as much as came in time; None when the peer left without a word."""
    try:
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEADER_PATIENCE_S)
    except asyncio.IncompleteReadError as error:
        return error.partial or None
    except (TimeoutError, asyncio.LimitOverrunError):
        return b""


async def _linger(reader: asyncio.StreamReader) -> None:
    """Read on until the peer has read the answer and closed: closing with unread input would reset the connection."""
    left = _LINGER_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while left > 0 and (chunk := await reader.read(2**16)):
                left -= len(chunk)


def _response(status: HTTPStatus, media_type: str, body: bytes, *, head_only: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {int(status)} {status.phrase}",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        lines.append("Retry-After: 1")
    return "\r\n".join((*lines, "", "")).encode() + (b"" if head_only else body)


def _refuse(connection: socket.socket, answer: bytes) -> None:
    """Without waiting for the request: too many are being answered with care already."""
    with connection, contextlib.suppress(OSError):
        connection.send(answer)
