"""Whoever gives up at whatever moment: the connection goes back, and who waits for it has it."""

import asyncio
from uuid import UUID

import pytest

from memoryd.settings import Settings
from memoryd.stores.database import Database
from retrieval.scope import Scope

_SCOPE = Scope(UUID(int=1), "tests", frozenset())


async def turns(number: int) -> None:
    """So many turns of the event loop."""
    for _ in range(number):
        await asyncio.sleep(0)


async def hold(database: Database, ready: asyncio.Event, leave: asyncio.Event) -> None:
    async with database.shared() as connection:
        await connection.execute("COMMIT")
        ready.set()
        await leave.wait()


@pytest.mark.parametrize("leaves_first", [False, True])
async def test_who_waits_has_the_connection_of_one_who_is_cancelled_while_giving_it_back(
    settings: Settings, leaves_first: bool
) -> None:
    assert settings.database_url is not None
    database = Database(settings.database_url.get_secret_value(), size=2, timeout_s=2, statement_timeout_s=5)
    await database.open()
    try:
        async with database.shared():  # of two connections
            for before, behind in ((before, behind) for before in range(4) for behind in range(5)):
                ready, leave = asyncio.Event(), asyncio.Event()
                holding = asyncio.create_task(hold(database, ready, leave))
                await ready.wait()
                if leaves_first:
                    leave.set()
                    await turns(before)
                waiting = asyncio.create_task(database.read(_SCOPE, "SELECT 1", {}))
                if not leaves_first:
                    await turns(before)
                    leave.set()
                await turns(behind)
                holding.cancel()
                await asyncio.wait([holding])
                assert await waiting == [(1,)], (before, behind)
    finally:
        await database.close()


@pytest.mark.parametrize("at_once", [False, True])
async def test_reads_that_are_cancelled_at_any_moment_keep_no_connection(settings: Settings, at_once: bool) -> None:
    assert settings.database_url is not None
    database = Database(settings.database_url.get_secret_value(), size=2, timeout_s=2, statement_timeout_s=5)
    await database.open()
    statement: tuple[str, dict[str, object]] = ("SELECT 1", {})
    try:
        for number in range(60):
            reads = [
                asyncio.ensure_future(database.at_once(_SCOPE, [statement]) if at_once else database.read(_SCOPE, *statement))
                for _ in range(4)
            ]
            await turns(number % 12)
            for one in reads[::2]:
                one.cancel()
            found = await asyncio.gather(*reads, return_exceptions=True)
            assert not [one for one in found[1::2] if isinstance(one, BaseException)], number
    finally:
        await database.close()
