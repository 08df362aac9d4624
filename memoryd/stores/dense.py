"""The dense index on pgvector: exact for small candidate sets, HNSW with iterative scan for large ones.

Which one is chosen by count. Exact costs about 0.5 µs a candidate vector (100k: 48 ms); HNSW about 2 ms whatever the size,
but it has to step over what the filter excludes, and loses recall doing so. So a filtered search counts its candidates
(stopping at the limit) and scans exactly below it. Above it the filter keeps a good part of the rows, and the iterative
scan goes on until enough of them have passed.

Large tenants have graphs of their own while there are enough (``tenant_hnsw_graphs``). Where the candidates (of the spaces asked
for, and as far as counted, of the filter) are only a part of a graph, the search is widened by the inverse of that part: it
keeps the nearest of the whole graph in view, and ends when enough candidates were among them. Where they are less than a
fifth, pgvector cannot be widened enough, and the search is exact.
"""

import math
from dataclasses import dataclass

from psycopg.rows import TupleRow

from memoryd.stores.database import Database
from memoryd.stores.filter_sql import Conditions, conditions_of
from memoryd.stores.generations import Generation
from memoryd.stores.vectors import HalfVectorParam
from retrieval.ports import ArmHit, Query
from retrieval.scope import Scope
from retrieval.vectors import Vectors

# `LATERAL … OFFSET 0` and `= ANY(ARRAY(…))` leave the planner one way: by key. A join would do as well where it knows the
# tables; in a young database it knows nothing yet, takes every tenant for one row, and joins by scanning all of it again
# for each candidate (measured: 0.9 s instead of 9 ms on 4,000 memories).
#
# Every form: the hits of one arm, best first. `<#>` is minus the inner product, the cosine of normalised vectors.
_EXACT = """
WITH nearest AS MATERIALIZED (
    SELECT e.pid, -(e.embedding <#> %(vector)s) AS score
    FROM embeddings e
    WHERE e.tenant_id = %(tenant)s AND e.generation = %(generation)s AND e.space_id = ANY(%(spaces)s) AND e.live
    ORDER BY e.embedding <#> %(vector)s LIMIT %(limit)s)
SELECT p.memory_id, n.pid, n.score
FROM nearest n
CROSS JOIN LATERAL (SELECT memory_id FROM passages WHERE tenant_id = %(tenant)s AND pid = n.pid OFFSET 0) p
ORDER BY n.score DESC, n.pid
"""

_FILTERED_EXACT = """
WITH candidates AS MATERIALIZED (
    SELECT p.memory_id, p.pid
    FROM memory_revisions r
    JOIN passages p ON p.tenant_id = r.tenant_id AND p.memory_id = r.memory_id AND p.revision = r.revision
    WHERE r.tenant_id = %(tenant)s AND r.space_id = ANY(%(spaces)s) {where}),
nearest AS MATERIALIZED (
    SELECT e.pid, -(e.embedding <#> %(vector)s) AS score
    FROM embeddings e
    WHERE e.tenant_id = %(tenant)s AND e.generation = %(generation)s AND e.pid = ANY(ARRAY(SELECT pid FROM candidates))
    ORDER BY e.embedding <#> %(vector)s, e.pid LIMIT %(limit)s)
SELECT c.memory_id, n.pid, n.score FROM nearest n JOIN candidates c ON c.pid = n.pid ORDER BY n.score DESC, n.pid
"""

# Two disjoint parts: what the tenant's graph holds, and the tail that the worker has not moved into it yet.
_APPROXIMATE = """
WITH indexed AS MATERIALIZED (
    SELECT e.pid, -((e.embedding::halfvec({dimension})) <#> %(vector)s::halfvec({dimension})) AS score
    FROM embeddings e {join}
    WHERE e.tenant_id = %(tenant)s AND e.generation = {generation} AND e.space_id = ANY(%(spaces)s) AND e.live
          AND e.graph = {graph}::smallint
          {where}
    ORDER BY (e.embedding::halfvec({dimension})) <#> %(vector)s::halfvec({dimension}) LIMIT %(limit)s),
tail AS MATERIALIZED (
    SELECT e.pid, -(e.embedding <#> %(vector)s) AS score
    FROM embeddings e {join}
    WHERE e.tenant_id = %(tenant)s AND e.generation = {generation} AND e.space_id = ANY(%(spaces)s) AND e.live
          AND e.graph IS NULL {where}
    ORDER BY e.embedding <#> %(vector)s LIMIT %(limit)s)
SELECT p.memory_id, n.pid, n.score
FROM (SELECT * FROM indexed UNION ALL SELECT * FROM tail ORDER BY score DESC LIMIT %(limit)s) n
CROSS JOIN LATERAL (SELECT memory_id FROM passages WHERE tenant_id = %(tenant)s AND pid = n.pid OFFSET 0) p
ORDER BY n.score DESC, n.pid LIMIT %(limit)s
"""
_JOIN = """
JOIN passages p ON p.tenant_id = e.tenant_id AND p.pid = e.pid
JOIN memory_revisions r ON r.tenant_id = p.tenant_id AND r.memory_id = p.memory_id AND r.revision = p.revision
"""

