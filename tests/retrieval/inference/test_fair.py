"""Turns between owners, by tokens."""

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
