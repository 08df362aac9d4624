"""Ranking metrics, computed by ``ir_measures`` (trec_eval): a value a query, then means by category."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ir_measures

from evals.datasets import Query

OVERALL = "all"

# Ours on the left. "recall" is the share of all labelled evidence found; "any" and "all" are 0 or 1 a query.
_LIBRARY = {
    "ndcg@10": ir_measures.nDCG @ 10,
    "recall@5": ir_measures.R @ 5,
    "recall@10": ir_measures.R @ 10,
    "any@5": ir_measures.Success @ 5,
    "any@10": ir_measures.Success @ 10,
    "mrr@10": ir_measures.RR @ 10,
}
_CURVE = {f"recall@{depth}": ir_measures.R @ depth for depth in (5, 10, 20, 50, 100)}
NAMES = (*_LIBRARY, "all@5", "all@10")
CURVE_NAMES = tuple(_CURVE)

Ranking = Sequence[str]
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Score:
    """Means over ``queries`` judged queries of one ``category`` (:data:`OVERALL` for all of them)."""

    category: str
    queries: int
    means: Values


def per_query(relevant: Mapping[str, frozenset[str]], rankings: Mapping[str, Ranking]) -> dict[str, Values]:
    """All of :data:`NAMES` for every query in ``rankings``. A ranking is best first, without repetitions.

    A query whose ranking is empty counts with zeros: trec_eval would leave it out and flatter the mean.
    """
    values = _measure(_LIBRARY, relevant, rankings)
    return {
        query: {
            **row,
            # All evidence within k: the share found is exactly one (the library has no such measure).
            "all@5": float(row["recall@5"] >= 1.0),
            "all@10": float(row["recall@10"] >= 1.0),
        }
        for query, row in values.items()
    }


def curve(relevant: Mapping[str, frozenset[str]], rankings: Mapping[str, Ranking]) -> Values:
    """Mean share of evidence found at 5, 10, 20, 50 and 100."""
    return mean(_measure(_CURVE, relevant, rankings).values())


def by_category(values: Mapping[str, Values], queries: Iterable[Query]) -> list[Score]:
    """The overall score first, then one a category by name. Queries without values are ignored."""
    groups: dict[str, list[Values]] = {}
    for query in queries:
        if query.id in values and query.category:
            groups.setdefault(query.category, []).append(values[query.id])
    overall = Score(OVERALL, len(values), mean(values.values()))
    return [overall, *(Score(name, len(rows), mean(rows)) for name, rows in sorted(groups.items()))]


def mean(rows: Iterable[Values]) -> Values:
    """Column means of rows with the same keys; empty for no rows."""
    rows = list(rows)
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]} if rows else {}


def _measure(
    measures: Mapping[str, ir_measures.Measure],
    relevant: Mapping[str, frozenset[str]],
    rankings: Mapping[str, Ranking],
) -> dict[str, dict[str, float]]:
    names = {measure: name for name, measure in measures.items()}
    qrels = [ir_measures.Qrel(query, document, 1) for query in rankings for document in sorted(relevant[query])]
    # trec_eval orders by score and breaks ties by id: falling scores keep the order of the answer.
    run = [
        ir_measures.ScoredDoc(query, document, float(-rank))
        for query, ranking in rankings.items()
        for rank, document in enumerate(ranking)
    ]
    values = {query: dict.fromkeys(measures, 0.0) for query in rankings}
    if run:
        for metric in ir_measures.iter_calc(list(names), qrels, run):
            values[metric.query_id][names[metric.measure]] = float(metric.value)
    return values