_SIZE_AND_GRAPH = """
SELECT s.size, t.graph, s.size::float8 / greatest(s.size, t.vectors, g.vectors, 1)
FROM (SELECT coalesce(sum(documents), 0)::bigint AS size FROM space_statistics
      WHERE tenant_id = %(tenant)s AND space_id = ANY(%(spaces)s)) s
LEFT JOIN tenant_hnsw_graphs t ON t.tenant_id = %(tenant)s
LEFT JOIN hnsw_graphs g ON g.graph = t.graph
"""
_COUNT = """
SELECT count(*) FROM (
    SELECT FROM memory_revisions r
    JOIN passages p ON p.tenant_id = r.tenant_id AND p.memory_id = r.memory_id AND p.revision = r.revision
    WHERE r.tenant_id = %(tenant)s AND r.space_id = ANY(%(spaces)s) {where} LIMIT %(stop)s) found
"""
# Candidates that a search of a graph of one's own keeps in view: for 100 hits of 100k, recall@10 .99 (see evals/reports).
_EF_SEARCH = 200
_MOST_EF_SEARCH = 1_000  # pgvector's own limit
_LEAST_PART = _EF_SEARCH / _MOST_EF_SEARCH
# How far an iterative scan may go: with a tenth of the rows passing the filter, 100 hits need about 1,000 steps.
_SCAN_TUPLES = 40_000


@dataclass(frozen=True, slots=True)
class Graph:
    """Where the vectors of a tenant are, and which part of the graph the candidates make up (with a filter: at least)."""

    number: int
    part: float

    @property
    def setup(self) -> tuple[str, ...]:
        """How to search it. The scan in the graph's order is the one plan without a sort: the count has decided already,
        and a planner without fresh statistics takes a large tenant for one row and scans it whole."""
        ef_search = min(_MOST_EF_SEARCH, math.ceil(_EF_SEARCH / self.part))  # a rounded part may ask for one more
        return (
            f"SET LOCAL hnsw.max_scan_tuples = {_SCAN_TUPLES}",
            f"SET LOCAL hnsw.ef_search = {ef_search}",
            "SET LOCAL enable_sort = off",
        )


def approximate_sql(generation: Generation, graph: int, filtered: Conditions | None) -> str:
    """The search of one graph and of what is in none; the numbers are literal, or no partial index would be taken."""
    return _APPROXIMATE.format(
        dimension=generation.dimension,
        generation=generation.number,
        graph=graph,
        join=_JOIN if filtered else "",
        where=filtered.where if filtered else "",
    )


class PgDenseIndex:
    """:class:`retrieval.ports.DenseIndex` on PostgreSQL with pgvector."""

    def __init__(self, database: Database, generation: Generation, *, exact_limit: int) -> None:
        self._database = database
        self._generation = generation
        self._exact_limit = exact_limit

    async def search(self, scope: Scope, query: Query, vector: Vectors, *, limit: int) -> list[ArmHit]:
        """Best first. ``vector`` has shape ``(dimension,)``."""
        params: dict[str, object] = {
            "tenant": scope.tenant_id,
            "spaces": list(query.spaces),
            "vector": HalfVectorParam(vector),
            "generation": self._generation.number,
            "limit": limit,
        }
        filtered = await conditions_of(query) if query.filters.selective else None
        if filtered is not None:
            params |= filtered.params
        exact = _EXACT if filtered is None else _FILTERED_EXACT.format(where=filtered.where)
        # Retired rows are in no index of the live, so travelling in time is always exact.
        graph = None if query.filters.time_travel else await self._graph_for(scope, filtered, params)
        rows: list[TupleRow] = []
        if graph is not None:
            sql = approximate_sql(self._generation, graph.number, filtered)
            rows = await self._database.read(scope, sql, params, setup=graph.setup)
        if graph is None or len(rows) < limit:
            # Small, or the graph ran out before enough rows had passed the filter: ask exactly.
            rows = await self._database.read(scope, exact, params)
        return [ArmHit(memory_id, pid, score) for memory_id, pid, score in rows]

    async def _graph_for(self, scope: Scope, filtered: Conditions | None, params: dict[str, object]) -> Graph | None:
        """The graph to search; ``None`` when an exact scan is as good: few candidates, or too many of others among them."""
        size, number, share = (await self._database.read(scope, _SIZE_AND_GRAPH, params))[0]
        if size <= self._exact_limit or number is None or share < _LEAST_PART:
            return None
        if filtered is not None:
            stop = max(self._exact_limit, math.ceil(_LEAST_PART * size / share)) + 1
            rows = await self._database.read(scope, _COUNT.format(where=filtered.where), params | {"stop": stop})
            if rows[0][0] < stop:
                return None
            return Graph(number, share * stop / size)
        return Graph(number, share)
