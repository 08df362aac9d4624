"""Transactions whose first or last statements go with their start or end: all or none of it, and as the tenant."""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from psycopg import waiting
from psycopg.waiting import Wait

from memoryd.errors import Conflict, NotFound, StoreUnavailable
from memoryd.stores.database import Database
from memoryd.stores.trips import Statement, last_trip
from retrieval.scope import Scope

_TENANT = "INSERT INTO tenants (tenant_id, name) VALUES (%(tenant)s, 'trips-' || %(tenant)s::text)"
_ADD = "INSERT INTO spaces (tenant_id, space_id, name) VALUES (%(tenant)s, %(id)s, %(name)s)"
_NAMES = "SELECT name FROM spaces WHERE tenant_id = %(tenant)s ORDER BY name"


@pytest.fixture
async def scope(database: Database) -> Scope:
    tenant_id = uuid4()
    async with database.operator() as connection:
        await connection.execute(_TENANT, {"tenant": tenant_id})
    return Scope(tenant_id, "tests", frozenset())


def adding(tenant_id: UUID, *names: str) -> list[Statement]:
    return [(_ADD, {"tenant": tenant_id, "id": uuid4(), "name": name}) for name in names]


async def names(database: Database, scope: Scope) -> Sequence[str]:
    return [name for (name,) in await database.read(scope, _NAMES, {"tenant": scope.tenant_id})]


async def test_all_or_none_of_what_is_sent_at_once(database: Database, scope: Scope) -> None:
    *_, found = await database.at_once(scope, [*adding(scope.tenant_id, "a", "b"), (_NAMES, {"tenant": scope.tenant_id})])
    assert await found.fetchall() == [("a",), ("b",)]
    another = uuid4()  # a tenant that does not exist
    for _ in range(5):  # more often than there are connections
        with pytest.raises(Conflict):
            await database.at_once(Scope(another, "tests", frozenset()), [*adding(another, "c")])
    broken = [*adding(scope.tenant_id, "c"), ("SELECT 1 / 0", None), *adding(scope.tenant_id, "d")]
    for _ in range(5):
        with pytest.raises(Exception, match="division by zero"):
            await database.at_once(scope, broken)
    unsendable = [*adding(scope.tenant_id, "c"), ("SELECT %(text)s::text", {"text": "\0"})]
    with pytest.raises(Exception, match="NUL"):
        await database.at_once(scope, unsendable)
    assert await names(database, scope) == ["a", "b"]


async def test_what_the_driver_cannot_send_leaves_no_half_sent_transaction(database: Database, scope: Scope) -> None:
    most = 65_535  # parameters, by the protocol
    unsendable = f"SELECT cardinality(ARRAY[{', '.join(['%s'] * (most + 1))}]::text[])", ["x"] * (most + 1)
    for _ in range(5):  # more often than there are connections
        with pytest.raises(Exception, match="cannot be reached"):
            await database.at_once(scope, [*adding(scope.tenant_id, "a"), unsendable, *adding(scope.tenant_id, "b")])
    assert await names(database, scope) == []


@pytest.mark.parametrize("size", [100_000, 1_000_000, 10_000_000])
async def test_a_trip_may_be_larger_than_what_the_line_takes_at_once(database: Database, scope: Scope, size: int) -> None:
    text, sql = "x" * size, "SELECT %(text)s::text"
    for _ in range(2):
        async with asyncio.timeout(20):
            found = await database.at_once(scope, [(sql, {"text": text})] * 2)
        assert [await one.fetchone() for one in found] == [(text,)] * 2


async def test_a_large_trip_that_fails_at_once_is_sent_to_its_end(database: Database, scope: Scope) -> None:
    failing = "SELECT 1 / (SELECT 0 FROM pg_sleep(0.2))", None
    for _ in range(2):
        async with asyncio.timeout(15):
            with pytest.raises(Exception, match="division by zero"):
                await database.at_once(scope, [failing, ("SELECT %(text)s::text", {"text": "x" * 20_000_000})])


async def test_a_server_is_waited_for_as_long_as_it_goes_on_sending(database: Database, scope: Scope) -> None:
    async def rows_until(stuck: int) -> int:
        sql = "SELECT repeat('x', 20000), pg_sleep(CASE n WHEN %(stuck)s THEN 20 ELSE 0.15 END) FROM generate_series(1, 10) n"
        async with database.transaction(scope) as connection:
            connection.answer_s = 0.7
            return len(await (await connection.execute(sql, {"stuck": stuck})).fetchall())

    assert await rows_until(11) == 10
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await rows_until(3)
    assert time.monotonic() - began < 10


async def test_a_trip_is_one_message_for_the_server(database: Database, scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    looked = waiting._ready  # before each message the driver looks whether it may send

    def ready(fileno: int, events: Wait) -> int:
        sent.append("look")
        return looked(fileno, events)

    monkeypatch.setattr(waiting, "_ready", ready)
    looks: list[int] = []
    for count in (1, 9):
        sent.clear()
        await database.at_once(scope, [("SELECT 1", None)] * count)
        looks.append(len(sent))
    assert looks[0] == looks[1] > 0


async def test_a_row_of_another_tenant_is_refused_at_once(database: Database, scope: Scope) -> None:
    with pytest.raises(Exception, match="row-level security"):
        await database.at_once(Scope(uuid4(), "tests", frozenset()), adding(scope.tenant_id, "a"))
    assert await names(database, scope) == []


async def test_what_is_sent_with_the_start_is_undone_with_the_rest(database: Database, scope: Scope) -> None:
    with pytest.raises(NotFound):
        async with database.opened(scope, adding(scope.tenant_id, "a")):
            raise NotFound("ours")
    with pytest.raises(ZeroDivisionError):
        async with database.opened(scope, adding(scope.tenant_id, "a")):
            raise ZeroDivisionError
    async with database.opened(scope, [*adding(scope.tenant_id, "a"), (_NAMES, {"tenant": scope.tenant_id})]) as (
        connection,
        found,
    ):
        assert await found[-1].fetchall() == [("a",)]
        assert await names(database, scope) == []
        for sql, params in adding(scope.tenant_id, "b"):
            await connection.execute(sql, params)
    assert await names(database, scope) == ["a", "b"]


async def test_what_is_sent_with_the_end_is_kept_with_the_rest(database: Database, scope: Scope) -> None:
    async with database.opened(scope, adding(scope.tenant_id, "a")) as (connection, _):
        *_, found = await last_trip(connection, [*adding(scope.tenant_id, "b"), (_NAMES, {"tenant": scope.tenant_id})])
        assert await found.fetchall() == [("a",), ("b",)]
        assert await names(database, scope) == ["a", "b"]
    with pytest.raises(Exception, match="division by zero"):
        async with database.opened(scope, adding(scope.tenant_id, "c")) as (connection, _):
            await last_trip(connection, [("SELECT 1 / 0", None)])
    assert await names(database, scope) == ["a", "b"]
