"""Connections to one Redis or Valkey server."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import cast

import redis.asyncio as aioredis

from memoryd.stores.redis_trips import Argument, Trips

__all__ = ["Argument", "Command", "Reply", "Server"]

Reply = bytes | int | None | list["Reply"]
# What never waits for anything.
_SCRIPTS = ("EVAL", "EVALSHA")
Command = Sequence[Argument]


class Server:
    """At most ``connections`` at once; who finds none free within the timeout is refused.

    ``options`` are redis-py's, as it reads them from a URL. Nothing is sent a second time by itself: what was sent may have
    been done, whether its answer came or not.
    """

    def __init__(self, options: Mapping[str, object], *, timeout_s: float, connections: int) -> None:
        given: dict[str, object] = {
            "max_connections": connections,
            "timeout": timeout_s,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "health_check_interval": 30,
        }
        self._pool: aioredis.BlockingConnectionPool = aioredis.BlockingConnectionPool(**given | dict(options))  # type: ignore[arg-type]
        self._client = aioredis.Redis(connection_pool=self._pool)
        # Answers as the server gives them: the client would make dicts of some and sets of others.
        self._client.response_callbacks.clear()
        self._trips = Trips(given | dict(options), timeout_s=timeout_s)

    def answer(self, key: str | bytes | None, command: Command) -> Awaitable[object]:
        """As :meth:`answers`, of one command."""
        if command[0] in _SCRIPTS:
            return self._trips.ask(command)
        return cast("Awaitable[object]", self._client.execute_command(*command))  # type: ignore[no-untyped-call]

    async def answers(self, key: str | bytes | None, commands: Sequence[Command]) -> list[object]:
        """What the server says to these commands, in one round trip; ``key`` is where it is one of many. Raises its first
        error as it told it."""
        if len(commands) == 1:
            return [await self.answer(key, commands[0])]
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        # Told to raise errors itself, the pipeline would put the command into their text, and with it what a caller wrote.
        found = await pipeline.execute(raise_on_error=False)
        for one in found:
            # A transaction's own errors are inside its answer.
            for answer in one if isinstance(one, list) else (one,):
                if isinstance(answer, Exception):
                    raise answer
        return list(found)

    async def primaries(self) -> "list[Server]":
        """Itself."""
        return [self]

    async def close(self) -> None:
        """Close the connections."""
        await self._trips.close()
        await self._client.aclose()
        await self._pool.disconnect()
