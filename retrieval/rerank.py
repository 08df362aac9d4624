"""Reranking the best candidates with a cross-encoder, as deep as the time allows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retrieval.fusion import min_max
from retrieval.ports import Reranker


@dataclass(frozen=True, slots=True)
class RerankPlan:
    """At most ``depth`` candidates, in about ``budget_ms``; ``weight`` is the cross-encoder's share of the final score."""

    depth: int
    budget_ms: float
    weight: float = 0.7


@dataclass(frozen=True, slots=True)
class RerankOutcome:
    """The new order as (index, score), the candidates read (``depth``), and their relevance in ``[0, 1]`` by index."""

    order: Sequence[tuple[int, float]]
    relevance: Mapping[int, float]
    depth: int


async def rerank(
    reranker: Reranker, query: str, candidates: Sequence[tuple[str, float]], plan: RerankPlan
) -> RerankOutcome:
    """Reorder ``candidates`` (text, fused score; best first). What is not read keeps its order behind what is.

    Raises ``TimeoutError`` when the cross-encoder takes more than twice the budget, and what it raises.
    """
    depth = affordable_depth(reranker, query, [text for text, _ in candidates], plan)
    async with asyncio.timeout(2 * plan.budget_ms / 1000):
        relevance = await reranker.score(query, [text for text, _ in candidates[:depth]])
    fused = dict(min_max([(index, score) for index, (_, score) in enumerate(candidates[:depth])]))
    crossed = dict(min_max(list(enumerate(relevance))))
    mixed = [(index, plan.weight * crossed[index] + (1 - plan.weight) * fused[index]) for index in range(depth)]
    mixed.sort(key=lambda pair: (-pair[1], pair[0]))
    rest = [(index, -1.0 + candidates[index][1]) for index in range(depth, len(candidates))]
    return RerankOutcome([*mixed, *rest], dict(enumerate(relevance)), depth)


def affordable_depth(reranker: Reranker, query: str, texts: Sequence[str], plan: RerankPlan) -> int:
    """The greatest depth, of at most ``plan.depth``, whose estimate is within the budget; never less than one."""
    low, high = 1, min(plan.depth, len(texts))
    while low < high:
        middle = (low + high + 1) // 2
        if reranker.estimate_ms(query, texts[:middle]) <= plan.budget_ms:
            low = middle
        else:
            high = middle - 1
    return low
