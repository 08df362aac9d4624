"""The use case of ``POST /v1/recall``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from memoryd.access.service import SpaceService, require
from retrieval.filters import Filters
from retrieval.ports import Query
from retrieval.rerank import RerankPlan
from retrieval.scope import Action, Scope
from retrieval.search import DEFAULT_ARMS, Arm, Fusion, Searcher, SearchRequest, SearchResult


class RerankMode(StrEnum):
    """Whether the cross-encoder reorders the best candidates."""

    AUTO = "auto"
    OFF = "off"
    ON = "on"


@dataclass(frozen=True, slots=True)
class RecallRequest:
    """A question to long-term memory. ``spaces`` ``None``: every space that the key may use."""

    query: str
    spaces: tuple[str, ...] | None
    filters: Filters
    limit: int
    rerank: RerankMode = RerankMode.AUTO
    arms: tuple[Arm, ...] | None = None
    fusion: Fusion = Fusion.CONVEX
    query_time: datetime | None = None
    deadline_ms: float | None = None


@dataclass(frozen=True, slots=True)
class RecallPolicy:
    """The installation's defaults."""

    rerank_auto: bool
    rerank_plan: RerankPlan
    arm_ms: float


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was found, and the names of the spaces searched, by id."""

    result: SearchResult
    spaces: Mapping[UUID, str]


class Recall:
    """Resolves spaces, applies the installation's defaults, and searches."""

    def __init__(self, spaces: SpaceService, searcher: Searcher, policy: RecallPolicy) -> None:
        self._spaces = spaces
        self._searcher = searcher
        self._policy = policy

    async def __call__(self, scope: Scope, request: RecallRequest) -> Recalled:
        """Hits, best first. Raises ``Forbidden``, ``SpaceNotFound``, ``StoreUnavailable``."""
        require(scope, Action.READ)
        spaces = await self._spaces.readable(scope, _unique(request.spaces))
        names = {space.space_id: space.name for space in spaces.values()}
        if not names:
            return Recalled(SearchResult([]), names)
        wanted = request.rerank is RerankMode.ON or (request.rerank is RerankMode.AUTO and self._policy.rerank_auto)
        result = await self._searcher.search(
            scope,
            SearchRequest(
                text=request.query,
                query=Query(tuple(sorted(names)), request.filters),
                limit=request.limit,
                arms=request.arms or DEFAULT_ARMS,
                fusion=request.fusion,
                query_time=request.query_time,
                arm_ms=self._policy.arm_ms,
                deadline_ms=request.deadline_ms,
                rerank=self._policy.rerank_plan if wanted else None,
            ),
        )
        return Recalled(result, names)


def _unique(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(dict.fromkeys(names))
