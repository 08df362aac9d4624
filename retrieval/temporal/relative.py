"""Phrases relative to the question: "yesterday", "last week", "the past two years", "3 days ago", "last Monday"."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from retrieval.temporal.bounds import DAY, Bounds, Unit, latest_weekday, months, shift, whole
from retrieval.temporal.interval import Precision
from retrieval.temporal.mention import Anchor, Licence, Mention, Rule
from retrieval.temporal.words import (
    AMOUNT,
    MONTH,
    SEASON,
    SPACE,
    UNIT,
    WEEKDAY,
    amount,
    month_number,
    season_month,
    unit,
    weekday_number,
)

_STEPS = {"last": -1, "past": -1, "this": 0, "current": 0, "next": 1, "coming": 1}
_NOT_OF = rf"(?!{SPACE}of\b|')"


def _relative(
    match: re.Match[str], resolve: Callable[[datetime], Bounds], licence: Licence = Licence.NONE
) -> Mention:
    return Mention(
        *match.span(), lambda now: resolve(now) if now is not None else None, Anchor.NOW, licence
    )


def _day_word(match: re.Match[str], text: str) -> Mention:
    words = match[0]
    if words.endswith("yesterday") or words.startswith("last"):
        offset = -2 if words.startswith("the") else -1
    elif words.endswith("tomorrow"):
        offset = 2 if words.startswith("the") else 1
    else:
        offset = 0
    return _relative(match, lambda now: whole(shift(now, Unit.DAY, offset), Unit.DAY))


def _calendar_unit(match: re.Match[str], text: str) -> Mention:
    """"last month" is the calendar month before; "the last month" and "the past month" are the month up to now."""
    which, counted = match["which"], unit(match["unit"])
    if which == "past" or (which == "last" and match["the"] and counted is not Unit.WEEKEND):
        return _relative(match, lambda now: _up_to(now, counted, 1))
    return _relative(match, lambda now: _neighbour(now, counted, _STEPS[which]))


def _neighbour(now: datetime, counted: Unit, step: int) -> Bounds:
    current = whole(now, counted)
    return whole(shift(current.start, counted, step), counted) if step else current


def _up_to(now: datetime, counted: Unit, count: int) -> Bounds:
    """From the day that lies ``count`` units back to the end of today."""
    start = whole(shift(now, counted, -count), Unit.DAY)
    return Bounds(start.start, whole(now, Unit.DAY).end, whole(now, counted).precision)


def _last_units(match: re.Match[str], text: str) -> Mention:
    _, most = amount(match["amount"])
    counted = unit(match["unit"])
    return _relative(match, lambda now: _up_to(now, counted, most))


def _units_ago(match: re.Match[str], text: str) -> Mention:
    """"two months ago" is the whole calendar month; "a few days ago" the stretch from five to two days back."""
    least, most = amount(match["amount"])
    counted = unit(match["unit"])
    if match["half"]:
        least, most = 6 * least, 6 * most
        counted = Unit.MONTH

    def resolve(now: datetime) -> Bounds:
        first, last = whole(shift(now, counted, -most), counted), whole(shift(now, counted, -least), counted)
        return Bounds(first.start, last.end, first.precision)

    return _relative(match, resolve)


def _weekday(match: re.Match[str], text: str) -> Mention:
    """"last Monday" is before today; "on Monday" may be today; "this Monday" is in the week of the question."""
    number, which = weekday_number(match["weekday"]), match["which"]

    def resolve(now: datetime) -> Bounds:
        today = whole(now, Unit.DAY)
        if which in {"last", "past"}:
            return latest_weekday(number, today.start)
        if which == "this":
            return whole(shift(whole(now, Unit.WEEK).start, Unit.DAY, number), Unit.DAY)
        if which in {"next", "coming"}:
            return latest_weekday(number, shift(today.start, Unit.DAY, 8))
        return latest_weekday(number, today.end)

    return _relative(match, resolve, Licence.NONE if which else Licence.AT)


def _month(match: re.Match[str], text: str) -> Mention | None:
    """"last May" is over, "this May" is in the year of the question, "next May" begins after it."""
    if match["which"] == "this" and not text[match.start("month")].isupper():
        return None  # "this march", "this may"
    number, step = month_number(match["month"]), _STEPS[match["which"]]
    return _relative(match, lambda now: _yearly(now, number, 1, step, Precision.MONTH))


def _season(match: re.Match[str], text: str) -> Mention:
    number, step = season_month(match["season"]), _STEPS[match["which"]]
    return _relative(match, lambda now: _yearly(now, number, 3, step, Precision.SEASON))


def _yearly(now: datetime, first: int, count: int, step: int, precision: Precision) -> Bounds:
    """The months of the year of ``now``, or the latest that are over, or the first that are to come."""
    bounds = months(now.year, first, count, precision)
    before = Bounds(shift(bounds.start, Unit.YEAR, -1), shift(bounds.end, Unit.YEAR, -1), precision)
    if step < 0:
        over = bounds if bounds.end <= now else before
        return over if over.end <= now else Bounds(*(shift(end, Unit.YEAR, -1) for end in (over.start, over.end)), precision)
    if step > 0 and bounds.start <= now:
        return Bounds(shift(bounds.start, Unit.YEAR, 1), shift(bounds.end, Unit.YEAR, 1), precision)
    return before if before.start <= now < before.end else bounds


RULES = (
    Rule(
        re.compile(
            rf"\bthe{SPACE}day{SPACE}(?:before{SPACE}yesterday|after{SPACE}tomorrow)\b"
            rf"|\b(?:yesterday|tomorrow|today|tonight|last{SPACE}night|this{SPACE}(?:morning|afternoon|evening))\b"
        ),
        _day_word,
    ),
    Rule(
        re.compile(
            rf"\b(?P<the>the{SPACE})?(?P<which>last|past|this|current){SPACE}(?P<unit>{UNIT[:-1]}))\b{_NOT_OF}"
            rf"|(?<!the )\b(?P<which2>next)\b"
        ),
        _calendar_unit,
    ),
)
