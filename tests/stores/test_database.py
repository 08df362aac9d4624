"""The pool when the server goes away, stays away, and comes back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from memoryd.errors import StoreUnavailable
from memoryd.settings import Settings
from memoryd.stores.database import Database
from retrieval.scope import Scope

_SCOPE = Scope(UUID(int=1), "tests", frozenset())
_TIMEOUT_S = 1.0


class Line:
    """A TCP line to the real server that can be cut, which a server that others use cannot be."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._lost: list[asyncio.Event] = []
        self.port = 0

    async def connect(self) -> None:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for flows in self._lost:
            flows.set()
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()
        await asyncio.sleep(0.05)

    def freeze(self) -> None:
        """From now on nothing is answered, on old connections and new, as of a stopped process."""
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def lose(self) -> None:
        """As :meth:`freeze`, but connections that are made from now on are sound."""
        self.freeze()
        self._lost.append(self._flows)
        self._flows = asyncio.Event()
        self.thaw()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._open += [writer, far_writer]
        flows = self._flows
        await asyncio.gather(self._copy(reader, far_writer, flows), self._copy(far_reader, writer, flows))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event) -> None:
        try:
            while chunk := await reader.read(2**16):
                await flows.wait()
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def _database_behind_a_line(settings: Settings) -> AsyncIterator[tuple[Database, Line]]:
    assert settings.database_url is not None
    parts = urlsplit(settings.database_url.get_secret_value())
    assert parts.hostname is not None
    assert parts.port is not None
    line = Line(parts.hostname, parts.port)
    await line.connect()
    url = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{line.port}")).geturl()
    database = Database(url, size=4, timeout_s=_TIMEOUT_S, statement_timeout_s=5)
    await database.open()
    try:
        yield database, line
    finally:
        await database.close()
        await line.cut()


async def _one(database: Database) -> int:
    return int((await database.read(_SCOPE, "SELECT 1", {}))[0][0])


async def _had_again(database: Database) -> None:
    began = time.monotonic()
    while True:
        try:
            assert await _one(database) == 1
        except StoreUnavailable:
            assert time.monotonic() - began < 10
        else:
            return


async def test_without_a_server_every_way_in_gives_up_after_one_timeout(settings: Settings) -> None:
    async with _database_behind_a_line(settings) as (database, line):
        assert await _one(database) == 1
        await line.cut()
        for _ in range(2):  # the first finds dead connections, the second none
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await _one(database)
            assert time.monotonic() - began < 2 * _TIMEOUT_S
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                async with database.transaction(_SCOPE):
                    pass
            assert time.monotonic() - began < 2 * _TIMEOUT_S


async def test_connections_that_died_unused_are_replaced_unnoticed(settings: Settings) -> None:
    async with _database_behind_a_line(settings) as (database, line):
        assert await asyncio.gather(*(_one(database) for _ in range(3))) == [1, 1, 1]
        await line.cut()
        await line.connect()
        assert await _one(database) == 1
        async with database.transaction(_SCOPE) as connection:
            await connection.execute("SELECT 1")
        await line.cut()
        await line.connect()
        (found,) = await database.at_once(_SCOPE, [("SELECT 1", None)])
        assert await found.fetchone() == (1,)


async def _hold(database: Database, lock: int, seconds: int) -> None:
    async with database.transaction(_SCOPE) as connection:
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))
        await connection.execute("SELECT pg_sleep(%s)", (seconds,))


async def test_what_a_killed_process_was_doing_ends_with_it(settings: Settings) -> None:
    """Its connections are closed under a statement that has long to go, and a lock with that."""

    async def held() -> bool:
        sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = 471108"
        return await database.read(_SCOPE, sql, {}) != [(0,)]

    async with _database_behind_a_line(settings) as (database, line):
        working = asyncio.create_task(_hold(database, 471108, 60))
        while not await held():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.05)
        await line.cut()
        with pytest.raises(StoreUnavailable):
            await working
        await line.connect()
        async with asyncio.timeout(15):
            while await held():  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def _write_to_a_standby(database: Database) -> None:
    async with database.transaction(_SCOPE) as connection:
        await connection.execute("SET TRANSACTION READ ONLY")  # as every transaction there is
        await connection.execute("DELETE FROM spaces")


async def test_a_server_that_became_a_standby_is_one_that_is_not_there(settings: Settings) -> None:
    async with _database_behind_a_line(settings) as (database, _):
        with pytest.raises(StoreUnavailable, match="no writes"):
            await _write_to_a_standby(database)
        assert await _one(database) == 1


