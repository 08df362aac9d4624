"""One recall: arms run at the same time, each with a deadline; then fusion, a temporal boost, and reranking.

A slow or failed arm is left out and named in ``degraded``; with every arm gone the result is empty, never an error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from retrieval.errors import MemorydError
from retrieval.fusion import NEIGHBOUR_DECAY, Fused, convex_combination, propagate_to_followers, reciprocal_rank_fusion
from retrieval.ports import (
    ArmHit,
    DenseIndex,
    Embedder,
    Item,
    ItemReader,
    LexicalIndex,
    Query,
    Reranker,
    TemporalIndex,
    Turn,
)
from retrieval.rerank import RerankCandidate, RerankPlan, rerank
from retrieval.scope import Scope
from retrieval.situate import situated
from retrieval.temporal import Interval, RecencyPrior, find_intervals, temporal_boost, wants_recent

log = logging.getLogger(__name__)


class Arm(StrEnum):
    """A way of finding."""

    DENSE = "dense"
    LEXICAL = "lexical"
    TEMPORAL = "temporal"


class Fusion(StrEnum):
    """How the arms' lists become one."""

    CONVEX = "convex"
    RRF = "rrf"


DEFAULT_ARMS = (Arm.DENSE, Arm.LEXICAL, Arm.TEMPORAL)

_PREVIOUS_CHARACTERS = 200
"""Of the turn before a candidate, for its second reading: enough to say what is being talked about."""

ARM_DEPTH = 100
"""Hits of each arm that are fused: with 50, .004 nDCG@10 less on LoCoMo-dev; 200 adds nothing."""

_TIMES_READ_IN = 1_000
"""Characters of a question that times are looked for in: reading is linear, but 8,000 hostile ones took 0.7 s."""

_MAX_ARM_DEPTH = 16 * ARM_DEPTH

TEMPORAL_WEIGHT = 0.5
"""What an event time inside an interval that the query names adds to a fused score, which is in [0, 1].

On the LoCoMo-dev questions that name a time, with the date in the indexed text: nDCG@10 .567 without, .602 at .2, .620 at .5.
"""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to look for. ``arm_ms`` bounds each arm, ``deadline_ms`` the whole; without ``rerank`` the fused order stands."""

    text: str
    query: Query
    limit: int
    arms: tuple[Arm, ...] = DEFAULT_ARMS
    fusion: Fusion = Fusion.CONVEX
    query_time: datetime | None = None
    arm_ms: float = 2000.0
    deadline_ms: float | None = None
    rerank: RerankPlan | None = None


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
    """Best first, with what went wrong and how long each stage took (milliseconds)."""

    hits: list[Hit]
    degraded: list[str] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    intervals: list[Interval] = field(default_factory=list)
    reranked: int = 0


@dataclass(slots=True)
class _Found:
    """One arm's list, by memory: its best passage, with raw scores; ``own`` says which were not handed on."""

    scored: list[tuple[UUID, float]]
    pids: dict[UUID, int]
    own: frozenset[UUID]


