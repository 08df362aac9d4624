"""Calendar arithmetic on wall-clock times that saturates at the ends of the calendar and never raises.

A wall-clock time is a ``datetime`` labelled UTC, whatever the zone: the zone is put on at the end, so that "yesterday"
begins at local midnight on either side of a change of clocks. The ends are a day inside what ``datetime`` can hold, so
that a bound converts to any zone. Seasons are the meteorological ones of the northern hemisphere; a winter belongs to
the year in which it begins.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from retrieval.temporal.interval import Precision

FLOOR = datetime(1, 1, 2, tzinfo=UTC)
CEILING = datetime(9999, 12, 30, tzinfo=UTC)
DAY = timedelta(days=1)


class Unit(StrEnum):
    """What people count time in."""

    HOUR = "hour"
    DAY = "day"
    WEEKEND = "weekend"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"
    DECADE = "decade"


_DAYS = {Unit.DAY: 1, Unit.WEEKEND: 7, Unit.WEEK: 7}
_MONTHS = {Unit.MONTH: 1, Unit.QUARTER: 3, Unit.YEAR: 12, Unit.DECADE: 120}
_PRECISION = {
    Unit.HOUR: Precision.DAY,
    Unit.DAY: Precision.DAY,
    Unit.WEEKEND: Precision.WEEKEND,
    Unit.WEEK: Precision.WEEK,
    Unit.MONTH: Precision.MONTH,
    Unit.QUARTER: Precision.SEASON,
    Unit.YEAR: Precision.YEAR,
    Unit.DECADE: Precision.DECADE,
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """Half-open stretch of wall-clock time."""

    start: datetime
    end: datetime
    precision: Precision

    @property
    def sound(self) -> bool:
        """True when it has a length and, where it is closed, lies inside the calendar."""
        inside = self.precision is Precision.OPEN or (self.start > FLOOR and self.end < CEILING)
        return inside and self.start < self.end


def shift(moment: datetime, unit: Unit, count: int) -> datetime:
    """``moment`` moved by ``count`` units; the 31st becomes the last day of a shorter month."""
    if unit in _MONTHS:
        months = moment.year * 12 + moment.month - 1 + count * _MONTHS[unit]
        year, month = divmod(months, 12)
        if not FLOOR.year <= year <= CEILING.year:
            return FLOOR if count < 0 else CEILING
        moved = moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))
        return min(max(moved, FLOOR), CEILING)
    try:
        step = timedelta(hours=count) if unit is Unit.HOUR else timedelta(days=count * _DAYS[unit])
        return min(max(moment + step, FLOOR), CEILING)
    except OverflowError:
        return FLOOR if count < 0 else CEILING


def whole(moment: datetime, unit: Unit) -> Bounds:
    """The calendar unit that ``moment`` lies in: weeks begin on Monday, a weekend is the one of that week."""
    start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit in (Unit.WEEK, Unit.WEEKEND):
        start = shift(start, Unit.DAY, -start.weekday() + (5 if unit is Unit.WEEKEND else 0))
    elif unit is Unit.MONTH:
        start = start.replace(day=1)
    elif unit is Unit.QUARTER:
        start = start.replace(day=1, month=(start.month - 1) // 3 * 3 + 1)
    elif unit is Unit.YEAR:
        start = start.replace(day=1, month=1)
    elif unit is Unit.DECADE:
        start = start.replace(day=1, month=1, year=max(1, start.year // 10 * 10))
    end = shift(start, Unit.DAY, 2) if unit is Unit.WEEKEND else shift(start, _step(unit), 1)
    return Bounds(start, end, _PRECISION[unit])


def _step(unit: Unit) -> Unit:
    return Unit.DAY if unit is Unit.HOUR else unit


def day(year: int, month: int, number: int) -> Bounds | None:
    """One day, or ``None`` when the calendar has no such day."""
    if not (FLOOR.year <= year <= CEILING.year and 1 <= month <= 12 and 1 <= number <= monthrange(year, month)[1]):
        return None
    return whole(datetime(year, month, number, tzinfo=UTC), Unit.DAY)


def months(year: int, first: int, count: int, precision: Precision) -> Bounds:
    """``count`` months from month ``first`` of ``year`` (1 to 9999)."""
    start = datetime(year, first, 1, tzinfo=UTC)
    return Bounds(start, shift(start, Unit.MONTH, count), precision)


def latest_weekday(weekday: int, before: datetime) -> Bounds:
    """The latest day of that weekday (Monday is 0) before ``before``, a midnight."""
    last = shift(before, Unit.DAY, -1)
    return whole(shift(last, Unit.DAY, -((last.weekday() - weekday) % 7)), Unit.DAY)


def fraction(of: Bounds, part: int, parts: int) -> Bounds:
    """The ``part``-th (from 0) of ``parts``: whole months of a year or a season, days of anything shorter."""
    length = (of.end.year - of.start.year) * 12 + of.end.month - of.start.month
    if length >= 3 and length % parts == 0:
        step = length // parts
        start = shift(of.start, Unit.MONTH, part * step)
        precision = Precision.MONTH if step == 1 else Precision.SEASON
        return Bounds(start, shift(start, Unit.MONTH, step), precision)
    days = (of.end - of.start).days
    if days < parts:
        return of
    cuts = [of.start + DAY * (days * cut // parts) for cut in (part, part + 1)]
    return Bounds(cuts[0], cuts[1], Precision.WEEK if days > 7 else Precision.DAY)


def nth_week(of: Bounds, number: int) -> Bounds:
    """Days 1-7, 8-14, ... of ``of``; number 0 is its last seven days."""
    start = shift(of.end, Unit.DAY, -7) if number == 0 else shift(of.start, Unit.DAY, 7 * (number - 1))
    return Bounds(start, shift(start, Unit.DAY, 7), Precision.WEEK)
