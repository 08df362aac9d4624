"""A small HTTP server whose answers a test writes, on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

DIMENSION = 4


@dataclass
class Said:
    """An answer. ``held``: it waits for this event first."""

    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    held: asyncio.Event | None = None
    raw: bytes | None = None


@dataclass
class Heard:
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


Script = Callable[[Heard], Said]


class Scripted:
    """``script`` makes an answer of each request; ``heard`` keeps them. It can be stopped, and started on the same port."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.heard: list[Heard] = []
        self.asked, self.hung_up = asyncio.Event(), asyncio.Event()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        return [one.path for one in self.heard]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (heard := await _read(reader)) is not None:
                self.heard.append(heard)
                self.asked.set()
                said = self.script(heard)
                if said.held is not None:
                    await self._held(reader, said.held)
                content = said.raw if said.raw is not None else json.dumps(said.body).encode()
                head = [f"HTTP/1.1 {said.status} Said", f"Content-Length: {len(content)}"]
                head += [f"{name}: {value}" for name, value in said.headers.items()]
                writer.write("\r\n".join([*head, "", ""]).encode() + content)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _held(self, reader: asyncio.StreamReader, event: asyncio.Event) -> None:
        """Until the event, or until the caller hangs up."""
        waiting, gone = asyncio.ensure_future(event.wait()), asyncio.ensure_future(reader.read(1))
        try:
            done, _ = await asyncio.wait((waiting, gone), return_when=asyncio.FIRST_COMPLETED)
            if gone in done:
                self.hung_up.set()
                raise ConnectionResetError
        finally:
            waiting.cancel()
            gone.cancel()
            await asyncio.gather(waiting, gone, return_exceptions=True)


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[Scripted]:
    server = Scripted(script)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def _read(reader: asyncio.StreamReader) -> Heard | None:
    first = (await reader.readline()).decode().split()
    if not first:
        return None
    headers: dict[str, str] = {}
    while (line := (await reader.readline()).decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    return Heard(first[0], first[1], headers, json.loads(content) if content else None)


def vector(text: str, *, scale: float = 1.0) -> list[float]:
    """A text's vector, of length ``scale``."""
    found = np.array([1.0, len(text), text.count("a"), 2.0])
    return [float(value) for value in scale * found / np.linalg.norm(found)]


def tei(heard: Heard, *, scale: float = 1.0, name: str = "model", sha: str | None = "abc") -> Said:
    """What text-embeddings-inference says."""
    if heard.path == "/info":
        return Said(body={"model_id": name, "model_sha": sha, "max_input_length": 128, "max_client_batch_size": 3})
    if heard.path == "/rerank":
        rows = [{"index": n, "score": len(text) / 1000} for n, text in enumerate(heard.body["texts"])]
        return Said(body=sorted(rows, key=lambda row: -row["score"]))
    return Said(body=[vector(text, scale=scale) for text in heard.body["inputs"]])


def openai(heard: Heard, *, name: str = "model") -> Said:
    """What an OpenAI-compatible server says, which knows no base64."""
    rows = [{"object": "embedding", "index": n, "embedding": vector(text)} for n, text in enumerate(heard.body["input"])]
    return Said(body={"object": "list", "model": name, "data": rows[::-1], "usage": {"prompt_tokens": 1, "total_tokens": 1}})