class Searcher:
    """Runs recalls over the ports it is given."""

    def __init__(
        self,
        *,
        embedder: Embedder,
        dense: DenseIndex,
        lexical: LexicalIndex,
        temporal: TemporalIndex,
        items: ItemReader,
        reranker: Reranker | None,
    ) -> None:
        self._embedder = embedder
        self._dense = dense
        self._lexical = lexical
        self._temporal = temporal
        self._items = items
        self._reranker = reranker

    async def search(self, scope: Scope, request: SearchRequest) -> SearchResult:
        """Find at most ``request.limit`` memories. Raises nothing that an arm raised."""
        result = SearchResult([])
        started = time.perf_counter()
        result.intervals = find_intervals(request.text[:_TIMES_READ_IN], request.query_time)
        found = await self._run_arms(scope, request, result)
        fuse_started = time.perf_counter()
        fused = _fuse(request.fusion, {arm: list_ for arm, list_ in found.items() if arm is not Arm.TEMPORAL})
        for memory_id in _only_temporal(found, fused):
            fused.append(Fused(memory_id, 0.0, {}, {}))
        hits = await self._hits(scope, request, result, found, fused)
        result.timings_ms["fuse"] = _since(fuse_started)
        if request.rerank is not None and hits:
            left = request.deadline_ms - _since(started) if request.deadline_ms else request.rerank.budget_ms
            plan = replace(request.rerank, budget_ms=max(1.0, min(left, request.rerank.budget_ms)))
            hits = await self._rerank(scope, request, plan, hits, result)
        result.hits = hits[: request.limit]
        result.timings_ms["total"] = _since(started)
        return result

    async def _run_arms(self, scope: Scope, request: SearchRequest, result: SearchResult) -> dict[Arm, _Found]:
        runs: dict[Arm, Callable[[], Awaitable[_Found]]] = {
            Arm.DENSE: lambda: self._run_dense(scope, request, result),
            Arm.LEXICAL: lambda: self._run_lexical(scope, request),
            Arm.TEMPORAL: lambda: self._run_temporal(scope, request, result.intervals),
        }
        arms = [arm for arm in runs if arm in request.arms and (arm is not Arm.TEMPORAL or result.intervals)]
        answers = await asyncio.gather(*(self._guarded(arm, runs[arm], request, result) for arm in arms))
        return {arm: answer for arm, answer in zip(arms, answers, strict=True) if answer is not None}

    async def _guarded(
        self, arm: Arm, run: Callable[[], Awaitable[_Found]], request: SearchRequest, result: SearchResult
    ) -> _Found | None:
        """The arm's answer in time, or ``None`` with its name in ``degraded``."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(min(request.arm_ms, request.deadline_ms or request.arm_ms) / 1000):
                return await run()
        except TimeoutError:
            log.warning("recall arm %s missed its deadline", arm)
        except Exception as error:  # noqa: BLE001 - named in degraded
            # Whatever it is, the other arms answer: never less without saying so, never a 500.
            log.warning("recall arm %s failed: %s", arm, error.code if isinstance(error, MemorydError) else type(error).__name__)
        finally:
            embedding = result.timings_ms.get("embed", 0.0) if arm is Arm.DENSE else 0.0
            result.timings_ms[arm] = _since(started) - embedding
        result.degraded.append(arm)
        return None

    async def _run_dense(self, scope: Scope, request: SearchRequest, result: SearchResult) -> _Found:
        started = time.perf_counter()
        vectors = await self._embedder.embed_queries([request.text])
        result.timings_ms["embed"] = _since(started)
        return await _distinct(lambda limit: self._dense.search(scope, request.query, vectors[0], limit=limit), request)

    async def _run_lexical(self, scope: Scope, request: SearchRequest) -> _Found:
        """BM25, and a share of each score for the turns that follow in the session.

        The answer often stands in the turn after the one that has the question's words: on LoCoMo-dev this lifts
        BM25's recall@10 from .657 to .736 in the fusion. Nothing is stored for it, so a deleted turn leaves no trace.
        """
        found = await _distinct(lambda limit: self._lexical.search(scope, request.query, request.text, limit=limit), request)
        followers = await self._items.following(scope, request.query, list(found.pids.values()), turns=2)
        by_pid = {pid: memory_id for memory_id, pid in found.pids.items()}
        next_turns: dict[UUID, list[UUID]] = {}
        for follower in sorted(followers, key=lambda f: (f.after_pid, f.distance)):
            next_turns.setdefault(by_pid[follower.after_pid], []).append(follower.memory_id)
            found.pids.setdefault(follower.memory_id, follower.pid)
        found.scored = propagate_to_followers(found.scored, next_turns, decay=NEIGHBOUR_DECAY)[:ARM_DEPTH]
        return found

    async def _run_temporal(self, scope: Scope, request: SearchRequest, intervals: Sequence[Interval]) -> _Found:
        lists = [await self._temporal.search(scope, request.query, interval, limit=ARM_DEPTH) for interval in intervals]
        return _by_memory([hit for hits in lists for hit in hits])

    async def _hits(
        self,
        scope: Scope,
        request: SearchRequest,
        result: SearchResult,
        found: Mapping[Arm, _Found],
        fused: Sequence[Fused[UUID]],
    ) -> list[Hit]:
        """Reads the candidates (filters applied again) and adds the temporal boost."""
        depth = max(request.limit, request.rerank.depth if request.rerank else 0)
        # Intervals may lift anything that was found; without them only what can be shown is read.
        read = len(fused) if result.intervals or wants_recent(request.text) else 2 * depth + 10
        pids = {one.key: _pid(one.key, found) for one in fused[:read]}
        items = await self._items.read(scope, request.query, sorted(set(pids.values())))
        recency = RecencyPrior() if wants_recent(request.text) and request.query_time else None
        scores = {arm: dict(list_.scored) for arm, list_ in found.items()}
        weight = TEMPORAL_WEIGHT if Arm.TEMPORAL in request.arms else 0.0
        hits = []
        for one in fused[:read]:
            item = items.get(pids[one.key])
            if item is None:
                continue
            boost = temporal_boost(item.event_time, result.intervals, query_time=request.query_time, recency=recency)
            hits.append(_hit(one, item, weight * boost, scores, found.get(Arm.LEXICAL)))
        hits.sort(key=lambda hit: (-hit.score, hit.item.pid))
        return hits

    async def _rerank(
        self, scope: Scope, request: SearchRequest, plan: RerankPlan, hits: list[Hit], result: SearchResult
    ) -> list[Hit]:
        started = time.perf_counter()
        if self._reranker is None:
            result.degraded.append("rerank")
            return hits
        try:
            before = await self._items.preceding(scope, request.query, [hit.item.pid for hit in hits[: plan.depth]])
            candidates = [RerankCandidate(_readings(hit.item, before.get(hit.item.pid)), hit.score) for hit in hits]
            outcome = await rerank(self._reranker, request.text, candidates, plan)
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


async def _distinct(find: Callable[[int], Awaitable[list[ArmHit]]], request: SearchRequest) -> _Found:
    """An arm's list, deeper when few long memories fill it with their passages and crowd the others out."""
    limit = ARM_DEPTH
    while True:
        hits = await find(limit)
        found = _by_memory(hits)
        enough = min(ARM_DEPTH, 2 * request.limit)
        if len(hits) < limit or len(found.scored) >= enough or limit >= _MAX_ARM_DEPTH:
            found.scored = found.scored[:ARM_DEPTH]
            return found
        limit *= 4


