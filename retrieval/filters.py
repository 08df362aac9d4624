"""What a recall may return: the same filters, pushed down into every arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None
JsonValue: TypeAlias = "Scalar | Sequence[JsonValue] | Mapping[str, JsonValue]"


@dataclass(frozen=True, slots=True)
class Filters:
    """All conditions hold together; an empty one holds for everything. Ranges are half-open: ``[after, before)``.

    ``as_of`` is a point on the world's time axis (what was true then), ``known_at`` one on ours (what we knew then).
    With neither, what is live is searched: not deleted, not superseded, in its current revision.
    """

    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    kinds: tuple[str, ...] = ()
    source_types: tuple[str, ...] = ()
    topics_any: tuple[str, ...] = ()
    topics_all: tuple[str, ...] = ()
    metadata: tuple[tuple[str, Scalar], ...] = ()
    min_confidence: float | None = None
    event_after: datetime | None = None
    event_before: datetime | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    as_of: datetime | None = None
    known_at: datetime | None = None

    @property
    def time_travel(self) -> bool:
        """True when something other than the live rows is asked for."""
        return self.as_of is not None or self.known_at is not None

    @property
    def selective(self) -> bool:
        """True when any condition beyond «live» is set."""
        return self != Filters()
