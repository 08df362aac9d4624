"""Reads the times out of a question: the mentions that the rules find, judged and combined by the words around them.

Rules rather than a model or a date parser: a parser of whole sentences reads "we" as Wednesday and knows no intervals,
while a rule can be read, tested and reported. English only. What is not sure to be a time is left out, because a wrong
interval hurts the order and a missing one costs nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from retrieval.temporal import absolute, relative
from retrieval.temporal.bounds import Bounds, Unit, shift
from retrieval.temporal.context import (
    dated,
    licensed,
    listed,
    offset_from,
    part_before,
    range_start,
    side_of,
    taken,
)
from retrieval.temporal.interval import Interval, TemporalReport
from retrieval.temporal.mention import Anchor, Mention, scan
from retrieval.temporal.recency import wants_recent
from retrieval.temporal.words import WEEKDAY, fold

MAX_INTERVALS = 8
"""Each interval costs a look into an index; no honest question names more."""

_RULES = (*absolute.RULES, *relative.RULES)
_WEEKDAY = re.compile(WEEKDAY)


@dataclass(frozen=True, slots=True)
class _Reading:
    """``text[start:end]`` was read as ``bounds``; ``None`` where a time of the question was needed and not given."""

    start: int
    end: int
    bounds: Bounds | None


def find_intervals(query: str, query_time: datetime | None) -> list[Interval]:
    """The intervals that ``query`` names, in reading order, at most :data:`MAX_INTERVALS`; never raises.

    Phrases relative to the question are ignored without ``query_time``; a naive ``query_time`` is taken as UTC.
    """
    return list(read_times(query, query_time).intervals)


def read_times(query: str, query_time: datetime | None) -> TemporalReport:
    """What ``query`` says about time: see :class:`TemporalReport`. Linear in the length of ``query``."""
    zone: tzinfo = (query_time.tzinfo if query_time else None) or UTC
    now = query_time.replace(tzinfo=UTC, fold=0) if query_time else None
    readings = _Reader(query, now).read()
    intervals = [
        Interval(
            start=reading.bounds.start.replace(tzinfo=zone),
            end=reading.bounds.end.replace(tzinfo=zone),
            phrase=query[reading.start : reading.end],
            span=(reading.start, reading.end),
            precision=reading.bounds.precision,
        )
        for reading in readings
        if reading.bounds is not None and reading.bounds.sound
    ]
    unresolved = tuple(query[reading.start : reading.end] for reading in readings if reading.bounds is None)
    return TemporalReport(tuple(intervals[:MAX_INTERVALS]), unresolved, wants_recent(query))


class _Reader:
    """One pass over the mentions of one question."""

    def __init__(self, text: str, now: datetime | None) -> None:
        self._folded = fold(text)
        self._now = now
        self._mentions = scan(_RULES, self._folded, text)

    def read(self) -> list[_Reading]:
        readings: list[_Reading] = []
        list_end: int | None = None
        index = 0
        while index < len(self._mentions):
            mention = self._mentions[index]
            following = self._mentions[index + 1] if index + 1 < len(self._mentions) else None
            reading = self._range(mention, following) if following else None
            index += 2 if reading else 1
            reading = reading or self._single(mention, following, list_end)
            if reading is not None:
                # "last weekend before April 10", "since Monday before May": what the shared words alone were read as goes.
                while readings and readings[-1].end > reading.start:
                    readings.pop()
                readings.append(reading)
                list_end = reading.end
        return readings

    def _range(self, first: Mention, second: Mention) -> _Reading | None:
        """A range such as "between May 3 and May 7, 2023": from the start of the first to the end of the second."""
        first_part, second_part = (
            part_before(self._folded, first.start),
            part_before(self._folded, second.start),
        )
        first_start = first_part.start() if first_part else first.start
        second_start = second_part.start() if second_part else second.start
        opened = range_start(self._folded, first_start, first.end, second_start)
        if opened is None:
            return None
        early, late = self._ends(first, second)
        if early is None or late is None:
            return _Reading(opened, second.end, None) if self._needs_now(first, second) else None
        early = taken(first_part, early, self._now) if first_part else early
        late = taken(second_part, late, self._now) if second_part else late
        return _Reading(opened, second.end, Bounds(early.start, late.end, late.precision))

    def _ends(self, first: Mention, second: Mention) -> tuple[Bounds | None, Bounds | None]:
        """A date without a year takes it from the other end of the range: the nearest on its side."""
        if first.anchor is Anchor.FIXED and second.anchor is Anchor.FLOATING:
            early = first.resolve(None)
            return early, second.resolve(shift(early.start, Unit.YEAR, 1)) if early else None
        late = second.resolve(self._now)
        if first.anchor is Anchor.FLOATING:
            return first.resolve(late.start) if late else None, late
        return first.resolve(self._now), late

    def _single(self, mention: Mention, following: Mention | None, list_end: int | None) -> _Reading | None:
        anchor = self._now
        if following is not None:
            if self._is_weekday(mention) and dated(self._folded, mention.end, following.start):
                return None
            if (
                mention.anchor is Anchor.FLOATING
                and following.anchor is Anchor.FIXED
                and listed(self._folded, mention.end, following.start)
                and (other := following.resolve(None)) is not None
            ):
                anchor = other.start
        part = part_before(self._folded, mention.start)
        start = part.start() if part else mention.start
        in_list = list_end is not None and listed(self._folded, list_end, start)
        if not (part or in_list or licensed(self._folded, mention.start, mention.end, mention.licence)):
            return None
        bounds = mention.resolve(anchor)
        if bounds is None:
            return _Reading(start, mention.end, None) if self._needs_now(mention) else None
        bounds = taken(part, bounds, self._now) if part else bounds
        moved = offset_from(self._folded, start, bounds) or side_of(self._folded, start, bounds, self._now)
        start, bounds = moved or (start, bounds)
        return _Reading(start, mention.end, bounds)

    def _is_weekday(self, mention: Mention) -> bool:
        return _WEEKDAY.search(self._folded, mention.start, mention.end) is not None

    def _needs_now(self, *mentions: Mention) -> bool:
        return self._now is None and any(mention.anchor is not Anchor.FIXED for mention in mentions)
