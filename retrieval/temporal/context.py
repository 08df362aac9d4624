"""The words before a time: what makes a number a year, which part of a month, and on which side of it.

Every look goes back a fixed number of characters, so that reading stays linear in the question.
"""

from __future__ import annotations

import re
from datetime import datetime

from retrieval.temporal.bounds import (
    CEILING,
    FLOOR,
    Bounds,
    Unit,
    fraction,
    latest_weekday,
    nth_week,
    shift,
    whole,
)
from retrieval.temporal.interval import Precision
from retrieval.temporal.mention import Licence
from retrieval.temporal.words import AMOUNT, SPACE, WEEKDAY, amount, ordinal, unit, weekday_number

_WINDOW = 48
_THE = rf"(?:the{SPACE})?"

_PART = re.compile(
    rf"\b(?:(?P<third>early|mid|late)[\s\-]{{1,3}}(?:in{SPACE})?"
    rf"|(?P<clip>earlier|later){SPACE}(?:in{SPACE})?"
    rf"|(?P<edge>beginning|start|middle|end){SPACE}of{SPACE}"
    rf"|(?P<nth>first|second|third|fourth|last|1st|2nd|3rd|4th){SPACE}(?P<part>half|quarter|week){SPACE}(?:of|in){SPACE})"
    rf"{_THE}\Z"
)
_THIRDS = {"early": 0, "beginning": 0, "start": 0, "mid": 1, "middle": 1, "late": 2, "end": 2}

_OFFSET = re.compile(
    rf"\b(?:(?P<amount>{AMOUNT}){SPACE}(?P<units>(?:day|week|month|year)s?)"
    rf"|(?:(?:the|last){SPACE})?(?:(?P<unit>day|week|weekend|month|year)|(?P<weekday>{WEEKDAY})))"
    rf"{SPACE}(?P<side>before|prior{SPACE}to|after|following){SPACE}{_THE}\Z"
)
_RELATION = re.compile(rf"\b(?P<side>since|before|prior{SPACE}to|after|until|till|up{SPACE}to|by){SPACE}{_THE}\Z")
_AROUND = {Unit.DAY: 0, Unit.WEEK: 3, Unit.MONTH: 15, Unit.YEAR: 182}
"""Days that "N weeks before" may be off on either side."""

_SURE = rf"in|during|throughout|month{SPACE}of"
_AT = re.compile(
    rf"\b(?:(?P<sure>{_SURE})|(?P<side>since|before|prior{SPACE}to|after|until|till)|"
    rf"on|within|over|through|around|circa|by|between|from|year){SPACE}{_THE}\Z"
)
_NOT_A_NAME = re.compile(
    rf"\s{{0,2}}(?:[?.!,;:)\-]|\Z)|{SPACE}(?:and|or|to|until|till|through|in|on|at|what|when|where|who|how|which)\b"
)

_RANGE_OPENS = re.compile(rf"\b(?P<opens>between|from){SPACE}{_THE}\Z")
_RANGE_JOINS = {
    "between": re.compile(rf"(?:{SPACE}and{SPACE}|\s?-\s?){_THE}"),
    "from": re.compile(rf"(?:{SPACE}(?:up{SPACE})?(?:to|through|until|till){SPACE}|\s?-\s?){_THE}"),
}
_LIST_JOINS = re.compile(rf"(?:,\s{{1,3}}|,?{SPACE}(?:and|or|&){SPACE})(?:in{SPACE}|on{SPACE})?{_THE}")
_IS_DATED = re.compile(rf"(?:,{SPACE}|{SPACE})(?:on{SPACE})?{_THE}")


def licensed(folded: str, start: int, end: int, licence: Licence) -> bool:
    """Whether the words around ``folded[start:end]`` let it mean a time."""
    if licence is Licence.NONE:
        return True
    before = _AT.search(folded, max(0, start - _WINDOW), start)
    if before is None or licence is Licence.AT:
        return before is not None
    if before["side"]:
        return _NOT_A_NAME.match(folded, end) is not None
    return before["sure"] is not None


def part_before(folded: str, start: int) -> re.Match[str] | None:
    """The "early", "the end of", "the second week of" that stands right before ``start``; :func:`taken` reads it."""
    return _PART.search(folded, max(0, start - _WINDOW), start)


