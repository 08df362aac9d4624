"""True BM25 in SQL: double precision, with the statistics of the searched spaces as they are at this moment.

Scores are those of :mod:`retrieval.bm25`. A posting list belongs to one space, so a search over several spaces looks up
each term once a space, with the frequencies added up: the collection is exactly what is searched.
"""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from uuid import UUID

from memoryd.errors import InvalidRequest
from memoryd.stores.database import Database
from memoryd.stores.filter_sql import conditions_of
from memoryd.threads import QUICK
from retrieval.analysis import Analyzer
from retrieval.bm25 import Bm25Params, CorpusStatistics, mean_idf, query_weights
from retrieval.ports import ArmHit, Query
from retrieval.scope import Scope

_STATISTICS = """
SELECT coalesce(sum(documents), 0)::bigint, coalesce(sum(total_length), 0)::bigint, coalesce(sum(version), 0)::bigint
FROM space_statistics WHERE tenant_id = %(tenant)s AND space_id = ANY(%(spaces)s)
"""
_FREQUENCIES = "SELECT term, documents FROM term_statistics WHERE tenant_id = %(tenant)s AND term = ANY(%(terms)s)"
# How many terms have each document frequency; over several spaces, a term counts once in each.
_HISTOGRAM = """
SELECT documents, count(*) FROM term_statistics
WHERE tenant_id = %(tenant)s AND space_id = ANY(%(spaces)s) AND documents > 0 GROUP BY documents
"""

# `saturation` is k1 + 1, `base` and `slope` are k1 (1 - b) and k1 b / average length.
_SCORES = """
SELECT o.pid, sum(q.weight * o.tf * %(saturation)s / (o.tf + %(base)s + %(slope)s * o.length)) AS score
FROM unnest(%(terms)s::bigint[], %(weights)s::float8[]) AS q(term, weight)
JOIN postings o ON o.tenant_id = %(tenant)s AND o.term = q.term
WHERE {which}
GROUP BY o.pid
"""
_LIVE = (
    "WITH best AS MATERIALIZED ("
    + _SCORES.format(which="o.live")
    + """ORDER BY score DESC, o.pid LIMIT %(limit)s)
SELECT p.memory_id, b.pid, b.score
FROM best b
CROSS JOIN LATERAL (SELECT memory_id FROM passages WHERE tenant_id = %(tenant)s AND pid = b.pid OFFSET 0) p
ORDER BY b.score DESC, b.pid
"""
)
_FILTERED = (
    "WITH scored AS MATERIALIZED ("
    + _SCORES.format(which="{which}")
    + """)
SELECT p.memory_id, s.pid, s.score
FROM scored s
JOIN passages p ON p.tenant_id = %(tenant)s AND p.pid = s.pid
JOIN memory_revisions r ON r.tenant_id = p.tenant_id AND r.memory_id = p.memory_id AND r.revision = p.revision
WHERE r.tenant_id = %(tenant)s AND r.space_id = ANY(%(spaces)s) {where}
ORDER BY s.score DESC, s.pid LIMIT %(limit)s
"""
)


