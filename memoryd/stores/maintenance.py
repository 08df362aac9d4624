"""What the worker does to the stores between requests, tenant by tenant, in small transactions."""

from datetime import datetime, timedelta
from uuid import UUID

from memoryd.stores.database import Database
from memoryd.stores.generations import covering
from memoryd.stores.trips import Connection

_LARGE = """
SELECT coalesce(sum(documents), 0) FROM space_statistics WHERE tenant_id = %(tenant)s
"""
_TAIL = """
SELECT count(*) FROM (
    SELECT FROM embeddings WHERE tenant_id = %(tenant)s AND generation = %(generation)s AND live AND graph IS NULL
    LIMIT %(enough)s) tail
"""
# Two workers take turns at dealing the emptiest graph: locking its row alone would let the second one take it too.
_TAKE_TURNS = "LOCK TABLE hnsw_graphs IN SHARE ROW EXCLUSIVE MODE"
_GRAPH = "SELECT graph FROM tenant_hnsw_graphs WHERE tenant_id = %(tenant)s"
_DEAL = """
WITH emptiest AS MATERIALIZED (SELECT graph FROM hnsw_graphs ORDER BY vectors, graph LIMIT 1 FOR UPDATE),
filled AS (UPDATE hnsw_graphs g SET vectors = g.vectors + %(size)s FROM emptiest WHERE g.graph = emptiest.graph)
INSERT INTO tenant_hnsw_graphs (tenant_id, graph, vectors) SELECT %(tenant)s, graph, %(size)s FROM emptiest RETURNING graph
"""
# Own and total count of a graph, from which a search takes the tenant's share.
_COUNT = """
WITH counted AS MATERIALIZED (
    SELECT count(*) AS vectors FROM embeddings
    WHERE tenant_id = %(tenant)s AND generation = %(generation)s AND live AND graph = %(graph)s),
before AS MATERIALIZED (SELECT vectors FROM tenant_hnsw_graphs WHERE tenant_id = %(tenant)s FOR UPDATE),
own AS (UPDATE tenant_hnsw_graphs SET vectors = counted.vectors FROM counted WHERE tenant_id = %(tenant)s)
UPDATE hnsw_graphs g SET vectors = greatest(0, g.vectors + counted.vectors - before.vectors)
FROM counted, before WHERE g.graph = %(graph)s
"""
# Moves rows into a graph: its index is partial. Rows that a writer holds are left for the next round. In no order: the index
# of the tail has them at hand, whereas by pid each batch would step over all that were moved before.
# MATERIALIZED, since a join may run a plain subquery again, and each run would lock and move another batch.
_INDEX = """
WITH next AS MATERIALIZED (
    SELECT pid FROM embeddings
    WHERE tenant_id = %(tenant)s AND generation = %(generation)s AND live AND graph IS NULL
    LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
UPDATE embeddings e SET graph = %(graph)s FROM next
WHERE e.tenant_id = %(tenant)s AND e.generation = %(generation)s AND e.pid = next.pid
"""
_UNINDEXED = """
SELECT count(*) FROM embeddings WHERE tenant_id = %(tenant)s AND generation = %(generation)s AND live AND graph IS NULL
"""
_EXPIRE = """
DELETE FROM idempotency_keys
WHERE ctid = ANY(ARRAY(SELECT ctid FROM idempotency_keys
                       WHERE tenant_id = %(tenant)s AND created_at < %(before)s LIMIT %(batch)s))
"""
# Skipping what a writer holds, so that this never waits and nobody waits in a circle.
_FORGET_TERMS = """
DELETE FROM term_statistics
WHERE tenant_id = %(tenant)s AND ctid = ANY(ARRAY(
    SELECT ctid FROM term_statistics WHERE tenant_id = %(tenant)s AND documents = 0 LIMIT %(batch)s FOR UPDATE SKIP LOCKED))
"""
_BATCH = 500
# A vector costs about a millisecond, whatever the batch; its row is locked until the batch is done.
_INDEX_BATCH = 200


