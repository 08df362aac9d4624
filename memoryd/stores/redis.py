"""The connection to Redis or Valkey. Every call has a timeout; nothing waits for a server that is gone."""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar, cast

from redis import exceptions
from redis.asyncio.connection import parse_url

from memoryd.allowance import Allowance
from memoryd.errors import StoreUnavailable, WorkingMemoryUnavailable
from memoryd.stores.redis_cluster import Cluster, is_cluster
from memoryd.stores.redis_server import Argument, Command, Reply, Server

__all__ = ["Argument", "Redis", "Reply", "Script"]

T = TypeVar("T")

# The builtin ConnectionError and TimeoutError are OSErrors; redis-py's are not.
_UNAVAILABLE = (
    exceptions.AuthenticationError,
    exceptions.BusyLoadingError,
    exceptions.ConnectionError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.TimeoutError,
    OSError,
)
# What a server in trouble answers, and what redis-py has no class for. Before version 7 an error in a script comes inside
# another one. Any other error is a bug of ours and answers 500.
_REFUSED = re.compile(
    r"(?:^|: -)(?:ASK|BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|MOVED|NOREPLICAS|OOM|READONLY|TRYAGAIN|UNKILLABLE)(?: |$)"
)


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


class Servers(Protocol):
    """One server, or those of a cluster."""

    def answer(self, key: str | bytes, command: Command) -> Awaitable[object]: ...
    async def answers(self, key: str | bytes, commands: Sequence[Command]) -> list[object]: ...
    async def primaries(self) -> list[Server]: ...
    async def close(self) -> None: ...


class Redis:
    """A client of one server, or of a cluster where the URL says so: at most ``connections`` to a server at once."""

    def __init__(self, url: str, *, timeout_s: float, connections: int = 64) -> None:
        # A whole call may wait for a connection, connect, and read: each has the timeout, and all three together too.
        self._allowance = Allowance(timeout_s)
        self._servers: Servers
        if is_cluster(url):
            self._servers = Cluster(url, timeout_s=timeout_s, connections=connections)
        else:
            self._servers = Server({**parse_url(url)}, timeout_s=timeout_s, connections=connections)

    async def ping(self) -> str:
        """The server's version. Raises ``StoreUnavailable``."""
        try:
            server, *others = await self._within(self._servers.primaries())
            (reply,) = await self._within(server.answers(None, [("INFO", "server")]))
        except WorkingMemoryUnavailable as error:
            raise StoreUnavailable("Redis cannot be reached") from error
        info = _fields(reply)
        name = "Valkey" if "valkey_version" in info else "Redis"
        version = f"{name} {info.get('valkey_version') or info.get('redis_version')}"
        return f"{version}, a cluster of {1 + len(others)}" if isinstance(self._servers, Cluster) else version

    async def eviction(self) -> str | None:
        """The policy by which a server drops keys when its memory is full; ``None`` where none does, or none tells. Raises
        ``WorkingMemoryUnavailable``."""
        try:
            for server in await self._within(self._servers.primaries()):
                (reply,) = await self._within(server.answers(None, [("INFO", "memory")]))
                info = _fields(reply)
                policy = info.get("maxmemory_policy", "noeviction")
                if int(info.get("maxmemory", 0)) and policy != "noeviction":
                    return policy
        except exceptions.ResponseError:
            return None  # a user who may not ask
        return None

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> list[Reply]:
        """A script's answer, a list; loads the script where the server has forgotten it. Raises ``WorkingMemoryUnavailable``."""
        given = (len(keys), *keys, *arguments)
        try:
            reply = await self.command("EVALSHA", script.digest, *given, key=keys[0])
        except exceptions.NoScriptError:
            reply = await self.command("EVAL", script.source, *given, key=keys[0])
        return reply if isinstance(reply, list) else [reply]

    async def command(self, *command: Argument, key: str | bytes | None = None) -> Reply:
        """One command's answer. ``key`` is what it is about, where that is not its first argument. Raises
        ``WorkingMemoryUnavailable``."""
        return cast("Reply", await self._within(self._servers.answer(_key(command) if key is None else key, command)))

    async def together(self, commands: Sequence[Command], *, atomic: bool) -> list[Reply]:
        """Answers of several commands in one round trip; ``atomic``: as one transaction. They only read, and their keys share
        a slot. Raises ``WorkingMemoryUnavailable``."""
        sent = [("MULTI",), *commands, ("EXEC",)] if atomic else commands
        found = await self._within(self._servers.answers(_key(commands[0]), sent))
        return cast("list[Reply]", found[-1] if atomic else found)

    async def scan(self, pattern: str, step: int) -> AsyncIterator[list[bytes]]:
        """Keys that match, about ``step`` looked at each time, on every server; a key may come twice. Raises
        ``WorkingMemoryUnavailable``."""
        for server in await self._within(self._servers.primaries()):
            position: object = b"0"
            while True:
                command = ("SCAN", cast("bytes", position), "MATCH", pattern, "COUNT", step)
                (reply,) = await self._within(server.answers(None, [command]))
                position, keys = cast("tuple[bytes, list[bytes]]", reply)
                yield keys
                if position == b"0":
                    break

    async def close(self) -> None:
        """Close the connections."""
        await self._servers.close()

    async def _within(self, call: Awaitable[T]) -> T:
        try:
            with self._allowance.each():
                return await call
        except exceptions.NoScriptError:
            raise
        except _UNAVAILABLE as error:
            raise WorkingMemoryUnavailable("working memory cannot be reached; try again") from error
        except exceptions.ResponseError as error:
            if not _REFUSED.search(str(error)):
                raise
            raise WorkingMemoryUnavailable("working memory is not in a state to answer; try again") from error


def _fields(reply: object) -> dict[str, str]:
    """What ``INFO`` tells."""
    lines = reply.decode().splitlines() if isinstance(reply, bytes) else []
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _key(command: Command) -> str | bytes:
    """The first argument, where a key mostly is; a command without one is for the server of the empty key."""
    first = command[1] if len(command) > 1 else ""
    return first if isinstance(first, str | bytes) else ""
