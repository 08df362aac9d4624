"""The connection to Redis or Valkey. Every call has a timeout; nothing waits for a server that is gone."""

import asyncio
import hashlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Self, cast

import redis.asyncio as aioredis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - redis-py's, which is not the builtin
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    TimeoutError,  # noqa: A004
    TryAgainError,
)

from memoryd.errors import StoreUnavailable, WorkingMemoryUnavailable

Reply = bytes | int | None | list["Reply"]
Argument = str | bytes | int | float

# Any other error of the server is a bug of ours and answers 500.
_UNAVAILABLE = (
    ConnectionError, AuthenticationError, BusyLoadingError, ClusterDownError, OutOfMemoryError, ReadOnlyError, TimeoutError,
    TryAgainError, OSError, asyncio.TimeoutError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the SHA-1 that the server knows it by."""

    name: str
    source: str
    digest: str

    @classmethod
    def of(cls, name: str, source: str) -> Self:
        """With its digest."""
        return cls(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


class Redis:
    """A client of one server: at most ``connections`` at once; who finds none free within the timeout is refused."""

    def __init__(self, url: str, *, timeout_s: float, connections: int = 64) -> None:
        self._timeout_s = timeout_s
        pool: aioredis.BlockingConnectionPool = aioredis.BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            health_check_interval=30,
        )
        self._client = aioredis.Redis(connection_pool=pool)
        # Answers as the server gives them: the client would make dicts of some and sets of others.
        self._client.response_callbacks.clear()
        self._pool = pool

    async def ping(self) -> str:
        """The server's version. Raises ``StoreUnavailable``."""
        try:
            reply = await self.command("INFO", "server")
        except WorkingMemoryUnavailable as error:
            raise StoreUnavailable("Redis cannot be reached") from error
        lines = reply.decode().splitlines() if isinstance(reply, bytes) else []
        info = dict(line.split(":", 1) for line in lines if ":" in line)
        name = "Valkey" if "valkey_version" in info else "Redis"
        return f"{name} {info.get('valkey_version') or info.get('redis_version')}"

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> list[Reply]:
        """A script's answer, a list; loads the script where the server has forgotten it. Raises ``WorkingMemoryUnavailable``."""
        given = (str(len(keys)), *keys, *arguments)
        try:
            reply = await self._within(self._sent("EVALSHA", script.digest, *given))
        except NoScriptError:
            reply = await self._within(self._sent("EVAL", script.source, *given))
        return reply if isinstance(reply, list) else [reply]

    async def command(self, *command: Argument) -> Reply:
        """One command's answer. Raises ``WorkingMemoryUnavailable``."""
        return await self._within(self._sent(*command))

    async def together(self, commands: Sequence[Sequence[Argument]], *, atomic: bool) -> list[Reply]:
        """Answers of several commands in one round trip; ``atomic``: as one transaction. Raises ``WorkingMemoryUnavailable``."""
        pipeline = self._client.pipeline(transaction=atomic)
        for command in commands:
            pipeline.execute_command(*command)
        return cast("list[Reply]", await self._within(pipeline.execute()))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._pool.disconnect()

    def _sent(self, *command: Argument) -> Awaitable[object]:
        return cast("Awaitable[object]", self._client.execute_command(*command))  # type: ignore[no-untyped-call]

    async def _within(self, call: Awaitable[object]) -> Reply:
        try:
            # A whole call may wait for a connection, connect, and read: each has the timeout, and all three together too.
            async with asyncio.timeout(self._timeout_s):
                return cast("Reply", await call)
        except NoScriptError:
            raise
        except _UNAVAILABLE as error:
            raise WorkingMemoryUnavailable("working memory cannot be reached; try again") from error