class PgMaintenance:
    """:class:`memoryd.jobs.maintenance.MaintenanceStore` on PostgreSQL."""

    def __init__(self, database: Database, *, generation: int | None = None, exact_limit: int, ann_tail: int) -> None:
        """``generation``: look after this one alone; ``None``: after all that are not retired."""
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
        params = {"tenant": tenant_id, "enough": self._ann_tail}
        async with self._database.tenant(tenant_id) as connection:
            row = await (await connection.execute(_LARGE, params)).fetchone()
            if row is None or row[0] <= self._exact_limit:
                return 0
            size, due = row[0], 0
            for number in await self._numbers(connection, tenant_id):
                row = await (await connection.execute(_TAIL, params | {"generation": number})).fetchone()
                due += row is not None and row[0] >= self._ann_tail
            if not due:
                return 0
            if await self._graph(connection, tenant_id) is None:
                await connection.execute(_TAKE_TURNS)
                # Asked again: while this one waited for its turn, another worker may have dealt this tenant its graph.
                if await self._graph(connection, tenant_id) is None:
                    await connection.execute(_DEAL, params | {"size": size})
        # In a transaction of its own: nobody waits for the vectors to be given a graph.
        return await self._move(tenant_id)

    async def finish_tail(self, tenant_id: UUID) -> int:
        """Index one batch whatever the tail's size: once a round has begun, it ends with no tail, and is counted then."""
        return await self._move(tenant_id)

    async def _move(self, tenant_id: UUID) -> int:
        """Move a batch into the tenant's graph, or count what is there when none is left; how many were moved."""
        async with self._database.tenant(tenant_id) as connection:
            graph = await self._graph(connection, tenant_id)
            if graph is None:
                return 0
            params: dict[str, object] = {"tenant": tenant_id, "batch": _INDEX_BATCH, "graph": graph}
            for number in await self._numbers(connection, tenant_id):
                params["generation"] = number
                moved = (await connection.execute(_INDEX, params)).rowcount
                if moved:
                    return moved
            # Of the one that serves, which is the last: the graph of the same number of another generation has as much.
            await connection.execute(_COUNT, params)
            return 0

    async def _numbers(self, connection: Connection, tenant_id: UUID) -> list[int]:
        """The generations to look after; the one that serves last."""
        if self._generation is not None:
            return [self._generation]
        catalogue = await covering(connection, tenant_id)
        serving = catalogue.serving(None).number
        return [*(one.number for one in catalogue.covering(None) if one.number != serving), serving]

    async def _graph(self, connection: Connection, tenant_id: UUID) -> int | None:
        row = await (await connection.execute(_GRAPH, {"tenant": tenant_id})).fetchone()
        return None if row is None else int(row[0])

    async def unindexed(self, tenant_id: UUID) -> int:
        """How many of the tenant's live vectors are not in the HNSW index. Counts them all: for measuring, not for serving."""
        async with self._database.tenant(tenant_id) as connection:
            found = 0
            for number in await self._numbers(connection, tenant_id):
                row = await (await connection.execute(_UNINDEXED, {"tenant": tenant_id, "generation": number})).fetchone()
                found += int(row[0]) if row else 0
        return found

    async def forget_terms(self, tenant_id: UUID) -> int:
        """Remove the statistics of terms that nothing has any more, a batch; how many."""
        async with self._database.tenant(tenant_id) as connection:
            return (await connection.execute(_FORGET_TERMS, {"tenant": tenant_id, "batch": _BATCH})).rowcount

    async def expire_idempotency(self, tenant_id: UUID, now: datetime, ttl: timedelta) -> int:
        """Forget old idempotency keys, a batch; how many."""
        params = {"tenant": tenant_id, "before": now - ttl, "batch": _BATCH}
        async with self._database.tenant(tenant_id) as connection:
            return (await connection.execute(_EXPIRE, params)).rowcount
