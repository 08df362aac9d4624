"""One recall: arms run at the same time, each with a deadline; then fusion, a temporal boost, and reranking.

A slow or failed arm is left out and named in ``degraded``. With every arm gone nothing can be said, and ``answered`` is false.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from retrieval.candidates import (
    ARM_DEPTH,
    Found,
    Fusion,
    by_memory,
    distinct,
    full_score,
    fuse,
    hand_on,
    missing_from,
    passage_of,
    readings,
)
from retrieval.deadline import NO_DEADLINE, Deadline
from retrieval.errors import MemorydError
from retrieval.fusion import Fused
from retrieval.ports import Item, ItemReader, LexicalIndex, Query, Reranker, Serving, TemporalIndex, VectorSpace, VectorSpaces
from retrieval.rerank import RerankCandidate, RerankPlan, rerank
from retrieval.scope import Scope
from retrieval.sources import capped, comparable, joined, limits, merged, parts, together, worth_reading
from retrieval.temporal import Interval, RecencyPrior, find_intervals, temporal_boost, wants_recent

if TYPE_CHECKING:
    from retrieval.vectors import Vectors

log = logging.getLogger(__name__)


class Arm(StrEnum):
    """A way of finding."""

    DENSE = "dense"
    LEXICAL = "lexical"
    TEMPORAL = "temporal"


DEFAULT_ARMS = (Arm.DENSE, Arm.LEXICAL, Arm.TEMPORAL)

_TIMES_READ_IN = 1_000
"""Characters of a question that times are looked for in: reading is linear, but 8,000 hostile ones took 0.7 s."""

_FOLLOWING_TURNS = 2

_ARMS_SHARE = 0.8
"""Of the time left, for the arms: what they found must still be read."""

_RERANK_SHARE = 0.9
"""Of the time left, for reranking: the answer must still be written."""

TEMPORAL_WEIGHT = 0.5
"""What an event time inside an interval that the query names adds, in units of the best possible fused score.

