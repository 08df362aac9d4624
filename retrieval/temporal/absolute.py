"""Phrases of the calendar: "8 May 2023", "2023-05-08", "May 2023", "summer 2022", "Q3 2023", "2023", "the 90s".

``05/08/2023`` is read month first, unless the first number can only be a day. A date without a year is the latest one
not after the question.
"""

from __future__ import annotations

import re
from datetime import datetime

from retrieval.temporal.bounds import Bounds, Unit, day, months, shift, whole
from retrieval.temporal.interval import Precision
from retrieval.temporal.mention import Anchor, Licence, Mention, Resolve, Rule
from retrieval.temporal.words import (
    COUNTED,
    DAY_NUMBER,
    MONTH,
    NUMBER_END,
    NUMBER_START,
    SEASON,
    SPACE,
    YEAR,
    month_number,
    ordinal,
    season_month,
)

_VERBS = frozenset({"may", "march", "mar"})
_NAMES = frozenset({"april", "may", "june", "august", "jan", "mar", "dec"})
_YEAR_AFTER = rf"(?:(?:,\s{{0,3}}|{SPACE}(?:of{SPACE}|in{SPACE})?)(?P<year>{YEAR}))?"


def _dated(match: re.Match[str], first: int, last: int) -> tuple[Resolve, Anchor]:
    """From day ``first`` to day ``last`` of the month, with its year or as the latest one."""
    month = month_number(match["month"])
    if match["year"]:
        year = int(match["year"])
        return lambda _: _days(year, month, first, last), Anchor.FIXED
    return lambda now: _latest_days(now, month, first, last), Anchor.FLOATING


def _days(year: int, month: int, first: int, last: int) -> Bounds | None:
    start, end = day(year, month, first), day(year, month, last)
    return Bounds(start.start, end.end, Precision.DAY) if start and end else None


def _latest_days(now: datetime | None, month: int, first: int, last: int) -> Bounds | None:
    """In the latest year that has these days not after ``now``: a 29 February may lie eight years back."""
    if now is None:
        return None
    years = range(now.year, now.year - 9, -1)
    found = (_days(year, month, first, last) for year in years)
    return next((bounds for bounds in found if bounds and bounds.start <= now), None)


def _latest_months(now: datetime | None, first: int, count: int, precision: Precision) -> Bounds | None:
    if now is None:
        return None
    bounds = months(now.year, first, count, precision)
    return bounds if bounds.start <= now else months(max(1, now.year - 1), first, count, precision)


def _iso(match: re.Match[str], text: str) -> Mention:
    year, month, number = int(match["year"]), int(match["month"]), int(match["day"])
    return Mention(*match.span(), lambda _: day(year, month, number))


def _slashed(match: re.Match[str], text: str) -> Mention:
    one, two, year = (int(part) for part in match.groups())
    month, number = (two, one) if one > 12 else (one, two)
    return Mention(*match.span(), lambda _: day(year, month, number))


def _month_day(match: re.Match[str], text: str) -> Mention:
    first = int(match["day"])
    resolve, anchor = _dated(match, first, int(match["last"] or first))
    verb = match["month"] in _VERBS and not (match["year"] or match["ordinal"] or _capital(match, text))
    return Mention(*match.span(), resolve, anchor, Licence.AT if verb else Licence.NONE)


def _day_month(match: re.Match[str], text: str) -> Mention:
    last = int(match["day"])
    resolve, anchor = _dated(match, int(match["first"] or last), last)
    verb = match["month"] in _VERBS and not (match["year"] or match["of"] or _capital(match, text))
    return Mention(*match.span(), resolve, anchor, Licence.AT if verb else Licence.NONE)


def _capital(match: re.Match[str], text: str) -> bool:
    return text[match.start("month")].isupper()


def _month_year(match: re.Match[str], text: str) -> Mention:
    year, month = int(match["year"]), month_number(match["month"])
    return Mention(*match.span(), lambda _: months(year, month, 1, Precision.MONTH))


def _quarter(match: re.Match[str], text: str) -> Mention:
    first = 3 * ordinal(next(group for group in (match["q"], match["q2"], match["word"]) if group)) - 2
    written = match["year"] or match["year2"] or match["year3"]
    if written:
        year = int(written)
        return Mention(*match.span(), lambda _: months(year, first, 3, Precision.SEASON))
    return Mention(
        *match.span(),
        lambda now: _latest_months(now, first, 3, Precision.SEASON),
        Anchor.FLOATING,
        Licence.AT,
    )


def _season(match: re.Match[str], text: str) -> Mention:
    first = season_month(match["season"])
    if match["year"]:
        year = int(match["year"])
        return Mention(*match.span(), lambda _: months(year, first, 3, Precision.SEASON))
    return Mention(
        *match.span(),
        lambda now: _latest_months(now, first, 3, Precision.SEASON),
        Anchor.FLOATING,
        Licence.AT,
    )


def _year(match: re.Match[str], text: str) -> Mention:
    year = int(match[0])
    return Mention(*match.span(), lambda _: months(year, 1, 12, Precision.YEAR), licence=Licence.AT)


def _years(match: re.Match[str], text: str) -> Mention | None:
    first, last = int(match["first"]), int(match["last"])
    if first >= last:
        return None
    count = 12 * (last - first + 1)
    return Mention(*match.span(), lambda _: months(first, 1, count, Precision.YEAR), licence=Licence.AT)