def taken(part: re.Match[str], bounds: Bounds, now: datetime | None) -> Bounds:
    """That part of ``bounds``; "earlier this year" ends today."""
    if part["clip"]:
        if now is None or not bounds.start <= now < bounds.end:
            return bounds
        today = whole(now, Unit.DAY)
        start, end = (bounds.start, today.end) if part["clip"] == "earlier" else (today.start, bounds.end)
        return Bounds(start, end, bounds.precision)
    third = part["third"] or part["edge"]
    if third:
        return fraction(bounds, _THIRDS[third], 3)
    number = ordinal(part["nth"])
    if part["part"] == "week":
        return nth_week(bounds, number)
    parts = 2 if part["part"] == "half" else 4
    return fraction(bounds, min(number, parts) - 1 if number else parts - 1, parts)


def offset_from(folded: str, start: int, bounds: Bounds) -> tuple[int, Bounds] | None:
    """Where "the week before", "two days after", "the Sunday before" begins, and the time so named."""
    match = _OFFSET.search(folded, max(0, start - _WINDOW), start)
    if match is None:
        return None
    before = match["side"][0] in "bp"
    if match["weekday"] or match["unit"] == "weekend":
        number = weekday_number(match["weekday"]) if match["weekday"] else 5
        found = latest_weekday(number, bounds.start if before else shift(bounds.end, Unit.DAY, 7))
        if match["unit"]:
            found = Bounds(found.start, shift(found.start, Unit.DAY, 2), Precision.WEEKEND)
        return match.start(), found
    if match["unit"]:
        counted = unit(match["unit"])
        precision = whole(bounds.start, counted).precision
        if before:
            return match.start(), Bounds(shift(bounds.start, counted, -1), bounds.start, precision)
        return match.start(), Bounds(bounds.end, shift(bounds.end, counted, 1), precision)
    return match.start(), _counted_offset(match, bounds, before)


def _counted_offset(match: re.Match[str], bounds: Bounds, before: bool) -> Bounds:
    counted = unit(match["units"])
    least, most = amount(match["amount"])
    base = bounds.start if before else shift(bounds.end, Unit.DAY, -1)
    ends = sorted(shift(base, counted, -count if before else count) for count in (least, most))
    slack = _AROUND[counted]
    return Bounds(
        shift(ends[0], Unit.DAY, -slack),
        shift(ends[1], Unit.DAY, slack + 1),
        whole(base, counted).precision,
    )


def side_of(folded: str, start: int, bounds: Bounds, now: datetime | None) -> tuple[int, Bounds] | None:
    """Where "since", "before", "after", "until", "by" begins, and that side of ``bounds``.

    "since" ends with the day of the question, the others at the end of the calendar.
    """
    match = _RELATION.search(folded, max(0, start - _WINDOW), start)
    if match is None:
        return None
    side = match["side"]
    if side == "since":
        today = whole(now, Unit.DAY).end if now is not None else CEILING
        ends = (bounds.start, today if today > bounds.start else CEILING)
    elif side == "after":
        ends = (bounds.end, CEILING)
    elif side in {"until", "till", "by"} or side.startswith("up"):
        ends = (FLOOR, bounds.end)
    else:
        ends = (FLOOR, bounds.start)
    return match.start(), Bounds(*ends, Precision.OPEN)


def range_start(folded: str, start: int, first_end: int, second_start: int) -> int | None:
    """Where "between" or "from" begins when the two mentions are the ends of a range, else ``None``."""
    match = _RANGE_OPENS.search(folded, max(0, start - _WINDOW), start)
    joined = match is not None and _RANGE_JOINS[match["opens"]].fullmatch(folded, first_end, second_start)
    return match.start() if match is not None and joined else None


def listed(folded: str, first_end: int, second_start: int) -> bool:
    """True when the second of two mentions is in a list with the first: "in May and June"."""
    return second_start - first_end <= _WINDOW and _LIST_JOINS.fullmatch(folded, first_end, second_start) is not None


def dated(folded: str, first_end: int, second_start: int) -> bool:
    """True when the second says which day the first is: "Monday, May 8", "last Friday on 23 January"."""
    return second_start - first_end <= _WINDOW and _IS_DATED.fullmatch(folded, first_end, second_start) is not None
