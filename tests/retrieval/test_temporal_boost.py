"""What a time says for a candidate."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.temporal import Interval, Precision, RecencyPrior, find_intervals, temporal_boost

NOW = datetime(2023, 5, 17, tzinfo=UTC)
WEEK = Interval(NOW - timedelta(days=9), NOW - timedelta(days=2), "last week", (0, 9), Precision.WEEK)


def boost(
    happened: datetime | None, *intervals: Interval, now: datetime | None = NOW, recency: RecencyPrior | None = None
) -> float:
    return temporal_boost(happened, intervals, query_time=now, recency=recency)


def test_inside_is_one_and_the_end_is_outside() -> None:
    assert boost(WEEK.start, WEEK) == 1.0
    assert boost(WEEK.end - timedelta(microseconds=1), WEEK) == 1.0
    assert boost(WEEK.end, WEEK) == pytest.approx(0.9), "a step: just outside never ties with inside"
    assert boost(WEEK.start - timedelta(microseconds=1), WEEK) <= 0.9


def test_outside_it_decays_by_the_length_of_the_interval() -> None:
    assert boost(WEEK.end + timedelta(days=7), WEEK) == pytest.approx(0.9 * math.exp(-1))
    assert boost(WEEK.start - timedelta(days=14), WEEK) == pytest.approx(0.9 * math.exp(-2))
    [year] = find_intervals("in 2020", None)
    assert boost(datetime(2021, 1, 8, tzinfo=UTC), year) > boost(WEEK.end + timedelta(days=7), WEEK)


def test_an_open_interval_decays_in_a_month() -> None:
    [before] = find_intervals("before 2020", None)
    assert boost(datetime(1066, 10, 14, tzinfo=UTC), before) == 1.0
    assert boost(datetime(2020, 1, 31, tzinfo=UTC), before) == pytest.approx(0.9 * math.exp(-1))


def test_the_best_interval_counts() -> None:
    [year] = find_intervals("in 2020", None)
    assert boost(datetime(2020, 6, 1, tzinfo=UTC), WEEK, year) == 1.0


def test_an_unknown_time_or_no_interval_gives_nothing() -> None:
    assert boost(None, WEEK, recency=RecencyPrior()) == 0.0
    assert boost(NOW) == 0.0


def test_recency_halves_and_needs_a_query_time() -> None:
    prior = RecencyPrior(half_life=timedelta(days=10), strength=0.4)
    assert boost(NOW, recency=prior) == pytest.approx(0.4)
    assert boost(NOW - timedelta(days=20), recency=prior) == pytest.approx(0.1)
    assert boost(NOW + timedelta(days=20), recency=prior) == pytest.approx(0.4)
    assert boost(NOW, now=None, recency=prior) == 0.0


def test_an_interval_silences_the_prior() -> None:
    assert boost(NOW, WEEK, recency=RecencyPrior()) == boost(NOW, WEEK)


def test_naive_times_are_utc() -> None:
    assert boost(WEEK.start.replace(tzinfo=None), WEEK) == 1.0


@pytest.mark.parametrize(("half_life", "strength"), [(timedelta(0), 0.2), (timedelta(days=1), 1.5)])
def test_a_prior_must_make_sense(half_life: timedelta, strength: float) -> None:
    with pytest.raises(ValueError, match="must"):
        RecencyPrior(half_life=half_life, strength=strength)


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)), st.booleans())
def test_the_boost_is_bounded_and_falls_with_distance(happened: datetime, now: datetime, recent: bool) -> None:
    prior = RecencyPrior(half_life=timedelta(microseconds=1)) if recent else None
    for intervals in ([], [WEEK]):
        assert 0.0 <= temporal_boost(happened, intervals, query_time=now, recency=prior) <= 1.0
    further = happened + (timedelta(days=1) if happened >= WEEK.end else timedelta(0))
    assert boost(further, WEEK) <= boost(happened, WEEK)