@pytest.mark.slow
async def test_a_server_that_was_long_away_is_found_again(settings: Settings) -> None:
    async with _database_behind_a_line(settings) as (database, line):
        assert await _one(database) == 1
        await line.cut()
        until = time.monotonic() + 8  # longer than the pool tries by itself
        while time.monotonic() < until:
            with pytest.raises(StoreUnavailable):
                await _one(database)
        await line.connect()
        await _had_again(database)


async def test_a_stall_poisons_no_connection(settings: Settings) -> None:
    """Statements that time out or are cancelled in the middle of a pipeline: the next ones are answered all the same."""
    assert settings.database_url is not None
    database = Database(settings.database_url.get_secret_value(), size=3, timeout_s=5, statement_timeout_s=0.1)
    await database.open()
    try:
        for _ in range(6):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await database.read(_SCOPE, "SELECT pg_sleep(2)", {})
            assert time.monotonic() - began < 2, "the statement would take as long"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.03):
                    await database.read_all(_SCOPE, [("SELECT 1, pg_sleep(2)", {}), ("SELECT 2", {})])
            assert await asyncio.gather(*(_one(database) for _ in range(6))) == [1] * 6
    finally:
        await database.close()


async def test_a_frozen_server_holds_nobody(settings: Settings) -> None:
    """A stopped process accepts and never answers: reads end on time, and all is well when it goes on."""
    async with _database_behind_a_line(settings) as (database, line):
        assert await asyncio.gather(*(_one(database) for _ in range(4))) == [1] * 4
        line.freeze()
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await database.read(_SCOPE, "SELECT 1", {}, timeout_s=0.3)
            assert time.monotonic() - began < 2 * _TIMEOUT_S
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await database.read_all(_SCOPE, [("SELECT 1", {}), ("SELECT 2", {})])
            assert time.monotonic() - began < 2 * _TIMEOUT_S, "cancelled is over, whatever the driver still hopes for"
        line.thaw()
        async with asyncio.timeout(15):
            while True:
                try:
                    assert await asyncio.gather(*(_one(database) for _ in range(4))) == [1] * 4
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.1)


async def test_connections_whose_line_went_dead_are_replaced_unnoticed(settings: Settings) -> None:
    async with _database_behind_a_line(settings) as (database, line):
        await asyncio.gather(*(_one(database) for _ in range(3)))
        line.lose()
        began = time.monotonic()
        async with database.transaction(_SCOPE) as connection:
            await connection.execute("SELECT 1")
        assert time.monotonic() - began < 20 * _TIMEOUT_S


async def test_a_line_that_dies_within_a_transaction_is_waited_for_no_longer_than_statements_take(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _database_behind_a_line(settings) as (database, line):
        monkeypatch.setattr(database, "_answer_s", 0.3)

        async def dying(*statements: str) -> None:
            async with database.transaction(_SCOPE) as connection:
                line.lose()
                for one in statements:
                    await connection.execute(one)

        for statements in (("SELECT 1",), ()):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await dying(*statements)
            assert time.monotonic() - began < 20 * _TIMEOUT_S, "others that were lost before it are found first"
        await _had_again(database)  # one that was just being made was lost too, and its place is given up after 2 s
        async with database.transaction(_SCOPE) as connection:
            await connection.be_patient()
            await connection.execute("SELECT pg_sleep(0.6)")
        await asyncio.gather(*(_one(database) for _ in range(8)))  # no place of the pool is lost


async def test_an_answer_that_is_there_is_read_however_late(settings: Settings) -> None:
    assert settings.database_url is not None
    database = Database(settings.database_url.get_secret_value(), size=2, timeout_s=5, statement_timeout_s=5)
    await database.open()
    try:
        async with database.transaction(_SCOPE) as connection:
            connection.answer_s = 0.3
            asking = asyncio.create_task(connection.execute("SELECT 1 FROM pg_sleep(0.1)"))
            await asyncio.sleep(0.02)
            time.sleep(0.5)  # noqa: ASYNC251 - the event loop stands still
            assert await (await asking).fetchone() == (1,)
    finally:
        await database.close()


async def test_a_url_that_is_none_is_a_database_that_is_not_there() -> None:
    database = Database("no such url", size=2, timeout_s=0.3, statement_timeout_s=5)
    await database.open()
    try:
        with pytest.raises(StoreUnavailable):
            await database.ping()
    finally:
        await database.close()


async def test_what_a_url_says_of_its_connections_holds(settings: Settings) -> None:
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    url += ("&" if "?" in url else "?") + "keepalives_idle=77"
    database = Database(url, size=2, timeout_s=5, statement_timeout_s=5)
    await database.open()
    try:
        async with database.transaction(_SCOPE) as connection:
            parameters = connection.info.get_parameters()
    finally:
        await database.close()
    assert (parameters["keepalives_idle"], parameters["tcp_user_timeout"]) == ("77", "15000")
