import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from retrieval.fusion import (
    RERANK_WEIGHT_QUESTION,
    RERANK_WEIGHT_STATEMENT,
    Fused,
    blend_rerank,
    convex_combination,
    mean_relevance,
    min_max,
    propagate_to_followers,
    reciprocal_rank_fusion,
    rerank_weight,
)

names = st.sampled_from(["dense", "lexical", "graph"])
keys = st.integers(0, 30)
rankings = st.dictionaries(names, st.lists(keys, unique=True, max_size=12), max_size=3)
scores = st.floats(-50, 50, allow_subnormal=False)
weights = st.none() | st.dictionaries(names, st.floats(0, 5, allow_subnormal=False))


def best_first(scored: dict[int, float]) -> list[tuple[int, float]]:
    return sorted(scored.items(), key=lambda item: -item[1])


scored_lists = st.dictionaries(keys, scores, max_size=12).map(best_first)
scored_rankings = st.dictionaries(names, scored_lists, max_size=3)


@given(rankings, weights)
def test_rrf_is_the_sum_of_reciprocal_ranks(lists: dict[str, list[int]], by: dict[str, float] | None) -> None:
    fused = reciprocal_rank_fusion(lists, weights=by)
    assert {item.key for item in fused} == {key for ranking in lists.values() for key in ranking}
    assert len({item.key for item in fused}) == len(fused)
    for item in fused:
        assert item.ranks == {n: r.index(item.key) + 1 for n, r in lists.items() if item.key in r}
        expected = sum((1.0 if by is None else by.get(n, 1.0)) / (60 + rank) for n, rank in item.ranks.items())
        assert item.score == pytest.approx(expected)
        assert math.fsum(item.parts.values()) == item.score
    assert all(one.score >= two.score for one, two in pairwise(fused))


@given(rankings, weights)
def test_rrf_scores_ignore_the_order_of_the_lists(lists: dict[str, list[int]], by: dict[str, float] | None) -> None:
    def scores_of(fused: list[Fused[int]]) -> dict[int, float]:
        return {item.key: item.score for item in fused}

    backwards = dict(reversed(lists.items()))
    assert scores_of(reciprocal_rank_fusion(lists, weights=by)) == scores_of(reciprocal_rank_fusion(backwards, weights=by))


@given(st.lists(keys, unique=True, max_size=12))
def test_one_list_keeps_its_order(ranking: list[int]) -> None:
    assert [item.key for item in reciprocal_rank_fusion({"dense": ranking})] == ranking


@given(st.lists(keys, unique=True, min_size=2, max_size=10), st.data())
def test_rrf_rewards_a_better_rank(ranking: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(ranking) - 1))
    other = data.draw(st.permutations(ranking))
    better = [*ranking[: at - 1], ranking[at], ranking[at - 1], *ranking[at + 1 :]]

    def score_of(first: list[int]) -> float:
        fused = reciprocal_rank_fusion({"a": first, "b": other})
        return next(item.score for item in fused if item.key == ranking[at])

    assert score_of(better) > score_of(ranking)


def test_rrf_by_hand() -> None:
    fused = reciprocal_rank_fusion({"dense": ["a", "b"], "lexical": ["b", "c"]})
    assert [item.key for item in fused] == ["b", "a", "c"]
    assert [item.score for item in fused] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62])


def test_ties_go_to_the_better_rank_then_to_the_earlier_list() -> None:
    tied = reciprocal_rank_fusion({"one": ["a", "b"], "two": ["c", "d"]})
    assert [item.key for item in tied] == ["a", "c", "b", "d"]
    assert [item.key for item in convex_combination({"x": [("a", 1.0), ("b", 1.0)]})] == ["a", "b"]


@given(scored_rankings, weights)
def test_convex_scores_lie_between_zero_and_one(lists: dict[str, list[tuple[int, float]]], by: dict[str, float] | None) -> None:
    fused = convex_combination(lists, weights=by)
    assert {item.key for item in fused} == {key for scored in lists.values() for key, _ in scored}
    assert all(-1e-12 <= item.score <= 1 + 1e-12 for item in fused)
    assert all(one.score >= two.score for one, two in pairwise(fused))


@given(scored_rankings, st.floats(0.1, 100), st.integers(-100, 100))
def test_convex_ignores_a_list_s_scale_and_offset(lists: dict[str, list[tuple[int, float]]], factor: float, offset: int) -> None:
    assume("lexical" in lists)
    spread = [score for _, score in lists["lexical"]]
    assume(not spread or max(spread) == min(spread) or max(spread) - min(spread) > 1e-3)
    moved = {**lists, "lexical": [(key, score * factor + offset) for key, score in lists["lexical"]]}
    one = {item.key: item.score for item in convex_combination(lists)}
    two = {item.key: item.score for item in convex_combination(moved)}
    assert one == pytest.approx(two, abs=1e-6)