class PgLexicalIndex:
    """:class:`retrieval.ports.LexicalIndex` on an inverted index in PostgreSQL."""

    def __init__(self, database: Database, analyzer: Analyzer, params: Bm25Params) -> None:
        self._database = database
        self._analyzer = analyzer
        self._params = params
        self._means = _MeanIdfs()

    async def search(self, scope: Scope, query: Query, text: str, *, limit: int) -> list[ArmHit]:
        """Best first; empty when no term of ``text`` survives analysis or none is known here.

        Raises ``InvalidRequest`` for more terms times spaces than can be looked up in one question.
        """
        tokens = self._analyzer.tokens(text)
        distinct = tuple(dict.fromkeys(tokens))
        lookups = len(distinct) * len(query.spaces)
        if not lookups:
            return []
        if lookups > _MOST_LOOKUPS:
            raise InvalidRequest(
                f"{len(distinct)} words in {len(query.spaces)} spaces are too many: ask a shorter question, or name fewer spaces"
            )
        # A microsecond each: a few are hashed here, many of them beside the event loop.
        if lookups <= _HASHED_IN_PLACE:
            ids = _term_ids(distinct, query.spaces)
        else:
            ids = await QUICK.run(_term_ids, distinct, query.spaces)
        params: dict[str, object] = {
            "tenant": scope.tenant_id,
            "spaces": list(query.spaces),
            "terms": list(ids),
        }
        statistics = await self._statistics(scope, query, ids, params)
        weights = query_weights(tokens, statistics, self._params)
        if not weights:
            return []
        terms = [(term, weights[token]) for term, token in ids.items() if token in weights]
        average = statistics.average_length
        params |= {
            "terms": [term for term, _ in terms],
            "weights": [weight for _, weight in terms],
            "limit": limit,
            "saturation": self._params.k1 + 1,
            "base": self._params.k1 * (1 - self._params.b),
            "slope": self._params.k1 * self._params.b / average if average else 0.0,
        }
        sql = _LIVE
        if query.filters.selective:
            filtered = await conditions_of(query)
            params |= filtered.params
            sql = _FILTERED.format(which="true" if query.filters.time_travel else "o.live", where=filtered.where)
        rows = await self._database.read(scope, sql, params)
        return [ArmHit(memory_id, pid, score) for memory_id, pid, score in rows]

    async def _statistics(
        self, scope: Scope, query: Query, ids: dict[int, str], params: dict[str, object]
    ) -> CorpusStatistics[str]:
        totals, rows = await self._database.read_all(scope, [(_STATISTICS, params), (_FREQUENCIES, params)])
        documents, total_length, version = totals[0]
        frequencies: Counter[str] = Counter()
        for term, count in rows:
            frequencies[ids[term]] += count
        mean = 1.0  # any positive number: not used unless a term is in more than half of the passages
        if documents < _ALWAYS_EXACT_BELOW or any(2 * count > documents for count in frequencies.values()):
            mean = await self._mean_idf(scope, query, documents, version)
        return CorpusStatistics(documents, total_length, frequencies, mean)

    async def _mean_idf(self, scope: Scope, query: Query, documents: int, version: int) -> float:
        key = _digest(scope.tenant_id, query.spaces, documents, version)
        known = self._means.get(key)
        if known is None:
            params = {"tenant": scope.tenant_id, "spaces": list(query.spaces)}
            known = mean_idf(documents, dict(await self._database.read(scope, _HISTOGRAM, params)))
            self._means.put(key, known)
        return known


# In a tiny space the mean IDF may not be positive, which changes the IDF of every term (see retrieval.bm25).
_ALWAYS_EXACT_BELOW = 1_000


# Terms times spaces. At the limit hashing takes 60 ms of another thread, and PostgreSQL looks up as many rows.
_MOST_LOOKUPS = 50_000
_HASHED_IN_PLACE = 500


def _term_ids(tokens: Sequence[str], spaces: Sequence[UUID]) -> dict[int, str]:
    """The token of each posting list to look at: one a token and space."""
    return {Analyzer.term_id(space, token): token for space in spaces for token in tokens}


def _digest(tenant_id: UUID, spaces: Sequence[UUID], documents: int, version: int) -> bytes:
    """Sixteen bytes for what a mean belongs to: a thousand spaces would be 16 kB a key."""
    digest = hashlib.blake2b(tenant_id.bytes, digest_size=16)
    digest.update(b"".join(space.bytes for space in spaces))
    digest.update(f":{documents}:{version}".encode())
    return digest.digest()


class _MeanIdfs:
    """The last few mean IDFs, each valid for one version of the statistics of one tenant's spaces."""

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._values: OrderedDict[bytes, float] = OrderedDict()

    def get(self, key: bytes) -> float | None:
        return self._values.get(key)

    def put(self, key: bytes, value: float) -> None:
        self._values[key] = value
        while len(self._values) > self._size:
            self._values.popitem(last=False)
