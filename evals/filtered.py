"""Search under a filter: the dense arm's ten best against the exact ten, and how long it takes.

The filters on a label, a user and a day keep one memory in a hundred; their exact answer is computed here, with numpy, from
the same embedder over all the memories that pass. Two embeddings of one text differ a little when they were made in
different batches (the int8 model quantises activations by batch) and the service stores half precision, so a hit also counts
as right when its exact cosine is within :data:`TOLERANCE` of the tenth best; the strict figure stands beside it. For the
filters that keep a fifth, or all, the exact answer is a scan of the stored vectors.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

import numpy as np
from pydantic import JsonValue

from evals.beside import Beside
from evals.client import MAX_BATCH, Client, Recall, RecallAnswer
from evals.populate import embedded_text
from evals.report import Cell, Table
from evals.synthetic import DAYS, SyntheticMemory, day
from evals.timing import summarise
from retrieval.filters import Filters
from retrieval.ports import Embedder
from retrieval.vectors import Vectors

K = 10
TOLERANCE = 0.005
# Beyond the tenth: what is this deep can still be within the tolerance.
_REFERENCE_DEPTH = 100
COLUMNS = (
    "filter", "memories", "kept", "exact by", "questions", "recall@10", "within tolerance", "fewest hits", "degraded",
    "wall p50 ms", "wall p95 ms", "dense p50 ms", "dense p95 ms",
)  # fmt: skip


class Kind(StrEnum):
    """What is filtered on."""

    METADATA = "metadata"
    USER = "user_id"
    DAY = "a day's events"
    DAYS = "twenty days' events"
    NONE = "nothing"


NARROW = (Kind.METADATA, Kind.USER, Kind.DAY)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Of the ``k`` exact best: the share that came back, and the share that came back within the tolerance."""

    strict: float
    tolerant: float
    returned: int


@dataclass(frozen=True, slots=True)
class Crowd:
    """One space that holds exactly ``memories``."""

    client: Client
    tenant: UUID
    space: str
    space_id: UUID
    memories: Sequence[SyntheticMemory]


@dataclass(slots=True)
class _Outcomes:
    overlaps: list[Overlap] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    dense: list[float] = field(default_factory=list)
    degraded: int = 0


def overlap(returned: Sequence[str], cosines: Mapping[str, float], *, k: int = K) -> Overlap:
    """Compares an answer with exact cosines of everything that passes the filter (at least one memory).

    An id outside the filter's set counts as wrong.
    """
    best = sorted(cosines, key=lambda memory: -cosines[memory])[:k]
    threshold = cosines[best[-1]] - TOLERANCE
    found = list(dict.fromkeys(returned))[:k]
    good = sum(cosines.get(memory, -np.inf) >= threshold for memory in found)
    return Overlap(len(_shared(found, best)) / len(best), min(good / len(best), 1.0), len(found))


async def measure(crowd: Crowd, questions: Sequence[str], values: Sequence[int], beside: Beside) -> Table:
    """Asks every question once under each kind of filter; ``values`` (bucket and day numbers) are used in turn."""
    # One at a time, as the service embeds them: a batch would quantise them differently.
    asked = [(await beside.embedder.embed_queries([question]))[0] for question in questions]
    rows: list[tuple[Cell, ...]] = []
    for kind in Kind:
        outcomes = _Outcomes()
        narrowed: dict[int, tuple[list[str], Vectors]] = {}
        for number, (question, vector) in enumerate(zip(questions, asked, strict=True)):
            value = values[number % len(values)]
            if kind in NARROW:
                if value not in narrowed:
                    narrowed[value] = await _inside(crowd.memories, kind, value, beside.embedder)
                ids, vectors = narrowed[value]
                exact = dict(zip(ids, map(float, vectors @ vector), strict=True))
            else:
                hits = await beside.exact(crowd.tenant, crowd.space_id, vector, _filters(kind), limit=_REFERENCE_DEPTH)
                exact = {str(hit.memory_id): hit.score for hit in hits}
            answer = await _ask(crowd, question, kind, value, outcomes)
            found = [hit.external_id or hit.id if kind in NARROW else hit.id for hit in answer.hits]
            # A degraded answer is not one of the dense arm: nothing of it counts.
            outcomes.overlaps.append(overlap([] if answer.degraded else found, exact))
        rows.append(_row(kind, crowd, values, outcomes))
    return Table(
        "Filtered recall: dense arm",
        COLUMNS,
        tuple(rows),
        note=f"'kept' is the share of the memories that pass the filter. Tolerance: {TOLERANCE} of the cosine. 'fewest hits' of "
        f"{K} asked for. Wall is the caller's clock over HTTP, one question at a time; dense is the service's own, without the "
        "embedding.",
    )


