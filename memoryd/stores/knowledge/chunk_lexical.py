"""True BM25 over the chunks of pinned versions: the scores of :mod:`retrieval.bm25` with the statistics of these versions.

The collection is all that a version holds, whatever the filters let through, as in the index of memories. Several knowledge
bases at once are one collection: their counts are added up, as those of spaces are there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from memoryd.errors import InvalidRequest
from memoryd.stores.arrays import int8s
from memoryd.stores.database import Database
from memoryd.stores.knowledge.chunk_sql import PINS, pinned, visible
from retrieval.analysis import Analyzer
from retrieval.bm25 import Bm25Params, CorpusStatistics, query_weights
from retrieval.ports import ArmHit, PinnedSource, Query
from retrieval.scope import Scope

# The mean idf of several versions is that of each, weighted by its chunks: of the vocabulary of both together nothing is
# stored. It matters for terms that more than half of the chunks have, and only there.
_TOTALS = f"""
SELECT coalesce(sum(v.chunks), 0)::bigint, coalesce(sum(v.total_length), 0)::bigint,
       coalesce(sum(v.mean_idf * v.chunks) / nullif(sum(v.chunks), 0), 0)::float8
FROM {PINS} JOIN kb_versions v ON v.tenant_id = %(tenant)s AND v.kb_id = k.kb_id AND v.seq = k.seq
"""
_TERMS = "unnest(%(terms)s::bigint[], %(term_seqs)s::bigint[]) AS k(term, seq)"
_FREQUENCIES = f"""
SELECT k.term, o.chunks
FROM {_TERMS}
CROSS JOIN LATERAL (
    SELECT count(*) AS chunks FROM kb_postings o
    WHERE o.tenant_id = %(tenant)s AND o.term = k.term AND {visible("o")}) o
"""
# `LATERAL … OFFSET 0` leaves the planner one way, by key, whatever its statistics say (see memoryd.stores.dense), and
# `(… IN …) IS TRUE` another: to hash what the filter lets through once, and look each posting up in it.
#
# `saturation` is k1 + 1, `base` and `slope` are k1 (1 - b) and k1 b / average length.
_SCORES = f"""
SELECT o.pid, sum(k.weight * o.tf * %(saturation)s / (o.tf + %(base)s + %(slope)s * o.length)) AS score
FROM unnest(%(terms)s::bigint[], %(term_seqs)s::bigint[], %(weights)s::float8[]) AS k(term, seq, weight)
JOIN kb_postings o ON o.tenant_id = %(tenant)s AND o.term = k.term AND {visible("o")} {{which}}
GROUP BY o.pid
"""
_BEST = f"""
best AS MATERIALIZED ({_SCORES} ORDER BY score DESC, o.pid LIMIT %(limit)s)
SELECT c.chunk_id, b.pid, b.score
FROM best b
CROSS JOIN LATERAL (SELECT chunk_id FROM kb_chunks WHERE tenant_id = %(tenant)s AND pid = b.pid OFFSET 0) c
ORDER BY b.score DESC, b.pid
"""
_ALL = "WITH " + _BEST.format(which="")
_FILTERED = f"""
WITH wanted AS MATERIALIZED (
    SELECT c.pid
    FROM {PINS} JOIN kb_documents d ON d.tenant_id = %(tenant)s AND d.kb_id = k.kb_id AND {visible("d")} AND {{where}}
    CROSS JOIN LATERAL (
        SELECT pid FROM kb_chunks WHERE tenant_id = %(tenant)s AND document_pid = d.document_pid OFFSET 0) c),
""" + _BEST.format(which="AND (o.pid IN (SELECT pid FROM wanted)) IS TRUE")
# Terms times knowledge bases: a question of 8,000 characters has at most 4,000 words.
_MOST_LOOKUPS = 50_000


class PgChunkLexical:
    """:class:`retrieval.ports.LexicalIndex` over ``query.pins``; it looks at nothing else of the query."""

    def __init__(self, database: Database, analyzer: Analyzer, params: Bm25Params) -> None:
        self._database = database
        self._analyzer = analyzer
        self._params = params

    async def search(self, scope: Scope, query: Query, text: str, *, limit: int) -> list[ArmHit]:
        """Best first; empty when no term of ``text`` survives analysis or none is known here.

        Raises ``InvalidRequest`` for more terms times knowledge bases than can be looked up in one question.
        """
        tokens = self._analyzer.tokens(text)
        lookups = _lookups(tokens, query.pins)
        if not lookups:
            return []
        where = pinned(query.pins)
        params = where.params | {"tenant": scope.tenant_id} | _terms(lookups)
        statistics = await self._statistics(scope, lookups, params)
        weights = query_weights(tokens, statistics, self._params)
        lookups = {term: (token, seq) for term, (token, seq) in lookups.items() if token in weights}
        if not lookups:
            return []
        average = statistics.average_length
        params |= _terms(lookups) | {
            "weights": [weights[token] for token, _ in lookups.values()],
            "limit": limit,
            "saturation": self._params.k1 + 1,
            "base": self._params.k1 * (1 - self._params.b),
            "slope": self._params.k1 * self._params.b / average if average else 0.0,
        }
        sql = _ALL if where.where is None else _FILTERED.format(where=where.where)
        rows = await self._database.read(scope, sql, params)
        return [ArmHit(chunk_id, pid, score) for chunk_id, pid, score in rows]

    async def _statistics(
        self, scope: Scope, lookups: Mapping[int, tuple[str, int]], params: dict[str, object]
    ) -> CorpusStatistics[str]:
        totals, rows = await self._database.read_all(scope, [(_TOTALS, params), (_FREQUENCIES, params)])
        chunks, total_length, mean = totals[0]
        frequencies: Counter[str] = Counter()
        for term, count in rows:
            frequencies[lookups[term][0]] += count
        return CorpusStatistics(chunks, total_length, frequencies, mean)


def _lookups(tokens: Sequence[str], pins: Sequence[PinnedSource]) -> dict[int, tuple[str, int]]:
    """The posting lists to look at, by term: whose token each is, and the version that is read."""
    distinct = dict.fromkeys(tokens)
    if len(distinct) * len(pins) > _MOST_LOOKUPS:
        raise InvalidRequest(f"{len(distinct)} words in {len(pins)} knowledge bases are too many: ask a shorter question")
    return {Analyzer.term_id(pin.kb_id, token): (token, pin.seq) for pin in pins for token in distinct}


def _terms(lookups: Mapping[int, tuple[str, int]]) -> dict[str, object]:
    return {"terms": int8s(list(lookups)), "term_seqs": int8s([seq for _, seq in lookups.values()])}
