"""A knowledge base for each test."""

import pytest

from memoryd.stores.database import Database
from memoryd.stores.generations import Generation
from tests.stores.knowledge.shelf import Shelf, new_shelf


@pytest.fixture
async def shelf(database: Database, generation: Generation) -> Shelf:
    return await new_shelf(database, generation)
