import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.inference.batches import BatchLimits, Throughput, Turns


@given(st.lists(st.integers(1, 600), min_size=1, max_size=60), st.integers(1, 20), st.integers(1, 2000))
def test_a_batch_is_the_longest_prefix_within_the_limits(costs: list[int], items: int, tokens: int) -> None:
    limits = BatchLimits(items, tokens)
    size = 0
    while size < len(costs) and limits.admit(size, sum(costs[: size + 1])):
        size += 1
    assert 1 <= size <= items
    assert size == 1 or sum(costs[:size]) <= tokens
    if size < min(items, len(costs)):
        assert sum(costs[: size + 1]) > tokens


def test_lanes_under_full_load_get_their_shares() -> None:
    turns = Turns((0, 1, 7))
    taken = [turns.next([True, True, True]) for _ in range(900)]
    assert taken.count(2) >= 100
    assert taken.count(1) >= 300
    assert taken.count(0) >= 300


def test_an_arriving_question_goes_first_but_bulk_never_starves() -> None:
    turns = Turns((0, 1, 7))
    assert [turns.next([False, False, True]) for _ in range(3)] == [2, 2, 2]
    assert turns.next([True, False, True]) == 0
    taken = [turns.next([True, False, True]) for _ in range(80)]
    assert taken.count(2) == 10
    assert turns.next([False, False, False]) is None


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=200))
def test_only_waiting_lanes_are_chosen_and_none_waits_too_long(history: list[tuple[bool, bool, bool]]) -> None:
    turns, waited = Turns((0, 1, 7)), [0, 0, 0]
    for waiting in history:
        lane = turns.next(waiting)
        assert (lane is None) == (not any(waiting))
        assert lane is None or waiting[lane]
        waited = [waited[i] + 1 if waiting[i] and i != lane else 0 for i in range(3)]
        assert waited[0] <= 2
        assert waited[1] <= 2
        assert waited[2] <= 9


def test_throughput_follows_what_is_measured() -> None:
    throughput = Throughput()
    assert throughput.seconds(1000) == 0.0
    throughput.add(1000, 1.0)
    assert throughput.tokens_per_s == 1000
    for _ in range(60):
        throughput.add(500, 1.0)
    assert 499 < throughput.tokens_per_s < 501
    assert 1.9 < throughput.seconds(1000) < 2.1


def test_short_runs_do_not_tell_how_long_a_load_takes() -> None:
    throughput = Throughput()
    assert throughput.least_seconds(1_000) == 0.0
    throughput.add(500, 0.05, full=True)
    for _ in range(60):
        throughput.add(8, 0.008)
    assert throughput.tokens_per_s < 1_100
    assert throughput.least_seconds(1_000) == pytest.approx(0.1)