def _by_memory(hits: Sequence[ArmHit]) -> _Found:
    """The best passage of each memory, in the order of the arm."""
    pids: dict[UUID, int] = {}
    scored: list[tuple[UUID, float]] = []
    for hit in hits:
        if hit.memory_id not in pids:
            pids[hit.memory_id] = hit.pid
            scored.append((hit.memory_id, hit.score))
    return _Found(scored, pids, frozenset(pids))


def _fuse(fusion: Fusion, found: Mapping[Arm, _Found]) -> list[Fused[UUID]]:
    if fusion is Fusion.RRF:
        return reciprocal_rank_fusion({arm: [key for key, _ in one.scored] for arm, one in found.items()})
    return convex_combination({arm: one.scored for arm, one in found.items()})


def _only_temporal(found: Mapping[Arm, _Found], fused: Sequence[Fused[UUID]]) -> list[UUID]:
    """What only the temporal arm found: appended with a fused score of 0, so that «what happened in May» has answers."""
    temporal = found.get(Arm.TEMPORAL)
    if temporal is None:
        return []
    known = {one.key for one in fused}
    return [key for key, _ in temporal.scored if key not in known]


def _pid(key: UUID, found: Mapping[Arm, _Found]) -> int:
    """The passage that stands for a memory: the dense arm's where it has one (it read the meaning)."""
    return next(one.pids[key] for one in found.values() if key in one.pids)


def _hit(one: Fused[UUID], item: Item, boost: float, scores: Mapping[Arm, Mapping[UUID, float]], lexical: _Found | None) -> Hit:
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


def _readings(item: Item, before: Turn | None) -> tuple[str, ...]:
    """What the reranker reads: the passage, situated as it was when it was embedded; and again behind the turn before it."""
    start, end = item.span
    text = situated(item.text[start:end], item.speaker, item.event_time)
    if before is None:
        return (text,)
    speaker = f"{before.speaker}: " if before.speaker else ""
    return (text, f"{speaker}{before.text[:_PREVIOUS_CHARACTERS]} {text}")


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
