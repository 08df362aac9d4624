"""Several statements in one round trip to PostgreSQL. A round trip costs more of a small statement than the statement does."""

import os
import select
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic

from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline
from psycopg.abc import RV, PQGen
from psycopg.generators import send
from psycopg.pq import ConnStatus
from psycopg.rows import TupleRow

_PATIENCE_S = 600
# Statements of one trip that may each take so long.
_TOGETHER = 5


class Connection(AsyncConnection[TupleRow]):
    """Its server is silent for ``answer_s`` at most while it is waited for, or the connection is lost: a line that went dead says
    nothing, and who waits for it waits for a quarter of an hour or for ever. A server that is alive has ended its statement by
    then, by its own limit, or goes on sending what it found."""

    answer_s = 60.0

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:  # noqa: ASYNC109
        """As the driver's, for everything that is ever waited for."""
        return await super().wait(self._heard(gen), interval, timeout)

    def _heard(self, gen: PQGen[RV]) -> PQGen[RV]:
        """What ``gen`` waits for, in time: it is told when the line moves, and every ``interval`` that it does not."""
        moved = monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    moved = monotonic()
                elif monotonic() - moved >= self.answer_s and not self._answers():
                    self._hang_up()
                wanted = gen.send(ready)
        except StopIteration as ended:
            value: RV = ended.value
            return value

    async def be_patient(self) -> None:
        """This transaction's statements take as long as a tenant or a knowledge base is large."""
        await self.execute(f"SET LOCAL statement_timeout = {1000 * _PATIENCE_S}")
        self.answer_s = _TOGETHER * _PATIENCE_S + 10.0

    def _answers(self) -> bool:
        """Something is there that only was not read yet, by an event loop that stood still."""
        if self.pgconn.status != ConnStatus.OK:
            return False
        answered = select.poll()
        answered.register(self.pgconn.socket, select.POLLIN)
        return bool(answered.poll(0))

    def _hang_up(self) -> None:
        """Who waits learns it as if the server had closed the connection."""
        if self.pgconn.status == ConnStatus.OK:
            with suppress(OSError), socket.socket(fileno=os.dup(self.pgconn.socket)) as line:
                line.shutdown(socket.SHUT_RDWR)


Params = Mapping[str, object]
Cursor = AsyncCursor[TupleRow]
Statement = tuple[str, Params | Sequence[object] | None]
"""With its parameters; ``None``: nothing in it is a placeholder."""


async def trip(connection: Connection, statements: Sequence[Statement]) -> list[Cursor]:
    """Send these together; a cursor each. None of them takes effect where one fails.

    A pipeline that ends early leaves the driver in doubt which statements the server has prepared: such a connection answers
    «prepared statement does not exist» for ever, and is closed, so that it does not go back to the pool.
    """
    try:
        async with _packed(connection):
            try:
                return [await connection.execute(sql, params) for sql, params in statements]
            except BaseException:
                # Before the pipeline ends: its Sync would commit what was sent, where that is a transaction of its own.
                await connection.close()
                raise
    except BaseException:
        await connection.close()
        raise


async def last_trip(connection: Connection, statements: Sequence[Statement]) -> list[Cursor]:
    """The last statements of a transaction, and with them its end: nothing can be read or written in it behind them."""
    return (await trip(connection, [*statements, ("COMMIT", None)]))[:-1]


class _Packed(AsyncPipeline):
    """A pipeline that sends nothing before its end, and then all in one message: nobody may fetch in it.

    The driver's own sends every statement by itself, and looks before and behind whether it may: three system calls each, and
    the server wakes up for the first.
    """

    def _communicate_gen(self) -> PQGen[None]:
        """Called behind every statement."""
        yield from ()

    def _exit_gen(self) -> PQGen[None]:
        self._enqueue_sync()
        queued = tuple(self.command_queue)
        self.command_queue.clear()

        def all_of_it() -> None:
            try:
                for command in queued:
                    command()
            except BaseException:
                # What was sent has no end: nothing would ever be answered.
                self.pgconn.finish()
                raise

        self.command_queue.append(all_of_it)
        try:
            yield from super()._communicate_gen()
        finally:
            if self.pgconn.status == ConnStatus.OK:
                # It leaves behind what the line would not take at once, also where the first answers are errors already; and the
                # server would wait for that as we for the server.
                yield from send(self.pgconn)
                yield from self._fetch_gen(flush=False)


@asynccontextmanager
async def _packed(connection: Connection) -> AsyncIterator[None]:
    """As the driver's ``connection.pipeline()``, of the other kind. Nobody else uses the connection meanwhile."""
    pipeline = connection._pipeline = _Packed(connection)
    try:
        async with pipeline:
            yield
    finally:
        connection._pipeline = None
