"""Stores over the session's real PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from memoryd.database_wiring import database as service_database
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.generations import Generation, live_generation


@pytest.fixture(scope="session")
async def database(settings: Settings) -> AsyncIterator[Database]:
    opened = service_database(settings)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
async def generation(database: Database) -> Generation:
    found = await live_generation(database)
    assert found is not None
    return found
