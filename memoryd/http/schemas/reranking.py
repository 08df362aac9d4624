"""How a cross-encoder is asked for, in a request and as a space's setting."""

from typing import Annotated, Literal

from pydantic import Field

from memoryd.http.fields import Identifier, Whole
from memoryd.http.schemas.common import Body
from memoryd.memory.reranking import Reranking, RerankMode, RerankWish

Depth = Annotated[Whole, Field(ge=1, le=200, description="At most so many hits are read; fewer when time is short")]
Budget = Annotated[float, Field(strict=True, gt=0, le=60_000, allow_inf_nan=False, description="About so many milliseconds")]


class SpaceRerankIn(Body):
    """Rerank, and so; what is missing is as the installation has it."""

    depth: Depth | None = None
    budget_ms: Budget | None = None


class RerankIn(SpaceRerankIn):
    """Rerank, and so; what is missing is as the installation has it."""

    model: Identifier | None = Field(None, description="The installation's; another is refused")


SpaceRerank = Literal[RerankMode.OFF, RerankMode.ON] | SpaceRerankIn


def reranking(given: RerankMode | SpaceRerankIn) -> Reranking:
    """As the use case takes it."""
    if isinstance(given, RerankMode):
        return given
    return RerankWish(given.depth, given.budget_ms, given.model if isinstance(given, RerankIn) else None)
