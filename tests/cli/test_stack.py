"""The stack of a data directory: its PostgreSQL takes as many connections as the settings make its processes open."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from memoryd.cli.stack import max_connections
from memoryd.embedded.datadir import opened
from memoryd.embedded.postgres import PostgresServer
from memoryd.settings import Settings
from tests.embedded.conftest import open_folder


@pytest.fixture
def place() -> Iterator[Path]:
    yield from open_folder()


@pytest.mark.parametrize(("size", "most"), [(3, 60), (10, 60), (40, 210), (200, 1010)])
def test_the_pools_and_a_few_more_have_their_connections(size: int, most: int, place: Path) -> None:
    wanted = max_connections(Settings(database_pool_size=size))
    assert wanted == most
    with opened(place / "d") as data:
        assert f"-cmax_connections={most}" in PostgresServer(data, port=1, max_connections=wanted).spec().argv
