"""Several statements in one round trip to PostgreSQL. A round trip costs more of a small statement than the statement does."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline
from psycopg.abc import PQGen
from psycopg.pq import ConnStatus
from psycopg.rows import TupleRow

Params = Mapping[str, object]
Connection = AsyncConnection[TupleRow]
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

        def send() -> None:
            try:
                for command in queued:
                    command()
            except BaseException:
                # What was sent has no end: nothing would ever be answered.
                self.pgconn.finish()
                raise

        self.command_queue.append(send)
        try:
            yield from super()._communicate_gen()
        finally:
            if self.pgconn.status == ConnStatus.OK:
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
