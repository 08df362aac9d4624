"""What the worker does to the stores between requests, tenant by tenant, in small transactions."""

from datetime import datetime, timedelta
from uuid import UUID

from memoryd.stores.database import Database

_LARGE = """
SELECT coalesce(sum(documents), 0) FROM space_statistics WHERE tenant_id = %(tenant)s
"""
_TAIL = """
SELECT count(*) FROM (
    SELECT FROM embeddings WHERE tenant_id = %(tenant)s AND generation = %(generation)s AND live AND NOT ann
    LIMIT %(enough)s) tail
"""
# Moves rows into the HNSW index: it is partial, on `ann`. Rows that a writer holds are left for the next round.
# MATERIALIZED, since a join may run a plain subquery again, and each run would lock and move another batch.
_INDEX = """
WITH next AS MATERIALIZED (
    SELECT pid FROM embeddings
    WHERE tenant_id = %(tenant)s AND generation = %(generation)s AND live AND NOT ann
    ORDER BY pid LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
UPDATE embeddings e SET ann = true FROM next
WHERE e.tenant_id = %(tenant)s AND e.generation = %(generation)s AND e.pid = next.pid
"""
_UNINDEXED = """
SELECT count(*) FROM embeddings WHERE tenant_id = %(tenant)s AND generation = %(generation)s AND live AND NOT ann
"""
_EXPIRE = """
DELETE FROM idempotency_keys
WHERE ctid = ANY(ARRAY(SELECT ctid FROM idempotency_keys
                       WHERE tenant_id = %(tenant)s AND created_at < %(before)s LIMIT %(batch)s))
"""
_BATCH = 500


class PgMaintenance:
    """:class:`memoryd.jobs.maintenance.MaintenanceStore` on PostgreSQL."""

    def __init__(self, database: Database, *, generation: int, exact_limit: int, ann_tail: int) -> None:
        self._database = database
        self._generation = generation
        self._exact_limit = exact_limit
        self._ann_tail = ann_tail

    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]:
        """Ids of tenants, in order."""
        async with self._database.operator() as connection:
            rows = await (
                await connection.execute(
                    "SELECT tenant_id FROM tenants WHERE (%(after)s::uuid IS NULL OR tenant_id > %(after)s) "
                    "ORDER BY tenant_id LIMIT %(limit)s",
                    {"after": after, "limit": limit},
                )
            ).fetchall()
        return [row[0] for row in rows]

    async def index_tail(self, tenant_id: UUID) -> int:
        """Index the next batch of a large tenant's unindexed vectors; how many, 0 when there is nothing to do."""
        params = {"tenant": tenant_id, "generation": self._generation, "enough": self._ann_tail, "batch": _BATCH}
        async with self._database.tenant(tenant_id) as connection:
            row = await (await connection.execute(_LARGE, params)).fetchone()
            if row is None or row[0] <= self._exact_limit:
                return 0
            row = await (await connection.execute(_TAIL, params)).fetchone()
            if row is None or row[0] < self._ann_tail:
                return 0
            return (await connection.execute(_INDEX, params)).rowcount

    async def finish_tail(self, tenant_id: UUID) -> int:
        """Index one batch whatever the tail's size: once a round has begun, it ends with no tail."""
        params = {"tenant": tenant_id, "generation": self._generation, "batch": _BATCH}
        async with self._database.tenant(tenant_id) as connection:
            return (await connection.execute(_INDEX, params)).rowcount

    async def unindexed(self, tenant_id: UUID) -> int:
        """How many of the tenant's live vectors are not in the HNSW index. Counts them all: for measuring, not for serving."""
        async with self._database.tenant(tenant_id) as connection:
            row = await (await connection.execute(_UNINDEXED, {"tenant": tenant_id, "generation": self._generation})).fetchone()
        return int(row[0]) if row else 0

    async def expire_idempotency(self, tenant_id: UUID, now: datetime, ttl: timedelta) -> int:
        """Forget old idempotency keys, a batch; how many."""
        params = {"tenant": tenant_id, "before": now - ttl, "batch": _BATCH}
        async with self._database.tenant(tenant_id) as connection:
            return (await connection.execute(_EXPIRE, params)).rowcount
