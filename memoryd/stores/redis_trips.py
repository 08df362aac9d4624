"""Commands of many callers in few round trips: what is asked while a trip is under way goes with the next one.

A call that goes alone costs more in the client than in the server: a connection from the pool, packing, a write, a read, timers.
At 64 callers at once a trip takes about as many, and each costs a third of that. One caller waits no longer than before.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import hiredis
import redis.asyncio as aioredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection

_TRIPS = 2  # at once: the server works on one while the answers of the other are read
_MOST_CALLS = 64
_MOST_BYTES = 256 * 1024  # and the call that exceeds it
# Of a connection that answered just now it is enough to see whether its end was read since; of another the pool makes sure.
_SURE_S = 0.5

Argument = str | bytes | int | float


class _Call:
    __slots__ = ("answer", "packed")

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        self.answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()


class Trips:
    """Two connections to one server. For commands that answer at once: one that blocks would hold up all behind it.

    As elsewhere, nothing is sent twice: when a trip breaks, all its calls fail, and each may have been done or not. ``timeout_s``
    is a trip's: who asks waits for others' too, and has a limit of their own.
    """

    def __init__(self, options: Mapping[str, object], *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        # A trip has one timer, not one for each answer.
        given = {**options, "max_connections": _TRIPS, "socket_timeout": None}
        self._pool: aioredis.BlockingConnectionPool = aioredis.BlockingConnectionPool(**given)  # type: ignore[arg-type]
        self._idle: list[tuple[float, AbstractConnection]] = []  # since when
        self._waiting: deque[_Call] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0

    def ask(self, command: Sequence[Argument]) -> asyncio.Future[object]:
        """The answer, or the server's error, redis-py's ``ConnectionError``, ``OSError``, ``TimeoutError``."""
        call = _Call(hiredis.pack_command(tuple(command)))  # type: ignore[arg-type]  # it takes any number
        self._waiting.append(call)
        if self._running < _TRIPS:
            # It begins after everybody who is to run in this turn of the event loop, and takes what they ask along.
            self._running += 1
            task = asyncio.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return call.answer

    async def close(self) -> None:
        """Break off what is under way, refuse what waits, and close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        _fail(self._waiting, exceptions.ConnectionError("the connection was closed"))
        self._waiting.clear()
        for _, connection in self._idle:
            await self._pool.release(connection)
        self._idle.clear()
        await self._pool.disconnect()

    async def _run(self) -> None:
        """Trip after trip while somebody waits."""
        try:
            while calls := self._next():
                await self._made(calls)
        finally:
            self._running -= 1

    async def _made(self, calls: list[_Call]) -> None:
        """One trip. Whatever breaks it, its callers are told."""
        try:
            await self._trip(calls)
        except Exception as error:  # noqa: BLE001 - each caller raises it
            _fail(calls, error)
        except asyncio.CancelledError:
            _fail(calls, exceptions.ConnectionError("the connection was closed"))
            raise

    def _next(self) -> list[_Call]:
        """The calls of the next trip; those whose caller gave up meanwhile are dropped."""
        calls: list[_Call] = []
        room = _MOST_BYTES
        while self._waiting and len(calls) < _MOST_CALLS and room > 0:
            call = self._waiting.popleft()
            if not call.answer.done():
                calls.append(call)
                room -= len(call.packed)
        return calls

    async def _trip(self, calls: list[_Call]) -> None:
        async with asyncio.timeout(self._timeout_s):
            connection = await self._connected()
            try:
                await connection.send_packed_command([call.packed for call in calls])
                for call in calls:
                    try:
                        answer = await connection.read_response()
                    except exceptions.ResponseError as error:
                        if not call.answer.done():
                            call.answer.set_exception(error)
                    else:
                        if not call.answer.done():
                            call.answer.set_result(answer)
            except BaseException:
                # Answers that nobody read would be taken for those of the next trip.
                try:
                    await connection.disconnect(nowait=True)
                finally:
                    await self._pool.release(connection)
                raise
            self._idle.append((asyncio.get_running_loop().time(), connection))

    async def _connected(self) -> AbstractConnection:
        connection: AbstractConnection
        if not self._idle:
            connection = await self._pool.get_connection()
            return connection
        since, connection = self._idle.pop()
        if asyncio.get_running_loop().time() - since > _SURE_S or _ended(connection):
            try:
                await self._pool.ensure_connection(connection)
            except BaseException:
                await self._pool.release(connection)
                raise
        return connection


def _ended(connection: AbstractConnection) -> bool:
    """Whether the server closed it, as far as that was read."""
    reader: asyncio.StreamReader | None = connection._reader  # what redis-py has for it sets timers and reads
    return reader is None or reader.at_eof()


def _fail(calls: Iterable[_Call], error: Exception) -> None:
    for call in calls:
        if not call.answer.done():
            call.answer.set_exception(error)
