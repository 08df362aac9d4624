"""Applies ``migrations/*.sql`` in order: advisory-locked, checksummed, one transaction a file, as the owner role."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from memoryd.errors import ServiceError, StoreUnavailable
from memoryd.stores.database import Database, Translated
from retrieval.ports import ModelCard

_LOCK = 0x6D656D6F  # «memo»
_LEDGER = """
CREATE TABLE IF NOT EXISTS memoryd.migrations (
    name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
"""
# The service compares it with the files that it came with.
_LEDGER_READABLE = "GRANT SELECT ON memoryd.migrations TO memoryd_service"
_APPLIED = "SELECT name FROM memoryd.migrations"
# Releases that did not grant it yet had these, and granted the schema by the first of them.
_BEFORE_THE_GRANT = {"0001_tenancy.sql", "0002_memories.sql", "0003_retrieval.sql"}
_ENTERED = "SELECT has_schema_privilege('memoryd', 'USAGE')"
# The first generation, with the table of its vectors. The operator makes the others (memoryd.stores.generations).
_KNOWN = "SELECT state FROM generations WHERE tenant_id IS NULL AND (model, revision, dimension) = (%s, %s, %s)"
_FIRST = """
INSERT INTO generations (generation, model, revision, dimension, query_prefix, passage_prefix, state, live_at)
VALUES (1, %s, %s, %s, %s, %s, 'live', now())
"""
# Those of before generations had prefixes.
_PREFIXES = """
UPDATE generations SET query_prefix = %s, passage_prefix = %s
WHERE (model, revision, dimension) = (%s, %s, %s) AND query_prefix = '' AND passage_prefix = ''
"""


class MigrationRefused(ServiceError):
    """A file differs from the one that was applied, or the database is newer than this program."""

    code, title = "migration_refused", "Migration refused"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def folder() -> Path:
    """Where the SQL files are: beside the installed package, or in the source tree."""
    installed = Path(__file__).parent.parent / "_migrations"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "migrations"


def available() -> list[Migration]:
    """The numbered files, in order."""
    return [Migration(path.name, path.read_text()) for path in sorted(folder().glob("[0-9]*.sql"))]


def migrate(owner_url: str, migrations: Sequence[Migration]) -> list[str]:
    """Apply what is missing; the names applied. Raises :class:`MigrationRefused`, ``StoreUnavailable``."""
    applied = []
    with Translated(), _connect(owner_url) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        connection.execute(_LEDGER)
        connection.execute(_LEDGER_READABLE)
        done = {str(name): sha for name, sha in connection.execute("SELECT name, sha256 FROM memoryd.migrations").fetchall()}
        unknown = sorted(set(done) - {migration.name for migration in migrations})
        if unknown:
            raise MigrationRefused(f"the database has {unknown[0]}, which this version does not know: upgrade memoryd")
        for migration in migrations:
            if migration.name in done:
                if done[migration.name] != migration.sha256:
                    raise MigrationRefused(f"{migration.name} was changed after it had been applied")
                continue
            with connection.transaction():
                connection.execute(migration.sql.encode())
                connection.execute(
                    "INSERT INTO memoryd.migrations (name, sha256) VALUES (%s, %s)",
                    (migration.name, migration.sha256),
                )
            applied.append(migration.name)
    return applied


@dataclass(frozen=True, slots=True)
class Difference:
    """Between a database and this program. ``missing`` must be applied first; ``unknown`` are of a newer release."""

    missing: tuple[str, ...]
    unknown: tuple[str, ...]


async def difference(database: Database) -> Difference:
    """Which migrations the database lacks, and which it has that this program does not know. Raises ``StoreUnavailable``."""
    known = {migration.name for migration in await asyncio.to_thread(available)}
    try:
        async with database.shared() as connection:
            applied = {str(name) for (name,) in await (await connection.execute(_APPLIED)).fetchall()}
    except psycopg.errors.UndefinedTable:
        applied = set()
    except psycopg.errors.InsufficientPrivilege:
        async with database.shared() as connection:
            entered = await (await connection.execute(_ENTERED)).fetchone()
        applied = _BEFORE_THE_GRANT if entered is not None and entered[0] else set()
    return Difference(tuple(sorted(known - applied)), tuple(sorted(applied - known)))


async def migrated(database: Database) -> Difference:
    """What the database has beyond this program. Raises :class:`MigrationRefused` when it lacks anything."""
    between = await difference(database)
    if between.missing:
        raise MigrationRefused(f"the database lacks {', '.join(between.missing)}: run `memoryd migrate`")
    return between


def ensure_generation(owner_url: str, card: ModelCard) -> int:
    """The number of the installation's live generation, made for ``card`` if there is none yet.

    Raises :class:`MigrationRefused` when the installation never had vectors of this model: a setting is not how a model is
    changed.
    """
    with Translated(), _connect(owner_url) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        same = (card.name, card.revision, card.dimension)
        live = connection.execute(
            "SELECT generation, model, revision, dimension FROM generations WHERE state = 'live' AND tenant_id IS NULL"
        ).fetchone()
        if live is None:
            connection.execute(_FIRST, (*same, card.query_prefix, card.passage_prefix))
            live = (1, *same)
        number, model, revision, dimension = live
        if connection.execute(_KNOWN, same).fetchone() is None:
            raise MigrationRefused(
                f"this installation's vectors are of {model} ({revision}, {dimension}-d); the configured model is "
                f"{card.name} ({card.revision}, {card.dimension}-d). Set MEMORYD_EMBEDDING_MODEL back, and change the model "
                "with `memoryd generations create`"
            )
        connection.execute(_PREFIXES, (card.query_prefix, card.passage_prefix, *same))
        connection.execute("SELECT add_vectors_table(%s, %s)", (number, dimension))
    return int(str(number))


def _connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=5, options="-c search_path=memoryd,public")
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"the database cannot be reached as its owner: {error}") from error
