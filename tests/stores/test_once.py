"""Idempotency keys around long work: who waits for whom, and what a second request with one key is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import ValidationError

from memoryd.database_wiring import database as service_database
from memoryd.database_wiring import opened
from memoryd.errors import IdempotencyInProgress, IdempotencyKeyReused
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Receipt
from memoryd.settings import Settings
from memoryd.stores import once
from memoryd.stores.database import Database
from memoryd.stores.generations import Generation
from memoryd.stores.idempotency import reserve
from memoryd.stores.once import PgOnce
from memoryd.stores.trips import Connection
from retrieval.scope import Scope
from tests.stores.knowledge.shelf import Shelf, new_shelf

PROMPTLY_S = 5


@pytest.fixture
async def shelf(database: Database, generation: Generation) -> Shelf:
    return await new_shelf(database, generation)


def key(name: str) -> Idempotency:
    return Idempotency(name, bytes(32))


async def never() -> Receipt:
    raise AssertionError


@asynccontextmanager
async def endless(use: PgOnce, scope: Scope, *names: str) -> AsyncIterator[None]:
    """Work under these keys that does not end; some of it may wait for its turn."""
    began = asyncio.Event()

    async def work() -> Receipt:
        began.set()
        await asyncio.Event().wait()
        return {}

    tasks = [asyncio.create_task(use.run(scope, key(name), work)) for name in names]
    await began.wait()
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_work_of_one_tenant_that_does_not_end_holds_up_no_other(
    shelf: Shelf, database: Database, generation: Generation
) -> None:
    other = await new_shelf(database, generation)
    await other.release(a=["one line"])
    await other.release(a=["another"])

    async def roll_back() -> Receipt:
        return {"seq": (await other.rollback(1)).seq}

    use = PgOnce(database)
    async with endless(use, shelf.scope, "a", "b", "c"), asyncio.timeout(PROMPTLY_S):
        assert await use.run(other.scope, key("a"), roll_back) == {"seq": 1}
    assert await use.run(shelf.scope, key("d"), roll_back) == {"seq": 1}, "what was given up leaves its place"


async def test_work_finds_a_connection_beside_those_of_all_keys(
    shelf: Shelf, database: Database, generation: Generation, settings: Settings
) -> None:
    """Both kinds of work, of two tenants each, in the smallest pool that the settings allow."""
    least = min(size for size in range(1, 5) if _allowed(size))
    others = [shelf, await new_shelf(database, generation)]
    async with opened(service_database(settings.model_copy(update={"database_pool_size": least}))) as small:

        async def work() -> Receipt:
            await asyncio.sleep(0.3)
            return {"live": (await small.read(shelf.scope, "SELECT 1", {}))[0][0]}

        async with asyncio.timeout(PROMPTLY_S):
            work_of = [
                use.run(one.scope, key(f"{n}"), work) for n, use in enumerate((PgOnce(small), PgOnce(small))) for one in others
            ]
            assert await asyncio.gather(*work_of) == [{"live": 1}] * 4


def _allowed(size: int) -> bool:
    try:
        Settings(database_pool_size=size)
    except ValidationError:
        return False
    return True


async def test_who_repeats_what_is_running_is_told_at_once(shelf: Shelf, database: Database) -> None:
    use = PgOnce(database)
    async with endless(use, shelf.scope, "a", "waiting"), asyncio.timeout(PROMPTLY_S):
        for name in ("a", "waiting"):
            with pytest.raises(IdempotencyInProgress):
                await use.run(shelf.scope, key(name), never)
        with pytest.raises(IdempotencyInProgress):
            await PgOnce(database).run(shelf.scope, key("a"), never)  # another process


async def test_a_key_waits_for_its_work_however_long_that_takes(
    shelf: Shelf, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key's transaction is idle meanwhile, and the server ends those that are idle for a minute: here, for 50 ms."""

    async def reserved(connection: Connection, scope: Scope, idempotency: Idempotency) -> Receipt | None:
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 50")
        return await reserve(connection, scope, idempotency)

    async def work() -> Receipt:
        await asyncio.sleep(0.3)
        return {"done": 1}

    monkeypatch.setattr(once, "reserve", reserved)
    assert await PgOnce(database).run(shelf.scope, key("k"), work) == {"done": 1}
    assert await PgOnce(database).run(shelf.scope, key("k"), never) == {"done": 1}
    with pytest.raises(IdempotencyKeyReused):
        await PgOnce(database).run(shelf.scope, Idempotency("k", bytes([1]) * 32), never)
