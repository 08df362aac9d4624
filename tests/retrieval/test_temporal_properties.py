"""No text breaks the reader, and no text makes it slow."""

import re
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retrieval.temporal import (
    MAX_INTERVALS,
    RecencyPrior,
    absolute,
    context,
    read_times,
    reading,
    recency,
    relative,
    temporal_boost,
)
from retrieval.temporal.bounds import CEILING, FLOOR, Unit, shift, whole
from retrieval.temporal.words import fold

ZONES = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
    lambda offset: timezone(timedelta(minutes=offset // timedelta(minutes=1)))
)
TIMES = st.datetimes(timezones=st.none() | ZONES)
VOCABULARY = """
in on since before after until by between and to from the last this next past May march June 8 8th 31 29 February 2023
9999 0001 2023-05-08 12/31/9999 week weeks month months year years decade ago today yesterday tomorrow Monday wed
summer winter Q3 early late end of beginning first second half 90s 999999999 a few couple , ? - ſunday İn ın K １２ May’s
"""
WORDS = st.sampled_from(VOCABULARY.split())
QUERIES = st.text(max_size=200) | st.lists(WORDS, max_size=20).map(" ".join)


@example("since Monday before May", datetime(2000, 1, 1))  # noqa: DTZ001 - naive on purpose
@given(QUERIES, st.none() | TIMES)
def test_any_text_at_any_time_is_read(query: str, now: datetime | None) -> None:
    report = read_times(query, now)
    assert len(report.intervals) <= MAX_INTERVALS
    for found in report.intervals:
        assert found.start.astimezone(UTC) < found.end.astimezone(UTC)
        assert found.phrase == query[slice(*found.span)] != ""
        assert 0.0 <= temporal_boost(now, report.intervals, query_time=now, recency=RecencyPrior()) <= 1.0
    spans = [found.span for found in report.intervals]
    assert spans == sorted(spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    if now is not None:
        assert report.unresolved == ()


@given(st.text())
def test_folding_keeps_every_character_in_its_place(text: str) -> None:
    assert len(fold(text)) == len(text)
    assert fold(fold(text)) == fold(text)


@given(st.datetimes(), st.sampled_from(Unit), st.integers(-(10**9), 10**9))
def test_shifting_stays_inside_the_calendar(moment: datetime, unit: Unit, count: int) -> None:
    moved = shift(moment.replace(tzinfo=UTC), unit, count)
    assert FLOOR <= moved <= CEILING


@given(st.datetimes(FLOOR.replace(tzinfo=None, year=20), CEILING.replace(tzinfo=None, year=9980)), st.sampled_from(Unit))
def test_whole_units_cover_their_moment(moment: datetime, unit: Unit) -> None:
    bounds = whole(moment.replace(tzinfo=UTC), unit)
    assert bounds.sound
    if unit is not Unit.WEEKEND:
        assert bounds.start <= moment.replace(tzinfo=UTC) < bounds.end


def _patterns(module: ModuleType) -> list[re.Pattern[str]]:
    own = [value for value in vars(module).values() if isinstance(value, re.Pattern)]
    joins = [p for value in vars(module).values() if isinstance(value, dict) for p in value.values()]
    rules = getattr(module, "RULES", ())
    return [*own, *(p for p in joins if isinstance(p, re.Pattern)), *(rule.pattern for rule in rules)]


@pytest.mark.parametrize("module", [absolute, relative, context, reading, recency], ids=lambda module: module.__name__)
def test_no_pattern_repeats_without_a_bound(module: ModuleType) -> None:
    """A scan costs a constant at each character, so no text can make it worse than linear."""
    patterns = _patterns(module)
    assert patterns
    for pattern in patterns:
        assert re.search(r"(?<!\\)[*+]|\{[0-9]+,\}", pattern.pattern) is None, pattern.pattern


@pytest.mark.parametrize("piece", [" ", "a ", "May ", "may 8 ", "2023-", "8", "the first week of ", "last ", "in 2023, "])
def test_a_hostile_query_is_read(piece: str) -> None:
    query = (piece * 20_000)[:20_000]
    assert len(read_times(query, datetime(2023, 5, 17, tzinfo=UTC)).intervals) <= MAX_INTERVALS


def test_intervals_compare_with_times_of_any_zone() -> None:
    now = datetime(2023, 5, 17, tzinfo=timezone(timedelta(hours=-23)))
    report = read_times("before 2020 and since 1990", now)
    assert [found.phrase for found in report.intervals] == ["before 2020", "since 1990"]
    for found in report.intervals:
        assert datetime.min.replace(tzinfo=UTC) < found.start < found.end < datetime.max.replace(tzinfo=UTC)