def _decade(match: re.Match[str], text: str) -> Mention:
    """Ten years: "the 90s" is the 1990s, "the 20s" the 2020s; "the 1800s" is the century, "the 2000s" the decade."""
    short = match["short"]
    year = int(match["year"]) if match["year"] else int(short) + (1900 if int(short) >= 30 else 2000)
    count = 1200 if year % 100 == 0 and year < 2000 else 120
    return Mention(*match.span(), lambda _: months(year, 1, count, Precision.DECADE), licence=Licence.AT)


def _bare_month(match: re.Match[str], text: str) -> Mention | None:
    """A month alone, but not "May Parker", "June's" or "March Madness"."""
    tail = text[match.end() : match.end() + 2]
    if tail[:1] in {"'", "’", "-"} or (tail[:1] == " " and tail[1:].isupper()):
        return None
    month = month_number(match[0])
    return Mention(
        *match.span(),
        lambda now: _latest_months(now, month, 1, Precision.MONTH),
        Anchor.FLOATING,
        Licence.NAME if match[0] in _NAMES else Licence.AT,
    )


def _ordinal_day(match: re.Match[str], text: str) -> Mention:
    number = int(match["day"])
    return Mention(*match.span(), lambda now: _latest_day(now, number), Anchor.FLOATING, Licence.AT)


def _latest_day(now: datetime | None, number: int) -> Bounds | None:
    """The latest day of that number: the 31st may lie two months back."""
    if now is None:
        return None
    starts = [shift(whole(now, Unit.MONTH).start, Unit.MONTH, -back) for back in range(3)]
    found = (day(start.year, start.month, number) for start in starts)
    return next((bounds for bounds in found if bounds and bounds.start <= now), None)


_ORDINAL = r"(?:st|nd|rd|th)"
_NOT_CLOCK = r"(?!\s?[ap]\.?m\b)"

RULES = (
    Rule(
        re.compile(r"(?<![\w./\-])(?P<year>[0-9]{4})([-/])(?P<month>[0-9]{1,2})\2(?P<day>[0-9]{1,2})(?![0-9]|[-/.][0-9])"),
        _iso,
    ),
    Rule(re.compile(rf"{NUMBER_START}([0-9]{{1,2}})/([0-9]{{1,2}})/([0-9]{{4}}){NUMBER_END}"), _slashed),
    Rule(
        re.compile(
            rf"(?P<month>{MONTH})\.?{SPACE}(?:the{SPACE})?(?P<day>{DAY_NUMBER})(?P<ordinal>{_ORDINAL})?"
            rf"(?:\s?(?:-|to|through)\s?(?P<last>{DAY_NUMBER}){_ORDINAL}?\b{_NOT_CLOCK})?"
            rf"{NUMBER_END}{COUNTED}{_YEAR_AFTER}"
        ),
        _month_day,
    ),
    Rule(
        re.compile(
            rf"{NUMBER_START}(?:(?P<first>{DAY_NUMBER}){_ORDINAL}?\s?(?:-|to|through)\s?)?"
            rf"(?P<day>{DAY_NUMBER})(?:{_ORDINAL})?{SPACE}(?P<of>of{SPACE})?(?P<month>{MONTH})\.?{_YEAR_AFTER}"
        ),
        _day_month,
    ),
    Rule(
        re.compile(rf"(?P<month>{MONTH})\.?(?:,\s{{0,3}}|-|{SPACE}(?:of{SPACE}|in{SPACE})?)(?P<year>{YEAR})"),
        _month_year,
    ),
    Rule(
        re.compile(
            rf"\bq(?P<q>[1-4])\b(?:[\s/\-]{{0,3}}(?:of{SPACE})?(?P<year>{YEAR}))?"
            rf"|{NUMBER_START}(?P<year2>[12][0-9]{{3}})[\s\-]?q(?P<q2>[1-4])\b"
            rf"|\b(?P<word>first|second|third|fourth|1st|2nd|3rd|4th){SPACE}quarter{SPACE}(?:of{SPACE})?(?P<year3>{YEAR})"
        ),
        _quarter,
    ),
    Rule(re.compile(rf"\b(?P<season>{SEASON})[\s,]{{1,3}}(?:of{SPACE})?(?P<year>{YEAR})"), _season),
    Rule(re.compile(rf"\bthe{SPACE}(?P<season>{SEASON})(?P<year>)(?![\-']|{SPACE}of\b)"), _season),
    Rule(re.compile(rf"(?:{NUMBER_START}|(?<=mid-)|(?<=early-)|(?<=late-)){YEAR}"), _year),
    Rule(re.compile(rf"{NUMBER_START}(?P<first>[12][0-9]{{3}})\s?-\s?(?P<last>{YEAR})"), _years),
    Rule(
        re.compile(rf"{NUMBER_START}(?:(?P<year>[12][0-9]{{2}}0)'?s\b|(?<=the )'?(?P<short>[1-9]0)'?s\b)"),
        _decade,
    ),
    Rule(re.compile(MONTH + r"\.?"), _bare_month),
    Rule(
        re.compile(rf"\bthe{SPACE}(?P<day>{DAY_NUMBER}){_ORDINAL}(?=\s{{0,2}}(?:[?.!,;)]|$))"),
        _ordinal_day,
    ),
)
"""Earlier rules win where two match the same length."""
