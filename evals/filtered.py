"""Approximate search under a filter that keeps one memory in a hundred: recall@10 against the exact answer.

The exact answer is computed here, with numpy, from the same embedder over all the memories that pass the filter. Two
embeddings of one text differ a little when they were made in different batches (the int8 model quantises activations
by batch) and the service stores half precision, so a hit also counts as right when its exact cosine is within
:data:`TOLERANCE` of the tenth best; the strict figure stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from evals.client import Client, Recall
from evals.report import Cell, Table
from evals.synthetic import SyntheticMemory
from retrieval.ports import Embedder, Vectors

K = 10
TOLERANCE = 0.005
_EMBED_BATCH = 500


@dataclass(frozen=True, slots=True)
class Overlap:
    """Of the ``k`` exact best: the share that came back, and the share that came back within the tolerance."""

    strict: float
    tolerant: float
    returned: int


def overlap(returned: Sequence[str], cosines: Mapping[str, float], *, k: int = K) -> Overlap:
    """Compares an answer with exact cosines of everything that passes the filter (at least one memory).

    An id outside the filter's set counts as wrong.
    """
    best = sorted(cosines, key=lambda memory: -cosines[memory])[:k]
    threshold = cosines[best[-1]] - TOLERANCE
    found = list(dict.fromkeys(returned))[:k]
    good = sum(cosines.get(memory, -np.inf) >= threshold for memory in found)
    return Overlap(len(_shared(found, best)) / len(best), min(good / len(best), 1.0), len(found))


async def measure(
    client: Client,
    space: str,
    memories: Sequence[SyntheticMemory],
    questions: Sequence[str],
    buckets: Sequence[str],
    embedder: Embedder,
) -> Table:
    """Asks every question in every bucket, by metadata and by user. The space must hold exactly ``memories``."""
    asked = await embedder.embed_queries(questions)
    results: dict[str, list[Overlap]] = {"metadata": [], "user_id": []}
    kept = 0
    for bucket in buckets:
        inside = [memory for memory in memories if memory.bucket == bucket]
        kept += len(inside)
        cosines = asked @ (await _embed(embedder, inside)).T
        for row, question in enumerate(questions):
            exact = {memory.id: float(cosine) for memory, cosine in zip(inside, cosines[row], strict=True)}
            for kind, outcomes in results.items():
                answer = await client.recall(_request(question, space, kind, bucket))
                outcomes.append(overlap([hit.external_id or hit.id for hit in answer.hits], exact))
    rows: list[tuple[Cell, ...]] = [
        (
            kind,
            len(memories),
            kept / len(buckets) / len(memories),
            len(outcomes),
            _mean([one.strict for one in outcomes]),
            _mean([one.tolerant for one in outcomes]),
            min(one.returned for one in outcomes),
        )
        for kind, outcomes in results.items()
    ]
    columns = ("filter on", "memories", "selectivity", "questions", "recall@10", "within tolerance", "fewest hits")
    return Table("Filtered recall: dense arm", columns, tuple(rows), note=f"Tolerance: {TOLERANCE} of the cosine.")


def _request(question: str, space: str, kind: str, bucket: str) -> Recall:
    wanted: dict[str, JsonValue] = {"metadata": {"bucket": bucket}} if kind == "metadata" else {"user_id": bucket}
    return Recall(question, space, limit=K, arms=("dense",), filters=wanted)


async def _embed(embedder: Embedder, memories: Sequence[SyntheticMemory]) -> Vectors:
    parts = [
        await embedder.embed_passages([memory.text for memory in memories[start : start + _EMBED_BATCH]])
        for start in range(0, len(memories), _EMBED_BATCH)
    ]
    return np.concatenate(parts)


def _shared(found: Sequence[str], best: Sequence[str]) -> Set[str]:
    return set(found) & set(best)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