def _row(kind: Kind, crowd: Crowd, values: Sequence[int], outcomes: _Outcomes) -> tuple[Cell, ...]:
    wall, dense = summarise(outcomes.wall), summarise(outcomes.dense)
    kept = [sum(_passes(memory, kind, value) for memory in crowd.memories) / len(crowd.memories) for value in values]
    return (
        kind,
        len(crowd.memories),
        _mean(kept),
        "numpy, embedded anew" if kind in NARROW else "scan of the stored vectors",
        len(outcomes.overlaps),
        _mean([one.strict for one in outcomes.overlaps]),
        _mean([one.tolerant for one in outcomes.overlaps]),
        min(one.returned for one in outcomes.overlaps),
        outcomes.degraded,
        wall.p50,
        wall.p95,
        dense.p50,
        dense.p95,
    )


async def _ask(crowd: Crowd, question: str, kind: Kind, value: int, outcomes: _Outcomes) -> RecallAnswer:
    request = Recall(question, crowd.space, limit=K, arms=("dense",), filters=_wanted(kind, value))
    started = time.perf_counter()
    answer = await crowd.client.recall(request)
    outcomes.wall.append((time.perf_counter() - started) * 1000)
    outcomes.dense.append(answer.timings_ms["dense"])
    outcomes.degraded += bool(answer.degraded)
    return answer


def _wanted(kind: Kind, value: int) -> dict[str, JsonValue]:
    match kind:
        case Kind.METADATA:
            return {"metadata": {"bucket": _bucket(value)}}
        case Kind.USER:
            return {"user_id": _bucket(value)}
        case Kind.DAY:
            return {"event_after": day(value % DAYS).isoformat(), "event_before": day(value % DAYS + 1).isoformat()}
        case Kind.DAYS:
            return {"event_after": day(0).isoformat(), "event_before": day(DAYS).isoformat()}
        case Kind.NONE:
            return {}


def _filters(kind: Kind) -> Filters:
    return Filters(event_after=day(0), event_before=day(DAYS)) if kind is Kind.DAYS else Filters()


def _passes(memory: SyntheticMemory, kind: Kind, value: int) -> bool:
    if kind in (Kind.METADATA, Kind.USER):
        return memory.bucket == _bucket(value)
    if kind is Kind.NONE:
        return True
    first, days = (value % DAYS, 1) if kind is Kind.DAY else (0, DAYS)
    return memory.event_time is not None and day(first) <= memory.event_time < day(first) + timedelta(days=days)


async def _inside(memories: Sequence[SyntheticMemory], kind: Kind, value: int, embedder: Embedder) -> tuple[list[str], Vectors]:
    """External ids and vectors of what passes; shapes ``n`` and ``(n, dimension)``."""
    inside = [memory for memory in memories if _passes(memory, kind, value)]
    if not inside:
        raise ValueError(f"no memory passes the filter on {kind}: measure more memories")
    texts = [embedded_text(memory) for memory in inside]
    parts = [await embedder.embed_passages(texts[start : start + MAX_BATCH]) for start in range(0, len(texts), MAX_BATCH)]
    return [memory.id for memory in inside], np.concatenate(parts)


def _bucket(value: int) -> str:
    return f"b{value:02d}"


def _shared(found: Sequence[str], best: Sequence[str]) -> Set[str]:
    return set(found) & set(best)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