On the LoCoMo-dev questions that name a time, with the date in the indexed text: nDCG@10 .567 without, .602 at .2, .620 at .5.
"""


@dataclass(frozen=True, slots=True)
class Embedding:
    """The question's vector in the space of memories, shape ``(dimension,)``, and how long it took. ``serving`` is what the
    whole request is answered from."""

    serving: Serving
    space: VectorSpace
    vector: Vectors
    milliseconds: float


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to look for. ``arm_ms`` bounds each arm, ``deadline`` arms and reranking; without ``rerank`` the fused order stands.

    ``embedding``: see :meth:`Searcher.embed`; without it the question is embedded by the search. ``caps``: at most so many hits
    of a source, by the id of a space or a knowledge base; the others take their places.
    """

    text: str
    query: Query
    limit: int
    arms: tuple[Arm, ...] = DEFAULT_ARMS
    fusion: Fusion = Fusion.CONVEX
    query_time: datetime | None = None
    arm_ms: float = 2000.0
    deadline: Deadline = NO_DEADLINE
    rerank: RerankPlan | None = None
    embedding: asyncio.Task[Embedding] | None = None
    caps: Mapping[UUID, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a hit is where it is. ``arms``: rank (from 1) and raw score; ``parts``: what each list gave to ``fused``."""

    ranks: Mapping[str, int]
    scores: Mapping[str, float]
    parts: Mapping[str, float]
    fused: float
    temporal: float
    rerank: float | None
    via_neighbour: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """One memory found. ``score`` is comparable within one answer only."""

    item: Item
    score: float
    explanation: Explanation


@dataclass(slots=True)
class SearchResult:
    """Best first, with what went wrong and how long each stage took (milliseconds).

    ``answered`` is false when no arm did: ``late`` says that one of them at least was too slow, ``failure`` is the first error
    of ours.
    """

    hits: list[Hit]
    degraded: list[str] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    intervals: list[Interval] = field(default_factory=list)
    reranked: int = 0
    answered: bool = True
    late: bool = False
    failure: MemorydError | None = None


def out_of_time(arms: Sequence[Arm], text: str, query_time: datetime | None) -> SearchResult:
    """The result of a search that had no time left to say anything: every arm that the question asks for is missing."""
    intervals = _intervals(text, query_time)
    return SearchResult([], list(_needed(arms, intervals) or arms), intervals=intervals, answered=False, late=True)


class Searcher:
    """Runs recalls over the ports it is given."""

    def __init__(
        self,
        *,
        vectors: VectorSpaces,
        lexical: LexicalIndex,
        temporal: TemporalIndex,
        items: ItemReader,
        reranker: Reranker | None,
    ) -> None:
        self._vectors = vectors
        self._lexical = lexical
        self._temporal = temporal
        self._items = items
        self._reranker = reranker

    def embed(self, scope: Scope, text: str) -> asyncio.Task[Embedding]:
        """Begin to embed a question while it is not yet known where to search. Cancel it when it is not wanted any more."""
        task = asyncio.create_task(self._embedding(scope, text))
        # Whoever does not come to wait for it has failed for another reason, which is the one to report.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def search(self, scope: Scope, request: SearchRequest) -> SearchResult:
        """Find at most ``request.limit`` memories. Raises what reading the items raises, and nothing that an arm raised."""
        result = SearchResult([])
        started = time.perf_counter()
        result.intervals = _intervals(request.text, request.query_time)
        found = await self._run_arms(scope, request, result)
        fuse_started = time.perf_counter()
        ranked = {arm: list_ for arm, list_ in found.items() if arm is not Arm.TEMPORAL}
        unit = full_score(request.fusion, ranked)
        fused = fuse(request.fusion, ranked)
        fused += missing_from(fused, found.get(Arm.TEMPORAL))
        hits = await self._hits(scope, request, result, found, fused, unit)
        result.timings_ms["fuse"] = _since(fuse_started)
        if request.rerank is not None and hits:
            hits = await self._rerank(scope, request, request.rerank, hits, result, unit)
        if request.caps:
            hits = [hits[place] for place in capped([hit.item for hit in hits], request.caps)]
        result.hits = hits[: request.limit]
        result.timings_ms["total"] = _since(started)
        return result

    async def _run_arms(self, scope: Scope, request: SearchRequest, result: SearchResult) -> dict[Arm, Found]:
        runs: dict[Arm, Callable[[], Awaitable[Found]]] = {
            Arm.DENSE: lambda: self._run_dense(scope, request, result),
            Arm.LEXICAL: lambda: self._run_lexical(scope, request, result),
            Arm.TEMPORAL: lambda: self._run_temporal(scope, request, result.intervals),
        }
        arms = _needed([arm for arm in runs if arm in request.arms], result.intervals)
        if not arms:
            # Only the temporal arm was asked for, and the question names no time that could be understood.
            result.degraded.append(Arm.TEMPORAL)
            return {}
        answers = await asyncio.gather(*(self._guarded(arm, runs[arm], request, result) for arm in arms))
        found = {arm: answer for arm, answer in zip(arms, answers, strict=True) if answer is not None}
        result.answered = bool(found)
        return found

    async def _guarded(
        self, arm: Arm, run: Callable[[], Awaitable[Found]], request: SearchRequest, result: SearchResult
    ) -> Found | None:
        """The arm's answer in time, or ``None`` with its name in ``degraded``."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(request.deadline.stage_s(request.arm_ms, share=_ARMS_SHARE)):
                return await run()
        except TimeoutError:
            log.warning("recall arm %s missed its deadline", arm)
            result.late = True
        except MemorydError as error:
            log.warning("recall arm %s failed: %s", arm, error.code)
            result.failure = result.failure or error
        except Exception as error:  # noqa: BLE001 - named in degraded
            # Whatever it is, the other arms answer: never less without saying so, never a 500.
            log.warning("recall arm %s failed: %s", arm, type(error).__name__)
        finally:
            result.timings_ms.setdefault(arm, _since(started))
        result.degraded.append(arm)
        return None

    async def _embedding(self, scope: Scope, text: str) -> Embedding:
        started = time.perf_counter()
        serving = await self._vectors.serving(scope)
        space = await serving.memories()
        return Embedding(serving, space, await _embedded(space, scope, text), _since(started))

    async def _run_dense(self, scope: Scope, request: SearchRequest, result: SearchResult) -> Found:
        """Each part is searched in the space that serves it, with the question's vector in that space and no other."""
        embedding = await (request.embedding or self._embedding(scope, request.text))
        result.timings_ms["embed"] = embedding.milliseconds
        started = time.perf_counter()
        wanted = parts(request.query, request.caps)
        pieces = [(place, *piece) for place, part in enumerate(wanted) for piece in await embedding.serving.of(part)]
        vectors = {embedding.space.number: embedding.vector}
        for _, space, _ in pieces:
            if space.number not in vectors:
                vectors[space.number] = await _embedded(space, scope, request.text)
        found = await together(
            [self._dense_part(scope, request, part, space, vectors[space.number]) for _, space, part in pieces]
        )
        found = comparable([(space.number, one) for (_, space, _), one in zip(pieces, found, strict=True)])
        by_part = [
            joined([one for (of, *_), one in zip(pieces, found, strict=True) if of == place]) for place in range(len(wanted))
        ]
        result.timings_ms[Arm.DENSE] = _since(started)
        return merged(by_part)

    async def _dense_part(self, scope: Scope, request: SearchRequest, part: Query, space: VectorSpace, vector: Vectors) -> Found:
        return await distinct(lambda limit: space.index.search(scope, part, vector, limit=limit), wanted=request.limit)

    async def _run_lexical(self, scope: Scope, request: SearchRequest, result: SearchResult) -> Found:
        found = [self._lexical_part(scope, request, part, result) for part in parts(request.query, request.caps)]
        return merged(await together(found))

    async def _lexical_part(self, scope: Scope, request: SearchRequest, part: Query, result: SearchResult) -> Found:
        """BM25, and a share of each score for the turns that follow in the session.

        The answer often stands in the turn after the one that has the question's words: on LoCoMo-dev this lifts
        BM25's recall@10 from .657 to .736 in the fusion. Nothing is stored for it, so a deleted turn leaves no trace.
        """
        found = await distinct(lambda limit: self._lexical.search(scope, part, request.text, limit=limit), wanted=request.limit)
        try:
            followers = await self._items.following(scope, part, list(found.pids.values()), turns=_FOLLOWING_TURNS)
        except MemorydError as error:
            log.warning("neighbouring turns were not read: %s", error.code)
            result.degraded.append("neighbours")
            return found
        hand_on(found, followers)
        return found

    async def _run_temporal(self, scope: Scope, request: SearchRequest, intervals: Sequence[Interval]) -> Found:
        spaces = [part for part in parts(request.query, request.caps) if part.spaces]  # documents did not happen
        lists = [await self._temporal.search(scope, part, interval, limit=ARM_DEPTH) for part in spaces for interval in intervals]
        return by_memory([hit for hits in lists for hit in hits])

    async def _hits(
        self,
        scope: Scope,
        request: SearchRequest,
        result: SearchResult,
        found: Mapping[Arm, Found],
        fused: Sequence[Fused[int]],
        unit: float,
    ) -> list[Hit]:
        """Reads the candidates (filters applied again) and adds the temporal boost."""
        recent = wants_recent(request.text)
        depth = max(request.limit, request.rerank.depth if request.rerank else 0)
        # Intervals may lift anything that was found; without them only what can be shown is read.
        if not (result.intervals or recent):
            caps = limits(request.query, request.caps)
            fused = [fused[n] for n in worth_reading([one.key for one in fused], found.values(), caps, 2 * depth + 10)]
        pids = {one.key: passage_of(one.key, found.values()) for one in fused}
        items = await self._items.read(scope, request.query, sorted(set(pids.values())))
        recency = RecencyPrior() if recent and request.query_time else None
        scores = {arm: dict(list_.scored) for arm, list_ in found.items()}
        weight = TEMPORAL_WEIGHT * unit if Arm.TEMPORAL in request.arms else 0.0
        hits = []
        for one in fused:
            item = items.get(pids[one.key])
            if item is None:
                continue
            boost = temporal_boost(item.event_time, result.intervals, query_time=request.query_time, recency=recency)
            hits.append(_hit(one, item, weight * boost, scores, found.get(Arm.LEXICAL)))
        hits.sort(key=lambda hit: (-hit.score, hit.item.pid))
        return hits

    async def _rerank(
        self, scope: Scope, request: SearchRequest, plan: RerankPlan, hits: list[Hit], result: SearchResult, unit: float
    ) -> list[Hit]:
        started = time.perf_counter()
        if self._reranker is None:
            result.degraded.append("rerank")
            return hits
        try:
            async with asyncio.timeout(request.deadline.stage_s(share=_RERANK_SHARE)):
                before = await self._items.preceding(scope, request.query, [hit.item.pid for hit in hits[: plan.depth]])
                candidates = [RerankCandidate(readings(hit.item, before.get(hit.item.pid)), hit.score / unit) for hit in hits]
                budget = max(1.0, min(plan.budget_ms, _RERANK_SHARE * request.deadline.left_ms))
                plan = replace(plan, budget_ms=budget)
                outcome = await rerank(self._reranker, request.text, candidates, plan, owner=scope.tenant_id)
        except (MemorydError, TimeoutError) as error:
            log.warning("reranking failed: %s", type(error).__name__)
            result.degraded.append("rerank")
            return hits
        finally:
            result.timings_ms["rerank"] = _since(started)
        result.reranked = outcome.depth
        return [
            replace(
                hits[index],
                score=score,
                explanation=replace(hits[index].explanation, rerank=outcome.relevance.get(index)),
            )
            for index, score in outcome.order
        ]


async def _embedded(space: VectorSpace, scope: Scope, text: str) -> Vectors:
    vectors = await space.embedder.embed_queries([text], owner=scope.tenant_id)
    vector: Vectors = vectors[0]
    return vector


def _intervals(text: str, query_time: datetime | None) -> list[Interval]:
    return find_intervals(text[:_TIMES_READ_IN], query_time)


def _needed(arms: Sequence[Arm], intervals: Sequence[Interval]) -> list[Arm]:
    """Without the temporal arm where the question names no time."""
    return [arm for arm in arms if arm is not Arm.TEMPORAL or intervals]


def _hit(one: Fused[int], item: Item, boost: float, scores: Mapping[Arm, Mapping[int, float]], lexical: Found | None) -> Hit:
    explanation = Explanation(
        ranks=one.ranks,
        scores={arm.value: known[one.key] for arm, known in scores.items() if one.key in known},
        parts=one.parts,
        fused=one.score,
        temporal=boost,
        rerank=None,
        via_neighbour=lexical is not None and one.key in lexical.pids and one.key not in lexical.own,
    )
    return Hit(item, one.score + boost, explanation)


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
