"""Retrieval quality: each arm alone, fused, and fused with the reranker, on judged questions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals import metrics
from evals.client import ALL_ARMS, Recall, RecallAnswer
from evals.datasets import Query, spread
from evals.loading import Loaded, documents_of
from evals.report import Cell, Table

DEPTH = 10
CURVE_DEPTH = 100
_CONCURRENCY = 4


@dataclass(frozen=True, slots=True)
class Configuration:
    """One way of searching; nothing is left to the service's defaults.

    The reranker reads as many candidates as the service's time budget allows, so it is measured one question at a time,
    and how deep it read stands in the table.
    """

    name: str
    arms: tuple[str, ...] = ALL_ARMS
    fusion: str = "convex"
    rerank: str = "off"
    concurrency: int = _CONCURRENCY


FUSED = Configuration("fused (convex)")
NOT_RERANKED = (Configuration("dense", arms=("dense",)), Configuration("lexical", arms=("lexical",)), FUSED)
RRF = Configuration("fused (rrf)", fusion="rrf")
RERANKED = Configuration("fused (convex) + rerank", rerank="on", concurrency=1)
CONFIGURATIONS = (*NOT_RERANKED, RRF, RERANKED)


@dataclass(frozen=True, slots=True)
class Run:
    """The rankings of one configuration.

    ``depth`` is the mean number of hits that the reranker read (``None``: it was off); ``degraded`` counts the answers that
    named a missing arm or stage, and whose hits are therefore not counted: their rankings are empty. Both are over all
    categories.
    """

    rankings: Mapping[str, list[str]]
    depth: float | None
    degraded: int


async def run(loaded: Loaded, configuration: Configuration, queries: Sequence[Query], *, depth: int = DEPTH) -> Run:
    """Asks every question in its own namespace's space."""
    slots = asyncio.Semaphore(configuration.concurrency)

    async def ask(query: Query) -> tuple[str, RecallAnswer]:
        request = Recall(
            query.text,
            loaded.spaces[query.namespace],
            limit=depth,
            arms=configuration.arms,
            fusion=configuration.fusion,
            rerank=configuration.rerank,
        )
        async with slots:
            return query.id, await loaded.client.recall(request)

    answers = dict(await asyncio.gather(*(ask(query) for query in queries)))
    read = [answer.reranked for answer in answers.values()]
    return Run(
        rankings={
            query: [] if answer.degraded else documents_of(loaded, [hit.id for hit in answer.hits])
            for query, answer in answers.items()
        },
        depth=sum(read) / len(read) if configuration.rerank == "on" else None,
        degraded=sum(bool(answer.degraded) for answer in answers.values()),
    )


async def measure(
    loaded: Loaded,
    queries: Sequence[Query],
    *,
    label: str,
    reranked: int | None = None,
) -> Table:
    """One table: a row a configuration and category. ``reranked`` caps the reranker's questions."""
    sample = spread(queries, reranked)
    rows: list[tuple[Cell, ...]] = []
    for configuration in CONFIGURATIONS:
        asked = sample if configuration.rerank == "on" else queries
        outcome = await run(loaded, configuration, asked)
        values = metrics.per_query(loaded.dataset.relevant, outcome.rankings)
        rows += _rows(configuration.name, values, asked, outcome)
        if configuration == FUSED and len(sample) < len(queries):
            # The reranker is compared on the questions that it was asked.
            fewer = {query.id: values[query.id] for query in sample}
            rows += _rows("fused, the reranked questions", fewer, sample, outcome)
    return Table(
        title=f"Quality: {label}",
        columns=("configuration", "category", "queries", *metrics.NAMES, "rerank depth", "degraded"),
        rows=tuple(rows),
        note="recall is the share of all labelled evidence found; any/all: one/every piece was found. "
        "The reranker's depth is a mean; the service's time budget sets it. A degraded answer (an arm or the reranker was "
        "missing) counts as one that found nothing.",
    )


async def measure_curve(loaded: Loaded, queries: Sequence[Query], *, label: str) -> Table:
    """How much evidence lies deeper, without the reranker: rankings to a hundred."""
    rows: list[tuple[Cell, ...]] = []
    for configuration in NOT_RERANKED:
        outcome = await run(loaded, configuration, queries, depth=CURVE_DEPTH)
        means = metrics.curve(loaded.dataset.relevant, outcome.rankings)
        rows.append((configuration.name, len(queries), *(means[name] for name in metrics.CURVE_NAMES), outcome.degraded))
    return Table(
        title=f"Recall curve: {label}",
        columns=("configuration", "queries", *metrics.CURVE_NAMES, "degraded"),
        rows=tuple(rows),
    )


def _rows(name: str, values: Mapping[str, metrics.Values], queries: Sequence[Query], outcome: Run) -> list[tuple[Cell, ...]]:
    return [
        (
            name,
            score.category,
            score.queries,
            *(score.means[measure] for measure in metrics.NAMES),
            outcome.depth,
            outcome.degraded,
        )
        for score in metrics.by_category(values, queries)
    ]
