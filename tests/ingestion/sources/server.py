"""A web server of the tests that answers what it is told, byte for byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

Script = Callable[[str], AsyncIterator[bytes]]
"""Pieces of the raw answer to a request's head."""


@asynccontextmanager
async def serving(script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator["Served"]:
    """Serves on a free port of loopback; one request a connection."""
    served = Served()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            served.heads.append(head)
            async for piece in script(head):
                writer.write(piece)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()


class Served:
    """What was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.heads: list[str] = []


def answering(*pieces: bytes, status: str = "200 OK", headers: str = "") -> Script:
    """Always the same body."""

    async def script(_: str) -> AsyncIterator[bytes]:
        yield f"HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n".encode()
        for piece in pieces:
            yield piece

    return script


def redirecting(*targets: str) -> Script:
    """To the next target at each path ``/0``, ``/1``, …; then a body."""

    async def script(head: str) -> AsyncIterator[bytes]:
        number = int(head.split()[1].removeprefix("/"))
        if number < len(targets):
            yield f"HTTP/1.1 302 Found\r\nconnection: close\r\nlocation: {targets[number]}\r\n\r\n".encode()
        else:
            yield b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\narrived"

    return script
