"""The planner against its own promises, and against all batches where they can be counted."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from retrieval.inference.batches import BatchLimits
from retrieval.inference.planner import cut, padded_cost

LENGTHS = st.lists(st.integers(1, 512), max_size=40)
LIMITS = st.builds(BatchLimits, st.integers(1, 20), st.integers(1, 4096))


@given(LENGTHS, LIMITS)
def test_rows_of_their_own_length_go_in_their_order_while_they_fit(lengths: list[int], limits: BatchLimits) -> None:
    chosen = cut(lengths, limits, padded=False)
    assert chosen == list(range(len(chosen)))
    assert bool(chosen) == bool(lengths)
    assert len(chosen) <= limits.items
    assert len(chosen) <= 1 or sum(lengths[: len(chosen)]) <= limits.tokens
    if 0 < len(chosen) < min(limits.items, len(lengths)):
        assert sum(lengths[: len(chosen) + 1]) > limits.tokens


@given(LENGTHS, LIMITS)
def test_a_padded_batch_keeps_to_its_limits_and_has_the_first(lengths: list[int], limits: BatchLimits) -> None:
    chosen = cut(lengths, limits, padded=True)
    assert chosen == sorted(set(chosen))
    assert (0 in chosen) == bool(lengths)
    taken = [lengths[at] for at in chosen]
    assert len(taken) <= limits.items
    assert len(taken) <= 1 or padded_cost(taken) <= limits.tokens
    if taken:
        low, high = min(taken), max(taken)
        between = [at for at, length in enumerate(lengths) if low < length < high]
        assert set(between) <= set(chosen), "neighbours in length"
        short = [length for length in taken if 2 * length < high]
        assert sum(high - length for length in short) <= limits.tokens // 4, "short rows do not fill up a long batch for nothing"


@given(st.lists(st.integers(1, 512), min_size=1, max_size=40), st.integers(1, 20))
def test_of_one_length_the_earlier_go_first(lengths: list[int], items: int) -> None:
    chosen = cut(lengths, BatchLimits(items, 4096), padded=True)
    for at in chosen:
        assert all(earlier in chosen for earlier in range(at) if lengths[earlier] == lengths[at])


@given(LENGTHS, LIMITS, st.booleans())
def test_everything_is_run_in_the_end_and_the_first_at_once(lengths: list[int], limits: BatchLimits, padded: bool) -> None:
    left, runs = list(enumerate(lengths)), 0
    while left:
        chosen = cut([length for _, length in left], limits, padded=padded)
        assert 0 in chosen
        left = [one for at, one in enumerate(left) if at not in chosen]
        runs += 1
    assert runs <= len(lengths)


@given(st.lists(st.integers(1, 512), min_size=1, max_size=8, unique=True), st.integers(1, 8), st.integers(512, 2048))
def test_no_neighbourhood_of_the_first_is_more_useful(lengths: list[int], items: int, tokens: int) -> None:
    def share(taken: list[int]) -> float:
        return sum(taken) / (padded_cost(taken) + tokens // 4)

    best = share([lengths[at] for at in cut(lengths, BatchLimits(items, tokens), padded=True)])
    ranked = sorted(lengths)
    for begin, end in combinations(range(len(ranked) + 1), 2):
        taken = ranked[begin:end]
        fits = len(taken) <= items and padded_cost(taken) <= tokens
        if fits and lengths[0] in taken and (2 * taken[0] >= taken[-1]):
            assert share(taken) <= best + 1e-9 or _leaves_out(taken, ranked, begin, items, tokens)


def _leaves_out(taken: list[int], ranked: list[int], begin: int, items: int, tokens: int) -> bool:
    """True when the batch could have taken a shorter neighbour as well, which the rule prefers: it costs nothing more to plan."""
    return begin > 0 and len(taken) < items and (len(taken) + 1) * taken[-1] <= tokens and 2 * ranked[begin - 1] >= taken[-1]


def test_short_and_long_ones_do_not_pad_each_other() -> None:
    lengths = [10, 500, 12, 480, 11, 510, 9]
    limits = BatchLimits(16, 2048)
    chosen = cut(lengths, limits, padded=True)
    assert chosen == [0, 2, 4, 6]
    rest = [length for at, length in enumerate(lengths) if at not in chosen]
    assert cut(rest, limits, padded=True) == [0, 1, 2]
