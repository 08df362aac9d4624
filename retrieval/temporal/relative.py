"""Phrases relative to the question: "yesterday", "last week", "the past two years", "3 days ago", "last Monday"."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from retrieval.temporal.bounds import Bounds, Unit, latest_weekday, months, shift, whole
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
_WHICH = "|".join(_STEPS)
_NOT_OF = rf"(?!{SPACE}of\b)"


def _relative(
    match: re.Match[str], text: str, resolve: Callable[[datetime], Bounds], licence: Licence = Licence.NONE
) -> Mention | None:
    """The mention, unless its capital inside a sentence says that it is a title: "Home Alone Tonight"."""
    if licence is Licence.NONE and _titled(text, match.start()):
        return None
    return Mention(*match.span(), lambda now: resolve(now) if now is not None else None, Anchor.NOW, licence)


def _titled(text: str, start: int) -> bool:
    if not (text[start].isupper() and text[start + 1 : start + 2].islower()):
        return False
    before = text[max(0, start - 4) : start].rstrip()
    return bool(before) and before[-1] not in ".!?:;,-("


def _day_word(match: re.Match[str], text: str) -> Mention | None:
    words = match[0]
    if words.endswith("yesterday") or words.startswith("last"):
        offset = -2 if words.startswith("the") else -1
    elif words.endswith("tomorrow"):
        offset = 2 if words.startswith("the") else 1
    else:
        offset = 0
    return _relative(match, text, lambda now: whole(shift(now, Unit.DAY, offset), Unit.DAY))


def _calendar_unit(match: re.Match[str], text: str) -> Mention | None:
    """The calendar month before for "last month"; for "the last month" and "the past month" the month up to now.

    "the last day" is a final day and "the next week" one of a story: neither is a time.
    """
    which, counted = match["which"], unit(match["unit"])
    short = counted in (Unit.HOUR, Unit.DAY)
    up_to_now = which == "past" or (which == "last" and match["the"] and not short)
    if up_to_now and counted is not Unit.WEEKEND:
        return _relative(match, text, lambda now: _up_to(now, counted, 1))
    if short or (which == "next" and match["the"]):
        return None
    return _relative(match, text, lambda now: _neighbour(now, counted, _STEPS[which]))


def _neighbour(now: datetime, counted: Unit, step: int) -> Bounds:
    current = whole(now, counted)
    return whole(shift(current.start, counted, step), counted) if step else current


def _up_to(now: datetime, counted: Unit, count: int) -> Bounds:
    """From the day that lies ``count`` units back to the end of today."""
    start = whole(shift(now, counted, -count), Unit.DAY)
    return Bounds(start.start, whole(now, Unit.DAY).end, whole(now, counted).precision)


def _before_last(match: re.Match[str], text: str) -> Mention | None:
    counted = unit(match["unit"])
    return _relative(match, text, lambda now: _neighbour(now, counted, -2))


def _counted_units(match: re.Match[str], text: str) -> Mention | None:
    """Whole days: "the last two weeks" ends today, "the next two weeks" begins today."""
    _, most = amount(match["amount"])
    counted = unit(match["unit"])
    if match["which"] == "next":
        return _relative(match, text, lambda now: _from_now(now, counted, most))
    return _relative(match, text, lambda now: _up_to(now, counted, most))


def _from_now(now: datetime, counted: Unit, count: int) -> Bounds:
    end = whole(shift(now, counted, count), Unit.DAY).end
    return Bounds(whole(now, Unit.DAY).start, end, whole(now, counted).precision)


def _units_ago(match: re.Match[str], text: str) -> Mention | None:
    """Whole units: "two months ago" is a calendar month, "a few days ago" the stretch from five to two days back."""
    least, most = amount(match["amount"])
    counted = unit(match["unit"])
    if match["half"]:
        if counted is not Unit.YEAR:
            return None
        least, most, counted = 6, 6, Unit.MONTH

    def resolve(now: datetime) -> Bounds:
        first, last = whole(shift(now, counted, -most), counted), whole(shift(now, counted, -least), counted)
        return Bounds(first.start, last.end, first.precision)

    return _relative(match, text, resolve)


def _weekday(match: re.Match[str], text: str) -> Mention | None:
    """One day: "last Monday" is before today; "on Monday" may be today; "this Monday" is in the week of the question."""
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

    return _relative(match, text, resolve, Licence.NONE if which else Licence.AT)


def _month(match: re.Match[str], text: str) -> Mention | None:
    """One month: "last May" is over, "this May" is in the year of the question, "next May" begins after it."""
    if match["which"] == "this" and not text[match.start("month")].isupper():
        return None  # "this march", "this may"
    number, step = month_number(match["month"]), _STEPS[match["which"]]
    return _relative(match, text, lambda now: _yearly(now, number, 1, step, Precision.MONTH))


def _season(match: re.Match[str], text: str) -> Mention | None:
    number, step = season_month(match["season"]), _STEPS[match["which"]]
    return _relative(match, text, lambda now: _yearly(now, number, 3, step, Precision.SEASON))


def _yearly(now: datetime, first: int, count: int, step: int, precision: Precision) -> Bounds:
    """The latest such months that are over, the first to come, or those of the current year (or going on now)."""
    bounds = months(now.year, first, count, precision)

    def moved(years: int) -> Bounds:
        start, end = (shift(edge, Unit.YEAR, years) for edge in (bounds.start, bounds.end))
        return Bounds(start, end, precision)

    if step < 0:
        return next((past for past in (bounds, moved(-1)) if past.end <= now), moved(-2))
    if step > 0:
        return bounds if bounds.start > now else moved(1)
    return moved(-1) if moved(-1).start <= now < moved(-1).end else bounds


_AMOUNT = rf"(?<![\w.,/\-])(?P<amount>{AMOUNT}){SPACE}(?P<unit>{UNIT}s?)"

RULES = (
    Rule(
        re.compile(
            rf"\bthe{SPACE}day{SPACE}(?:before{SPACE}yesterday|after{SPACE}tomorrow)\b"
            rf"|\b(?:yesterday|tomorrow|today|tonight|last{SPACE}night|this{SPACE}(?:morning|afternoon|evening))\b"
        ),
        _day_word,
    ),
    Rule(
        re.compile(rf"\b(?P<the>the{SPACE})?(?P<which>{_WHICH}){SPACE}(?P<unit>{UNIT})\b{_NOT_OF}"),
        _calendar_unit,
    ),
    Rule(re.compile(rf"\bthe{SPACE}(?P<unit>{UNIT}){SPACE}before{SPACE}last\b"), _before_last),
    Rule(re.compile(rf"\b(?P<which>last|past|next){SPACE}{_AMOUNT}\b{_NOT_OF}"), _counted_units),
    Rule(re.compile(rf"(?:\b(?P<half>half){SPACE})?{_AMOUNT}{SPACE}ago\b"), _units_ago),
    Rule(re.compile(rf"(?:\b(?P<which>{_WHICH}){SPACE})?(?P<weekday>{WEEKDAY}){_NOT_OF}"), _weekday),
    Rule(re.compile(rf"\b(?P<which>{_WHICH}){SPACE}(?P<month>{MONTH})(?!\.?{SPACE}[0-9]|')"), _month),
    Rule(re.compile(rf"\b(?P<which>{_WHICH}){SPACE}(?P<season>{SEASON}){_NOT_OF}"), _season),
)
"""Earlier rules win where two match the same length."""
