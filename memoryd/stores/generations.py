"""The registry of embedding generations in PostgreSQL.

The service's role reads what the tenant may see; everything is written as the operator. Who writes vectors takes ``HOLD`` and
then reads which generations there are; who makes or retires one takes ``ALONE``: no writer commits without having seen it.
"""

from uuid import UUID

from psycopg.rows import TupleRow

from memoryd.generations.catalogue import Catalogue
from memoryd.generations.model import Generation as Generation
from memoryd.generations.model import State
from memoryd.stores.database import Database
from memoryd.stores.trips import Connection

COLUMNS = """
generation, model, revision, dimension, query_prefix, passage_prefix, state, tenant_id, kb_id, replaced
"""
_LIVE = f"SELECT {COLUMNS} FROM generations WHERE state = 'live' AND tenant_id IS NULL"
CATALOGUE = f"""
SELECT {COLUMNS} FROM generations
WHERE state <> 'retired' AND (tenant_id IS NULL OR tenant_id = %(tenant)s) ORDER BY generation
"""
"""Every unretired generation over a tenant's data; within a transaction behind ``HOLD``, for its whole rest."""

HOLDING = "pg_advisory_xact_lock_shared(hashtextextended('memoryd.generations', 10))"
HOLD = "SELECT " + HOLDING
"""Until the transaction ends no generation is made or retired; :meth:`Database.writing` begins with it."""
ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('memoryd.generations', 10))"
"""Until the transaction ends nobody writes vectors."""

_RETIRE_OF_BASE = """
UPDATE generations SET state = 'retired', retired_at = now(), paused = false
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND state <> 'retired'
"""

# What was retired just now may still be read by requests that began before.
_IN_USE = f"""
SELECT {COLUMNS} FROM generations WHERE state <> 'retired' OR retired_at > now() - interval '2 minutes' ORDER BY generation
"""


async def live_generation(database: Database) -> Generation | None:
    """The installation's live generation, or ``None`` in a database that was not migrated for a model yet."""
    async with database.shared() as connection:
        row = await (await connection.execute(_LIVE)).fetchone()
    return generation(row) if row else None


async def known_models(database: Database) -> set[tuple[str, str]]:
    """Name and revision of the models that the installation's generations were made with, retired ones included."""
    async with database.shared() as connection:
        rows = await (await connection.execute("SELECT model, revision FROM generations WHERE tenant_id IS NULL")).fetchall()
    return {(model, revision) for model, revision in rows}


class PgCatalogues:
    """:class:`memoryd.generations.ports.Catalogues` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def catalogue(self, tenant_id: UUID) -> Catalogue:
        """What is over a tenant's data now."""
        async with self._database.tenant(tenant_id) as connection:
            return await covering(connection, tenant_id)

    async def in_use(self) -> list[Generation]:
        """Every generation of the installation whose model is needed somewhere."""
        async with self._database.operator() as connection:
            return [generation(row) for row in await (await connection.execute(_IN_USE)).fetchall()]


async def covering(connection: Connection, tenant_id: UUID) -> Catalogue:
    """As the transaction sees them."""
    rows = await (await connection.execute(CATALOGUE, {"tenant": tenant_id})).fetchall()
    return Catalogue(tuple(map(generation, rows)))


async def retire_of_base(connection: Connection, tenant_id: UUID, kb_id: UUID) -> None:
    """The generations of a knowledge base go with it, in the tenant's transaction that deletes it."""
    await connection.execute("SET LOCAL ROLE memoryd_operator")
    await connection.execute(_RETIRE_OF_BASE, {"tenant": tenant_id, "kb": kb_id})
    await connection.execute("RESET ROLE")


def generation(row: TupleRow) -> Generation:
    """A row of :data:`COLUMNS`."""
    number, model, revision, dimension, query_prefix, passage_prefix, state, tenant_id, kb_id, replaced = row
    return Generation(number, model, revision, dimension, query_prefix, passage_prefix, State(state), tenant_id, kb_id, replaced)
