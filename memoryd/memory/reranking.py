"""What a request, a space and the installation say of reranking, and which of them counts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from memoryd.errors import InvalidRequest
from retrieval.filters import JsonValue
from retrieval.rerank import RerankPlan


class RerankMode(StrEnum):
    """Whether the cross-encoder reorders the best candidates."""

    AUTO = "auto"
    OFF = "off"
    ON = "on"


@dataclass(frozen=True, slots=True)
class RerankWish:
    """It does, and so: what is ``None`` is as the installation has it."""

    depth: int | None = None
    budget_ms: float | None = None
    model: str | None = None


Reranking = RerankMode | RerankWish


@dataclass(frozen=True, slots=True)
class RerankPolicy:
    """The installation's: what ``auto`` means, the depth and the time, and the one model that there is (``None``: none)."""

    auto: bool
    plan: RerankPlan
    model: str | None = None

    def plan_of(self, asked: Reranking, default: Reranking | None = None) -> RerankPlan | None:
        """What to do, ``None`` for nothing. ``default`` is what the spaces say, and counts where ``auto`` is asked for.

        Raises ``InvalidRequest`` for another model than the installation's.
        """
        meant = default if asked is RerankMode.AUTO and default is not None else asked
        if isinstance(meant, RerankWish):
            if meant.model is not None and meant.model != self.model:
                raise InvalidRequest(f"rerank.model: there is {self.model or 'none'} here, and no other")
            return RerankPlan(
                depth=self.plan.depth if meant.depth is None else meant.depth,
                budget_ms=self.plan.budget_ms if meant.budget_ms is None else meant.budget_ms,
            )
        reranks = self.auto if meant is RerankMode.AUTO else meant is RerankMode.ON
        return self.plan if reranks else None


def agreed(settings: Iterable[Reranking | None]) -> Reranking | None:
    """What several spaces say: the one setting of all that have any; ``None`` where they differ, or none has."""
    found = {setting for setting in settings if setting is not None}
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class StoredReranking:
    """A space's setting as JSON, and back. It names no model: the installation's may change, and the space would be lost."""

    value: Reranking

    @classmethod
    def read(cls, stored: JsonValue) -> Self | None:
        """From a column; what is not understood, as by an older release, is as if it were not set."""
        if isinstance(stored, str):
            return cls(RerankMode(stored)) if stored in (RerankMode.OFF, RerankMode.ON) else None
        if not isinstance(stored, Mapping):
            return None
        depth, budget = stored.get("depth"), stored.get("budget_ms")
        return cls(
            RerankWish(
                depth=depth if isinstance(depth, int) else None,
                budget_ms=float(budget) if isinstance(budget, int | float) else None,
            )
        )

    def written(self) -> JsonValue:
        """For a column, and for an answer."""
        if isinstance(self.value, RerankMode):
            return self.value.value
        wish: dict[str, JsonValue] = {"depth": self.value.depth, "budget_ms": self.value.budget_ms}
        return {name: value for name, value in wish.items() if value is not None}
