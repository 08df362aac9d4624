"""The use case of ``POST /v1/recall``."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from memoryd.access.service import require
from memoryd.errors import InvalidRequest, StoreUnavailable
from memoryd.memory.reranking import Reranking, RerankMode, RerankPolicy
from memoryd.memory.sources import Source, Sources, Where
from retrieval.candidates import Fusion
from retrieval.deadline import Deadline
from retrieval.filters import Filters
from retrieval.scope import Action, Scope
from retrieval.search import DEFAULT_ARMS, Arm, Embedding, Searcher, SearchRequest, SearchResult, out_of_time


@dataclass(frozen=True, slots=True)
class RecallRequest:
    """A question to long-term memory. ``spaces`` ``None``: every space that the key may use. ``sources`` instead of spaces: these
    alone, and they may be knowledge bases.

    ``deadline_ms`` bounds the whole; ``deadline`` is it already running, where the recall is a part of something larger.
    """

    query: str
    spaces: tuple[str, ...] | None
    filters: Filters
    limit: int
    rerank: Reranking = RerankMode.AUTO
    arms: tuple[Arm, ...] | None = None
    fusion: Fusion = Fusion.CONVEX
    query_time: datetime | None = None
    deadline_ms: float | None = None
    deadline: Deadline | None = None
    sources: tuple[Source, ...] | None = None


@dataclass(frozen=True, slots=True)
class RecallPolicy:
    """The installation's defaults. ``recall_ms`` bounds a recall that names no deadline, the reranking
    that it or the installation asks for aside; a space's own has what is left."""

    rerank: RerankPolicy
    arm_ms: float
    recall_ms: float


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was found, the names of the spaces searched (by id; by a knowledge base's id, that of its space), and how long the
    rest of the request may take."""

    result: SearchResult
    spaces: Mapping[UUID, str]
    deadline: Deadline


class Recall:
    """Resolves spaces, applies the installation's defaults, and searches."""

    def __init__(self, sources: Sources, searcher: Searcher, policy: RecallPolicy) -> None:
        self._sources = sources
        self._searcher = searcher
        self._policy = policy

    @property
    def patience_s(self) -> float:
        """How long the stores may take for what a caller cannot do without, whatever its own deadline."""
        return self._policy.recall_ms / 1000

    def deadline(self, request: RecallRequest) -> Deadline:
        """When the answer is due, counted from now: what the caller asks for, else the installation's bound."""
        if request.deadline is not None:
            return request.deadline
        if request.deadline_ms is not None:
            return Deadline.after(request.deadline_ms)
        plan = self._policy.rerank.plan_of(request.rerank)
        return Deadline.after(self._policy.recall_ms + (2 * plan.budget_ms if plan is not None else 0.0))

    async def __call__(self, scope: Scope, request: RecallRequest) -> Recalled:
        """Hits, best first.

        When the caller's own ``deadline_ms`` passes with nothing found there are none, and every arm is named in ``degraded``.
        Raises ``Forbidden``, ``InvalidRequest``, ``NotFound`` (a space or knowledge base), ``VersionGone``,
        ``StoreUnavailable`` (also when time is up that the caller did not set), and what an arm raised when no arm answered.
        """
        require(scope, Action.READ)
        deadline = self.deadline(request)
        arms = request.arms or DEFAULT_ARMS
        embedding = self._searcher.embed(scope, request.query) if Arm.DENSE in arms else None
        try:
            async with asyncio.timeout(deadline.stage_s()):
                recalled = await self._recall(scope, request, arms, deadline, embedding)
        except TimeoutError:
            recalled = Recalled(out_of_time(arms, request.query, request.query_time), {}, deadline)
        finally:
            if embedding is not None:
                embedding.cancel()
        result = recalled.result
        if result.answered or (result.late and request.deadline_ms is not None):
            return recalled
        raise result.failure or StoreUnavailable("the stores did not answer in time")

    async def _recall(
        self,
        scope: Scope,
        request: RecallRequest,
        arms: tuple[Arm, ...],
        deadline: Deadline,
        embedding: asyncio.Task[Embedding] | None,
    ) -> Recalled:
        where = await self._where(scope, request)
        if not where.names:
            return Recalled(SearchResult([]), where.names, deadline)
        result = await self._searcher.search(
            scope,
            SearchRequest(
                text=request.query,
                query=where.query,
                limit=request.limit,
                arms=arms,
                fusion=request.fusion,
                query_time=request.query_time,
                arm_ms=self._policy.arm_ms,
                deadline=deadline,
                rerank=self._policy.rerank.plan_of(request.rerank, where.rerank),
                embedding=embedding,
                caps=where.caps,
            ),
        )
        return Recalled(result, where.names, deadline)

    async def _where(self, scope: Scope, request: RecallRequest) -> Where:
        if request.sources is None:
            return await self._sources.of_spaces(scope, _unique(request.spaces), request.filters)
        if request.spaces is not None:
            raise InvalidRequest("name spaces or sources, not both")
        return await self._sources.of(scope, request.sources, request.filters)


def _unique(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(dict.fromkeys(names))
