"""What MCP needs of a store beyond the use cases that it shares with REST."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from memoryd.memory.model import Revision
from retrieval.filters import Filters
from retrieval.scope import Scope


@dataclass(frozen=True, slots=True)
class Period:
    """Half-open, ``[after, before)``, on the time something happened: its event time, or when it was first recorded."""

    after: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a timeline goes on: behind this memory."""

    occurred_at: datetime
    seq: int


@dataclass(frozen=True, slots=True)
class Moment:
    """One memory of a timeline, and where it stands."""

    revision: Revision
    position: Position


@dataclass(frozen=True, slots=True)
class KindProfile:
    """The live memories of one kind in a space."""

    memories: int
    last_occurred_at: datetime
    last_recorded_at: datetime


class Chronicle(Protocol):
    """Live memories by time, and how many there are."""

    async def moments(
        self,
        scope: Scope,
        spaces: Sequence[UUID],
        filters: Filters,
        period: Period,
        *,
        behind: Position | None,
        newest_first: bool,
        limit: int,
    ) -> list[Moment]:
        """In order of time."""

    async def profile(self, scope: Scope, space: UUID) -> Mapping[str, KindProfile]:
        """By kind; a kind without memories is missing."""
