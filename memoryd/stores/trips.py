"""Several statements in one round trip to PostgreSQL. A round trip costs more of a small statement than the statement does."""

from collections.abc import Mapping, Sequence

from psycopg import AsyncConnection, AsyncCursor
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
        async with connection.pipeline():
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
