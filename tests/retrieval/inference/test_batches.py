from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.inference.batches import BatchLimits, Budget, Crowd, Pace, Throughput, Turns


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


def test_slow_runs_count_for_all_the_time_they_take() -> None:
    throughput = Throughput()
    for _ in range(60):
        throughput.add(1_000, 0.1)
        throughput.add(1_000, 1.0)
    assert throughput.tokens_per_s == pytest.approx(2_000 / 1.1, rel=0.1)


def test_short_runs_do_not_tell_how_long_a_load_takes() -> None:
    throughput = Throughput()
    assert throughput.least_seconds(1_000) == 0.0
    throughput.add(500, 0.05, full=True)
    for _ in range(60):
        throughput.add(8, 0.008)
    assert throughput.tokens_per_s < 1_100
    assert throughput.least_seconds(1_000) == pytest.approx(0.1)


def test_a_budget_is_halved_and_grows_again_by_steps() -> None:
    budget = Budget(1600)
    budget.shrink(1600)
    assert budget.tokens == 800
    budget.shrink(500)
    assert budget.tokens == 250
    for _ in range(64):
        budget.succeeded(10)  # too small to tell anything
    assert budget.tokens == 250
    grown = []
    for _ in range(64 * 20):
        budget.succeeded(budget.tokens)
        grown.append(budget.tokens)
    assert grown == sorted(grown)
    assert {after - before for before, after in pairwise(grown)} <= {0, 50, 100}
    assert budget.tokens == 1600


def test_a_budget_that_cannot_be_had_is_tried_ever_more_rarely() -> None:
    def runs_until_it_grows(budget: Budget) -> int:
        before, runs = budget.tokens, 0
        while budget.tokens == before:
            budget.succeeded(before)
            runs += 1
        return runs

    budget = Budget(1024)
    budget.shrink(1024)
    pauses = []
    for _ in range(4):
        pauses.append(runs_until_it_grows(budget))
        budget.shrink(budget.tokens)
    assert pauses == [32, 64, 128, 256]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5000)), max_size=100))
def test_a_budget_stays_between_one_and_its_most(history: list[tuple[bool, int]]) -> None:
    budget = Budget(4096)
    for failed, tokens in history:
        before = budget.tokens
        if failed:
            budget.shrink(tokens)
            assert budget.tokens == max(1, min(before, tokens) // 2)
        else:
            budget.succeeded(tokens)
            assert budget.tokens >= before
        assert 1 <= budget.tokens <= 4096


@pytest.mark.parametrize(("waiting", "most", "tokens"), [(0, 1024, 512), (1200, 1024, 600), (9000, 1024, 1024), (9000, 300, 300)])
def test_batches_are_larger_where_many_wait(waiting: int, most: int, tokens: int) -> None:
    assert Crowd(512).tokens(0.0, 0.0, waiting, most) == tokens


def test_batches_are_short_while_questions_come() -> None:
    pace = Pace(0.035, calm_s=2.0)
    assert pace.tokens(10.0, 10_000.0, 0, 512) == 512, "nobody has asked"
    pace.question(10.0)
    assert pace.tokens(10.1, 0.0, 0, 512) == 512, "nothing was measured"
    assert pace.tokens(10.1, 10_000.0, 0, 512) == 350
    assert pace.tokens(10.1, 100_000.0, 0, 512) == 512
    assert pace.tokens(10.1, 100.0, 0, 512) == 64
    assert pace.tokens(12.1, 10_000.0, 0, 512) == 512, "calm again"


def test_how_long_a_load_takes_alone_is_not_told_by_runs_beside_others() -> None:
    throughput = Throughput()
    throughput.add(500, 0.05, full=True)
    for _ in range(60):
        throughput.add(500, 2.0, full=True)
    assert throughput.seconds(1_000) == pytest.approx(4.0, rel=0.01)
    assert throughput.least_seconds(1_000) == pytest.approx(0.1)
