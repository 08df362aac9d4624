"""A stretch of time that a question names, and the report of what was understood."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Precision(StrEnum):
    """How finely the phrase tells the time; ``OPEN`` has one end only ("since May", "before 2020")."""

    DAY = "day"
    WEEKEND = "weekend"
    WEEK = "week"
    MONTH = "month"
    SEASON = "season"
    """A quarter or a season: three months."""
    YEAR = "year"
    DECADE = "decade"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Interval:
    """Half-open ``[start, end)``, both aware, in the zone of ``query_time`` (UTC where there is none).

    ``phrase`` is ``query[span[0]:span[1]]``: the words it was read from.
    """

    start: datetime
    end: datetime
    phrase: str
    span: tuple[int, int]
    precision: Precision


@dataclass(frozen=True, slots=True)
class TemporalReport:
    """What a question says about time, for ``explain``.

    ``unresolved`` are phrases that need a ``query_time`` which was not given ("last week"): they are ignored, not
    guessed. ``wants_recent`` tells whether the recency prior applies.
    """

    intervals: tuple[Interval, ...]
    unresolved: tuple[str, ...]
    wants_recent: bool