def test_convex_by_hand_and_with_a_failed_arm() -> None:
    dense = [("a", 0.9), ("b", 0.8), ("c", 0.4)]
    lexical = [("b", 12.0), ("d", 2.0)]
    fused = convex_combination({"dense": dense, "lexical": lexical}, weights={"dense": 0.4, "lexical": 0.6})
    assert [item.key for item in fused] == ["b", "a", "d", "c"]
    assert [item.score for item in fused] == pytest.approx([0.4 * 0.8 + 0.6, 0.4, 0.0, 0.0])
    alone = convex_combination({"dense": dense, "lexical": []}, weights={"dense": 0.4, "lexical": 0.6})
    assert [item.score for item in alone] == pytest.approx([1.0, 0.8, 0.0])


def test_min_max_of_equal_scores_is_one() -> None:
    assert min_max([("a", 3.0), ("b", 3.0)]) == [("a", 1.0), ("b", 1.0)]
    assert min_max([]) == []


def test_a_list_names_a_key_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        reciprocal_rank_fusion({"dense": ["a", "a"]})


@given(scored_lists, st.lists(st.floats(0, 1), max_size=3), st.dictionaries(keys, st.lists(keys, max_size=3)))
def test_propagation_only_raises_and_never_past_the_best(
    scored: list[tuple[int, float]], decay: list[float], followers: dict[int, list[int]]
) -> None:
    before = dict(scored)
    after = dict(propagate_to_followers(scored, followers, decay=decay))
    assert set(before) <= set(after)
    assert all(after[key] >= score for key, score in before.items())
    if before:
        assert max(after.values()) <= max(0.0, *before.values(), max(before.values()))
    for key, score in after.items():
        assert key in before or score >= 0


def test_propagation_by_hand() -> None:
    scored = [("t1", 10.0), ("t9", 7.0), ("t2", 1.0), ("t5", -3.0)]
    followers = {"t1": ["t2", "t3", "t4"], "t9": ["t10"], "t5": ["t6"]}
    after = propagate_to_followers(scored, followers)
    assert [key for key, _ in after] == ["t1", "t2", "t9", "t3", "t10", "t5"]
    assert [score for _, score in after] == pytest.approx([10.0, 8.0, 7.0, 6.0, 5.6, -3.0])


@given(scored_rankings, st.floats(0, 1), st.data())
def test_blend_keeps_what_was_not_reranked_below(
    lists: dict[str, list[tuple[int, float]]], weight: float, data: st.DataObject
) -> None:
    fused = [(item.key, item.score) for item in convex_combination(lists)]
    depth = data.draw(st.integers(0, len(fused)))
    relevances = {key: data.draw(st.floats(0, 1)) for key, _ in fused[:depth]}
    blended = blend_rerank(fused, relevances, weight=weight)
    order = [key for key, _ in blended]
    assert sorted(order) == sorted(key for key, _ in fused)
    assert set(order[:depth]) == set(relevances)
    assert order[depth:] == [key for key, _ in fused[depth:]]
    assert all(one >= two for (_, one), (_, two) in pairwise(blended))


@given(scored_rankings)
def test_blend_without_weight_is_the_fused_order(lists: dict[str, list[tuple[int, float]]]) -> None:
    fused = [(item.key, item.score) for item in convex_combination(lists)]
    relevances = {key: 0.5 for key, _ in fused}
    assert blend_rerank(fused, relevances, weight=0.0) == fused
    assert [key for key, _ in blend_rerank(fused, {}, weight=0.6)] == [key for key, _ in fused]


def test_blend_by_hand() -> None:
    fused = [("a", 1.0), ("b", 0.8), ("c", 0.6), ("d", 0.1)]
    # Logits ln(.1/.9) = -2.197, 0 and 2.197: moved to 0, 1/2 and 1.
    blended = blend_rerank(fused, {"a": 0.1, "b": 0.5, "c": 0.9}, weight=0.6)
    assert [key for key, _ in blended] == ["c", "b", "a", "d"]
    assert [score for _, score in blended] == pytest.approx([0.84, 0.62, 0.4, 0.04])


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_blend_takes_saturated_relevances(certain: float) -> None:
    blended = blend_rerank([("a", 1.0), ("b", 0.5)], {"a": certain, "b": 1 - certain}, weight=0.5)
    assert all(math.isfinite(score) for _, score in blended)


@pytest.mark.parametrize(
    "query",
    ["When did Caroline go?", "where is the key", "In which city do I live", "  Did Jon call", "the key is where?"],
)
def test_questions_are_recognised(query: str) -> None:
    assert rerank_weight(query) == RERANK_WEIGHT_QUESTION


@pytest.mark.parametrize("query", ["", "Aspirin inhibits COX-1.", "Caroline's hobbies", "Whatsapp backup", "Indian food"])
def test_statements_weigh_the_cross_encoder_less(query: str) -> None:
    assert rerank_weight(query) == RERANK_WEIGHT_STATEMENT


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_mean_relevance_lies_between_its_readings(readings: list[float]) -> None:
    value = mean_relevance(readings)
    assert min(readings) - 1e-6 <= value <= max(readings) + 1e-6
    assert mean_relevance(readings[::-1]) == value
    assert mean_relevance(readings[:1]) == pytest.approx(readings[0], abs=1e-6)


def test_mean_relevance_is_the_mean_of_the_logits() -> None:
    assert mean_relevance([0.2, 0.8]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="at least one"):
        mean_relevance([])
