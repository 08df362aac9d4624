"""Turns between owners, by tokens."""

from collections.abc import Sequence
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.inference.fair import FairQueue

A, B, C = (UUID(int=n) for n in range(1, 4))


def drained(queue: FairQueue[str]) -> list[str]:
    taken = []
    while queue.peek() is not None:
        taken.append(queue.pop())
    return taken


def test_a_burst_of_one_does_not_hold_up_the_other() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(100):
        queue.put(A, f"a{number}", 10)
    queue.put(B, "b0", 10)
    queue.put(B, "b1", 10)
    order = drained(queue)
    assert order.index("b0") <= 1
    assert order.index("b1") <= 3
    assert [one for one in order if one[0] == "a"] == [f"a{n}" for n in range(100)]


def test_shares_are_of_tokens_and_not_of_items() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(40):
        queue.put(A, f"a{number}", 10)
        queue.put(B, f"b{number}", 40)
    first = [queue.pop() for _ in range(40)]
    assert sum(one[0] == "a" for one in first) == pytest.approx(32, abs=1)


def test_who_asks_piece_by_piece_pays_as_well() -> None:
    """Owner A has always one entry of 100 tokens waiting, B many of 10: A gets no more than half of the tokens."""
    queue: FairQueue[str] = FairQueue()
    for number in range(200):
        queue.put(B, f"b{number}", 10)
    queue.put(A, "a", 100)
    given_out = {"a": 0, "b": 0}
    for _ in range(110):
        one = queue.pop()[0]
        given_out[one] += 100 if one == "a" else 10
        if one == "a":
            queue.put(A, "a", 100)
    assert given_out["a"] == pytest.approx(given_out["b"], abs=110)


def test_what_nobody_wants_is_thrown_away_for_nothing() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in ("a0", "a1"):
        queue.put(A, name, 1_000)
    queue.put(B, "b0", 10)
    queue.put(B, "b1", 10)
    assert queue.pop(charge=False) == "a0"
    assert drained(queue)[:2] in (["b0", "a1"], ["a1", "b0"])
    assert queue.peek() is None
    with pytest.raises(IndexError):
        queue.pop()


@given(st.lists(st.tuples(st.sampled_from([A, B, C, None]), st.integers(1, 500), st.booleans()), max_size=80))
def test_nothing_is_lost_or_reordered_within_an_owner(calls: list[tuple[UUID | None, int, bool]]) -> None:
    queue: FairQueue[tuple[UUID | None, int]] = FairQueue()
    taken: list[tuple[UUID | None, int]] = []
    for number, (owner, cost, take) in enumerate(calls):
        queue.put(owner, (owner, number), cost)
        if take:
            taken.append(queue.pop())
    while queue.peek() is not None:
        taken.append(queue.pop())
    assert len(taken) == len(calls)
    for owner in (A, B, C, None):
        assert [n for who, n in taken if who == owner] == [n for n, call in enumerate(calls) if call[0] == owner]


def test_a_window_shows_the_turns_and_leaves_what_is_not_taken() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(4):
        queue.put(A, f"a{number}", 10)
        queue.put(B, f"b{number}", 10)
    shown: list[list[str]] = []

    def none_of(window: Sequence[str]) -> list[int]:
        shown.append(list(window))
        return []

    assert queue.take(5, none_of) == []
    assert shown == [["a0", "b0", "a1", "b1", "a2"]]
    assert queue.take(5, none_of) == []
    assert shown[0] == shown[1], "looking changes nothing"
    assert queue.take(5, lambda window: [0, 2, 4]) == ["a0", "a1", "a2"]
    # A has had 30 tokens more than B, which is served first now.
    assert drained(queue) == ["b0", "b1", "b2", "a3", "b3"]


def test_what_is_not_wanted_is_not_shown_and_costs_nothing() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in ("a-gone", "a1", "a-gone", "a2"):
        queue.put(A, name, 100)
    queue.put(B, "b1", 10)
    taken = queue.take(2, lambda window: range(len(window)), wanted=lambda name: "gone" not in name)
    assert taken == ["a1", "b1"]
    assert len(queue) == 2, "one is gone, one was not looked at"
    assert queue.waiting(A) == 2
    assert queue.waiting(B) == 0


@given(
    st.lists(st.tuples(st.sampled_from([A, B, C, None]), st.integers(1, 500)), max_size=60),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_taking_from_windows_loses_nothing_and_is_as_fair(
    entries: list[tuple[UUID | None, int]], most: int, random: Random
) -> None:
    queue: FairQueue[tuple[UUID | None, int, int]] = FairQueue()
    for number, (owner, cost) in enumerate(entries):
        queue.put(owner, (owner, number, cost), cost)
    taken: list[tuple[UUID | None, int, int]] = []
    while len(queue):
        before = queue.peek()
        found = queue.take(most, lambda window: [at for at in range(len(window)) if at == 0 or random.random() < 0.5])
        assert before is not None
        assert found[0] == before[0], "the first always goes"
        taken += found
        # Of two owners that both still wait, neither has had more than a window's worth above the other.
        had = {owner: sum(cost for who, _, cost in taken if who == owner) for owner in (A, B, C, None) if queue.waiting(owner)}
        if had:
            assert max(had.values()) - min(had.values()) <= (most + 1) * 500
    assert sorted(number for _, number, _ in taken) == list(range(len(entries)))
