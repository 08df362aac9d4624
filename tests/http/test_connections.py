"""Connections without a request: closed after a while, and refused beyond a number."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from memoryd.http.connections import bounded

PATIENCE_S = 0.3
GET = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _slow(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(4 * PATIENCE_S)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def _served(most: int, patience_s: float = PATIENCE_S, app: ASGIApp = _slow) -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    protocol = bounded(most, patience_s=patience_s)
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False))
    serving = asyncio.ensure_future(server.serve([listener]))
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


def _connection(app: ASGIApp) -> HttpToolsProtocol:
    """What a server makes of one connection, without the server."""
    config = uvicorn.Config(app, http=bounded(10), ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    made = cast("type[HttpToolsProtocol]", bounded(10))
    return made(config=config, server_state=uvicorn.Server(config).server_state, app_state={})


async def _said(sent: bytes, port: int) -> bytes:
    """What the server says to it until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_who_asks_nothing_is_sent_away() -> None:
    async with _served(10) as port:
        assert await _said(b"", port) == b""
        assert await _said(b"GET / HTTP/1.1\r\nHost:", port) == b""
        # The answer is waited for however long it takes; a second request that never comes whole is not.
        assert (await _said(GET + GET[:10], port)).endswith(b"ok")


async def test_a_head_without_end_is_not_read() -> None:
    async with _served(10, patience_s=60) as port:
        assert await _said(b"GET / HTTP/1.1\r\nX: " + b"y" * 2_000_000, port) == b""


async def test_one_too_many_is_told_so() -> None:
    async with _served(2) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for _, writer in held:
            writer.write(GET)
        await asyncio.sleep(0.05)
        refused = await _said(b"", port)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in refused.lower()
        assert b'"code":"unavailable"' in refused
        for reader, writer in held:
            assert (await reader.readuntil(b"ok")).endswith(b"ok")
            writer.close()
        async with asyncio.timeout(10):
            while not (await _said(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), port)).endswith(b"ok"):
                pass  # until the server has noticed that the two are gone


async def _long(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(400):  # more than is joined, and than the connection takes at once
        await send({"type": "http.response.body", "body": b"%03d" % number * 1_000, "more_body": True})
        if number == 200:
            await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b"end"})


async def test_an_answer_in_many_pieces_comes_whole_and_in_order() -> None:
    async with _served(2, patience_s=60, app=_long) as port:
        head, _, body = (await _said(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), port)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    pieces = body.split(b"\r\n")[1::2]
    assert b"".join(pieces) == b"".join(b"%03d" % number * 1_000 for number in range(400)) + b"end"


async def _large(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(int(scope["path"][1:])):
        await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize("sent", [b"GET /1000 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000])
async def test_who_takes_nothing_of_what_it_asked_for_keeps_no_connection(sent: bytes) -> None:
    async with _served(1, app=_large) as port:
        with socket.create_connection(("127.0.0.1", port)) as deaf:
            deaf.sendall(sent)
            await asyncio.sleep(PATIENCE_S / 2)
            assert b" 503 " in await _said(b"", port)
            async with asyncio.timeout(10):
                while b"ok" not in await _said(b"GET /0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", port):
                    pass


async def test_who_takes_an_answer_slowly_gets_all_of_it() -> None:
    loop, patience_s = asyncio.get_running_loop(), 0.5
    async with _served(1, patience_s, _large) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /300 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        size, began = 0, loop.time()
        while piece := await reader.read(2**18):
            size += len(piece)
            await asyncio.sleep(patience_s / 50)
        writer.close()
        assert size > 30_000_000
        assert loop.time() - began > 2 * patience_s


async def test_who_takes_little_at_a_time_gets_all_of_it() -> None:
    """Less in the time between two looks than what the kernel would hold back by itself."""
    loop, patience_s = asyncio.get_running_loop(), 0.5
    async with _served(1, patience_s, _large) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**14)
        writer.write(b"GET /100 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        size, began = 0, loop.time()
        while piece := await reader.read(2**16):
            size += len(piece)
            # A megabyte a second, half of one a look.
            await asyncio.sleep(max(0.0, began + size / 1_000_000 - loop.time()))
        writer.close()
        assert size > 10_000_000


async def test_the_head_of_an_answer_goes_with_its_body() -> None:
    class Sent(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.writes: list[bytes] = []
            self.written = asyncio.Event()

        def write(self, data: bytes | bytearray | memoryview) -> None:
            self.writes.append(bytes(data))
            self.written.set()

        def is_closing(self) -> bool:
            return False

        def close(self) -> None:
            pass

    async def short(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    sent, protocol = Sent(), _connection(short)
    protocol.connection_made(sent)
    protocol.data_received(GET)
    async with asyncio.timeout(5):
        await sent.written.wait()
    protocol.connection_lost(None)
    (answer,) = sent.writes
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nok")


async def test_nothing_is_written_to_a_connection_that_is_lost() -> None:
    """uvloop raises where asyncio would keep quiet."""

    class Transport(asyncio.Transport):
        written = b""
        lost = False

        def write(self, data: bytes | bytearray | memoryview) -> None:
            if self.lost:
                raise RuntimeError("the handler is closed")
            self.written += bytes(data)

        def close(self) -> None:
            pass

        def is_closing(self) -> bool:
            return self.lost

    transport, protocol = Transport(), _connection(_slow)
    protocol.connection_made(transport)
    joined = protocol.transport
    joined.write(b"head")
    joined.write(b"body")
    assert transport.written == b""
    await asyncio.sleep(0)
    assert transport.written == b"headbody"
    joined.write(b"late")
    transport.lost = True
    protocol.connection_lost(ConnectionResetError())
    joined.write(b"later")
    joined.close()
    await asyncio.sleep(0)
    assert transport.written == b"headbody"
