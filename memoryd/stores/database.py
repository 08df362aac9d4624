"""Connections to PostgreSQL: a pool, and transactions that know their tenant.

Nothing here runs a statement without a tenant, but for :meth:`Database.operator` (which sees the list of tenants only)
and :meth:`Database.shared` (installation-wide tables without tenants' data).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from memoryd.errors import Collision, Conflict, StoreUnavailable
from memoryd.stores import arrays
from memoryd.stores.trips import Connection, Cursor, Params, Statement, trip
from memoryd.stores.vectors import register
from retrieval.errors import MemorydError
from retrieval.scope import Scope

_SET_TENANT = "SELECT set_config('memoryd.tenant_id', {}, true)"
# Shared: until the transaction ends, no embedding generation is made or retired (see memoryd.stores.generations).
_WRITE_VECTORS = _SET_TENANT + ", pg_advisory_xact_lock_shared(hashtextextended('memoryd.generations', 10))"
_PIPED_TENANT = _SET_TENANT.format("%(tenant)s")
# For statements that find their rows by key: to plan one anew for its values, which the server otherwise prefers for many, costs
# more than to run it.
_PIPED_BY_KEY = _PIPED_TENANT + ", set_config('plan_cache_mode', 'force_generic_plan', true)"
Begun = TypeVar("Begun")
_LOST = (psycopg.OperationalError, psycopg.InterfaceError)
# A pool may be full of connections that a restarted server has forgotten; each attempt discards one.
_ATTEMPTS = 4
# A machine that is lost, or a firewall that forgot a connection, ends it after 15 to 25 s, and not after hours; over TCP.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}
# Some statements are sent together, each of which may take as long as a statement may.
_TOGETHER = 3
# How long a server may take to stop a statement that nobody waits for any more, before its connection is dropped.
_STOP_S = 1.0

log = logging.getLogger(__name__)


class Database:
    """A pool of service-role connections. Raises :class:`StoreUnavailable` when the server cannot be had in time."""

    def __init__(self, url: str, *, size: int, timeout_s: float, statement_timeout_s: float) -> None:
        options = (
            f"-c statement_timeout={int(statement_timeout_s * 1000)} -c lock_timeout=10000 "
            "-c idle_in_transaction_session_timeout=60000 -c random_page_cost=1.1 "
            # Two cores' worth of helpers a query would starve the other requests.
            "-c max_parallel_workers_per_gather=0 -c jit=off "
            "-c hnsw.iterative_scan=relaxed_order -c timezone=UTC "
            # Of a process that was killed a statement keeps its locks until it ends: minutes, where it publishes.
            "-c client_connection_check_interval=2000"
        )
        self._size, self._timeout_s = size, timeout_s
        # For a free connection, then for the statement, then for the way there and back.
        self._read_timeout_s = timeout_s + statement_timeout_s + 1
        # Without a lock in its first message, a transaction is begun at once or its connection is dead.
        self._begin_s, self._first_s, self._answer_s = timeout_s, statement_timeout_s + 1, _TOGETHER * statement_timeout_s + 1
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            connection_class=Connection,
            kwargs={"options": options, "autocommit": True, "connect_timeout": max(2, int(timeout_s))} | _kept_alive(url),
            min_size=2,
            max_size=size,
            timeout=timeout_s,
            configure=_configure,
            reconnect_timeout=5,
            open=False,
        )
        self._giving: set[asyncio.Task[None]] = set()

    @property
    def size(self) -> int:
        """How many connections there are at most."""
        return self._size

    @property
    def timeout_s(self) -> float:
        """How long to wait for a free connection."""
        return self._timeout_s

    async def open(self) -> None:
        """Start filling the pool. Does not wait: a server that is not there yet answers 503 until it is."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close(timeout=3)

    async def ping(self) -> str:
        """The server's version; raises :class:`StoreUnavailable`."""
        async with self.shared() as connection:
            row = await (await connection.execute("SHOW server_version")).fetchone()
        return str(row[0]) if row else "?"

    @asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncIterator[Connection]:
        """One transaction as ``scope``'s tenant; commits on a clean exit."""
        async with self._begun(_of(scope.tenant_id)) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self, scope: Scope) -> AsyncIterator[Connection]:
        """As :meth:`transaction`, to write vectors in: which generations there are stays as it is until the end."""
        async with self._begun(_of(scope.tenant_id, _WRITE_VECTORS), self._first_s) as connection:
            yield connection

    @asynccontextmanager
    async def opened(self, scope: Scope, statements: Sequence[Statement]) -> AsyncIterator[tuple[Connection, list[Cursor]]]:
        """As :meth:`transaction`, its first statements sent with its start, in one round trip; with the cursors of these.

        For statements that find their rows by key: nothing in it is planned for its values.
        """
        first = [("BEGIN", None), (_PIPED_BY_KEY, {"tenant": _text(scope.tenant_id)}), *statements]
        async with self._open(lambda connection: trip(connection, first), self._first_s) as (connection, cursors):
            yield connection, cursors[2:]

    async def at_once(self, scope: Scope, statements: Sequence[Statement]) -> list[Cursor]:
        """A transaction of these statements alone, in one round trip; their cursors. Planned as those of :meth:`opened`.

        They are sent again when the connection is lost under them: to do them twice has to be no worse than once.
        """
        # What is sent up to the one Sync of a pipeline is a transaction of its own.
        alone = [(_PIPED_BY_KEY, {"tenant": _text(scope.tenant_id)}), *statements]
        try:
            async with (
                asyncio.timeout(self._read_timeout_s),
                self._open(lambda connection: trip(connection, alone), self._first_s) as (_, cursors),
            ):
                return cursors[1:]
        except TimeoutError as error:
            raise StoreUnavailable("the database did not answer in time") from error

    @asynccontextmanager
    async def tenant(self, tenant_id: UUID) -> AsyncIterator[Connection]:
        """A transaction as a tenant that nobody has authenticated yet: for looking up a key, and for maintenance."""
        async with self._begun(_of(tenant_id)) as connection:
            yield connection

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Connection]:
        """A transaction that may read and write ``tenants``, and nothing that is a tenant's."""
        async with self._begun("SET LOCAL ROLE memoryd_operator") as connection:
            yield connection

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[Connection]:
        """A transaction without a tenant: sees installation-wide tables only."""
        async with self._begun("") as connection:
            yield connection

    async def read(
        self, scope: Scope, sql: str, params: Params, *, setup: Sequence[str] = (), timeout_s: float | None = None
    ) -> list[TupleRow]:
        """Rows of one read-only statement, in one round trip (pipelined). ``setup``: ``SET LOCAL`` statements."""
        return (await self.read_all(scope, [(sql, params)], setup=setup, timeout_s=timeout_s))[0]

    async def read_all(
        self,
        scope: Scope,
        statements: Sequence[Statement],
        *,
        setup: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> list[list[TupleRow]]:
        """Rows of several read-only statements of one snapshot, in one round trip.

        Gives up after ``timeout_s`` (default: a little after the server should have, by its ``statement_timeout``), and at
        once when cancelled, also where the server is frozen and hears nothing.
        """
        work = asyncio.create_task(self._read_all(scope, statements, setup))
        try:
            async with asyncio.timeout(self._read_timeout_s if timeout_s is None else timeout_s):
                return await asyncio.shield(work)
        except TimeoutError as error:
            raise StoreUnavailable("the database did not answer in time") from error
        finally:
            if not work.done():
                _abandon(work)

    async def _read_all(self, scope: Scope, statements: Sequence[Statement], setup: Sequence[str]) -> list[list[TupleRow]]:
        with Translated():
            for attempt in range(_ATTEMPTS):
                try:
                    async with self._lent() as connection:
                        connection.answer_s = self._answer_s
                        return await _pipelined(connection, scope.tenant_id, statements, setup)
                except _LOST as error:
                    if attempt == _ATTEMPTS - 1 or not _gone(error):
                        raise
        raise AssertionError  # the loop returns or raises

    @asynccontextmanager
    async def _begun(self, first: str, answer_s: float | None = None) -> AsyncIterator[Connection]:
        # Both in one message: a pipeline of two costs a third more.
        begin = f"BEGIN; {first}"
        opening = self._open(lambda connection: connection.execute(begin, prepare=False), answer_s or self._begin_s)
        async with opening as (connection, _):
            yield connection

    @asynccontextmanager
    async def _open(
        self, begin: Callable[[Connection], Awaitable[Begun]], answer_s: float
    ) -> AsyncIterator[tuple[Connection, Begun]]:
        with Translated():
            connection, begun = await self._begin(begin, answer_s)
            try:
                yield connection, begun
            except MemorydError:
                # Ours, raised between statements: the connection is sound.
                await _roll_back(connection)
                raise
            except BaseException:
                await connection.close()
                raise
            else:
                # Its last statements may have been sent with its end.
                if connection.info.transaction_status is not TransactionStatus.IDLE:
                    try:
                        await connection.execute("COMMIT")
                    except BaseException:
                        await connection.close()
                        raise
            finally:
                await self._give_back(connection)

    async def _begin(self, begin: Callable[[Connection], Awaitable[Begun]], answer_s: float) -> tuple[Connection, Begun]:
        for attempt in range(_ATTEMPTS):
            connection = await self._pool.getconn()
            try:
                connection.answer_s = answer_s
                begun = await begin(connection)
            except BaseException as error:
                await connection.close()
                await self._give_back(connection)
                if not isinstance(error, _LOST) or attempt == _ATTEMPTS - 1 or not _gone(error):
                    raise
            else:
                connection.answer_s = self._answer_s
                return connection, begun
        raise AssertionError

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        connection = await self._pool.getconn()
        try:
            yield connection
        except BaseException:
            # A trip that failed has closed it already.
            await connection.close()
            raise
        finally:
            await self._give_back(connection)

    async def _give_back(self, connection: Connection) -> None:
        """Also when the caller is cancelled meanwhile: the pool would never see the connection again, and whoever was about to
        be given it would wait in vain."""
        giving = asyncio.create_task(self._pool.putconn(connection))
        self._giving.add(giving)
        giving.add_done_callback(self._giving.discard)
        await asyncio.shield(giving)


def _kept_alive(url: str) -> dict[str, int]:
    """What the URL says itself goes before; one that says nothing that can be understood fails as soon as it is used."""
    try:
        said = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return {}
    return {name: value for name, value in _KEEPALIVE.items() if name not in said}


def _of(tenant_id: UUID, first: str = _SET_TENANT) -> str:
    """``first`` as this tenant."""
    return first.format(sql.Literal(_text(tenant_id)).as_string())


def _text(tenant_id: UUID) -> str:
    return str(UUID(bytes=tenant_id.bytes))


_ABANDONED: set[asyncio.Task[list[list[TupleRow]]]] = set()


def _abandon(work: asyncio.Task[list[list[TupleRow]]]) -> None:
    """Cancel a read that nobody waits for, without waiting for it.

    Cancelled once, the driver asks the server to stop and waits for seconds until it has: right for a busy server, for the
    connection can be used again. A frozen one does not answer, so a second cancellation makes the driver drop the connection.
    """
    _ABANDONED.add(work)
    work.cancel()
    again = asyncio.get_running_loop().call_later(_STOP_S, work.cancel)

    def ended(done: asyncio.Task[list[list[TupleRow]]]) -> None:
        again.cancel()
        _ABANDONED.discard(done)
        if not done.cancelled() and done.exception() is not None:
            log.info("an abandoned read ended with %s", type(done.exception()).__name__)

    work.add_done_callback(ended)


async def _configure(connection: Connection) -> None:
    await register(connection)
    arrays.register(connection)
    connection.prepare_threshold = 3


def _gone(error: Exception) -> bool:
    """True when the connection was lost, so that another may do; false when the server answered with an error.

    The driver counts timeouts of locks and statements (57014, 55P03), deadlocks and its pool's own as operational errors
    too: trying those again only multiplies the wait.
    """
    if isinstance(error, PoolTimeout):
        return False
    state = getattr(error, "sqlstate", None)
    return state is None or (state[:2] in {"08", "57"} and state != "57014")


async def _roll_back(connection: Connection) -> None:
    """Roll back; a connection that cannot is closed, so that the pool discards it."""
    try:
        async with asyncio.timeout(2):
            await connection.execute("ROLLBACK")
    except (psycopg.Error, TimeoutError):
        await connection.close()


async def _pipelined(
    connection: Connection, tenant_id: UUID, statements: Sequence[Statement], setup: Sequence[str]
) -> list[list[TupleRow]]:
    commands: list[Statement] = [(_PIPED_TENANT, {"tenant": _text(tenant_id)}), *((command, None) for command in setup)]
    cursors: list[Cursor]
    # One statement needs no BEGIN and COMMIT, each of which costs as much here as the rest: a pipeline up to its one Sync is a
    # transaction. Several need them to see one snapshot.
    if setup or len(statements) > 1:
        begin, end = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", None), ("COMMIT", None)
        cursors = (await trip(connection, [begin, *commands, *statements, end]))[len(commands) + 1 : -1]
    else:
        cursors = (await trip(connection, [*commands, *statements]))[len(commands) :]
    return [await cursor.fetchall() for cursor in cursors]


class Translated:
    """Driver errors become ours, the cause kept: :class:`StoreUnavailable` for a server that is not there or takes no writes,
    :class:`Conflict` where a space or a tenant went away under a write, :class:`Collision` for the loser of a deadlock."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PoolTimeout):
            raise StoreUnavailable("the database did not give a connection in time") from error
        if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable):
            raise StoreUnavailable("the database did not answer in time") from error
        if isinstance(error, psycopg.errors.ForeignKeyViolation):
            raise Conflict("what this belongs to was deleted meanwhile") from error
        if isinstance(error, psycopg.errors.DeadlockDetected):
            raise Collision("others are writing the same just now; send the request again") from error
        if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            raise StoreUnavailable("the database takes no writes at present: it is a standby") from error
        if isinstance(error, _LOST):
            log.warning("database connection lost: %s", type(error).__name__)
            raise StoreUnavailable("the database cannot be reached") from error
