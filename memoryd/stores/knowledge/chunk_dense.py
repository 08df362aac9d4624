"""The nearest chunks of pinned versions: an exact scan of their vectors."""

from memoryd.stores.database import Database
from memoryd.stores.generations import Generation
from memoryd.stores.knowledge.chunk_sql import PINS, pinned, visible
from memoryd.stores.vectors import HalfVectorParam
from retrieval.ports import ArmHit, Query
from retrieval.scope import Scope
from retrieval.vectors import Vectors

# `LATERAL … OFFSET 0` and `= ANY(ARRAY(…))` leave the planner one way, by key, whatever its statistics say: see
# memoryd.stores.dense. `<#>` is minus the inner product, the cosine of normalised vectors.
_NEAREST = f"""
WITH nearest AS MATERIALIZED (
    SELECT v.pid, v.score
    FROM {PINS}
    CROSS JOIN LATERAL (
        SELECT pid, -(embedding <#> %(vector)s) AS score FROM kb_vectors v
        WHERE v.tenant_id = %(tenant)s AND v.generation = %(generation)s AND v.kb_id = k.kb_id AND {visible("v")}
        ORDER BY embedding <#> %(vector)s LIMIT %(limit)s) v
    ORDER BY v.score DESC, v.pid LIMIT %(limit)s)
SELECT c.chunk_id, n.pid, n.score
FROM nearest n
CROSS JOIN LATERAL (SELECT chunk_id FROM kb_chunks WHERE tenant_id = %(tenant)s AND pid = n.pid OFFSET 0) c
ORDER BY n.score DESC, n.pid
"""
_FILTERED = f"""
WITH candidates AS MATERIALIZED (
    SELECT c.chunk_id, c.pid
    FROM {PINS}
    JOIN kb_documents d ON d.tenant_id = %(tenant)s AND d.kb_id = k.kb_id AND {visible("d")} AND {{where}}
    CROSS JOIN LATERAL (
        SELECT chunk_id, pid FROM kb_chunks c
        WHERE c.tenant_id = %(tenant)s AND c.document_pid = d.document_pid AND {visible("c")} OFFSET 0) c),
nearest AS MATERIALIZED (
    SELECT v.pid, -(v.embedding <#> %(vector)s) AS score
    FROM kb_vectors v
    WHERE v.tenant_id = %(tenant)s AND v.generation = %(generation)s AND v.pid = ANY(ARRAY(SELECT pid FROM candidates))
    ORDER BY v.embedding <#> %(vector)s, v.pid LIMIT %(limit)s)
SELECT c.chunk_id, n.pid, n.score FROM nearest n JOIN candidates c ON c.pid = n.pid ORDER BY n.score DESC, n.pid
"""


class PgChunkDense:
    """:class:`retrieval.ports.DenseIndex` over ``query.pins``; it looks at nothing else of the query."""

    def __init__(self, database: Database, generation: Generation) -> None:
        self._database = database
        self._generation = generation

    async def search(self, scope: Scope, query: Query, vector: Vectors, *, limit: int) -> list[ArmHit]:
        """Best first. ``vector`` has shape ``(dimension,)``."""
        where = pinned(query.pins)
        params = where.params | {
            "tenant": scope.tenant_id,
            "vector": HalfVectorParam(vector),
            "generation": self._generation.number,
            "limit": limit,
        }
        sql = _NEAREST if where.where is None else _FILTERED.format(where=where.where)
        rows = await self._database.read(scope, sql, params)
        return [ArmHit(chunk_id, pid, score) for chunk_id, pid, score in rows]
