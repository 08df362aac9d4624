"""Metrics against examples that were worked out by hand."""

import math

import pytest

from evals import metrics
from evals.datasets import Query

RELEVANT = {"q1": frozenset({"a", "b"}), "q2": frozenset({"c"}), "q3": frozenset({"d"})}


def test_each_measure_of_one_query_by_hand() -> None:
    values = metrics.per_query(RELEVANT, {"q1": ["x", "a", "y", "z", "w", "v", "b"]})["q1"]
    ideal = 1 / math.log2(2) + 1 / math.log2(3)
    assert values["ndcg@10"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(8)) / ideal)
    assert values["mrr@10"] == pytest.approx(1 / 2)
    assert (values["recall@5"], values["recall@10"]) == (0.5, 1.0)
    assert (values["any@5"], values["any@10"]) == (1.0, 1.0)
    assert (values["all@5"], values["all@10"]) == (0.0, 1.0)


def test_nothing_found_counts_as_zero_and_is_not_left_out() -> None:
    values = metrics.per_query(RELEVANT, {"q2": ["c"], "q3": []})
    assert set(values) == {"q2", "q3"}
    assert set(values["q3"].values()) == {0.0}
    assert metrics.mean(values.values())["recall@10"] == 0.5


def test_only_empty_rankings() -> None:
    assert metrics.mean(metrics.per_query(RELEVANT, {"q3": []}).values())["ndcg@10"] == 0.0


def test_the_order_of_the_answer_decides_not_the_ids() -> None:
    first = metrics.per_query(RELEVANT, {"q2": ["c", "z"]})["q2"]
    second = metrics.per_query(RELEVANT, {"q2": ["z", "c"]})["q2"]
    third = metrics.per_query(RELEVANT, {"q2": ["a", "c"]})["q2"]
    assert first["mrr@10"] == 1.0
    assert second["mrr@10"] == third["mrr@10"] == 0.5


def test_all_within_k_agrees_with_its_definition() -> None:
    relevant = {"q": frozenset("abc")}
    for ranking in (list("abcxyz"), list("xyabzc"), list("xxyyzz"), list("abxyzwuvtc")):
        ranking = list(dict.fromkeys(ranking))
        values = metrics.per_query(relevant, {"q": ranking})["q"]
        for depth in (5, 10):
            assert values[f"all@{depth}"] == float(relevant["q"] <= set(ranking[:depth]))
            assert values[f"any@{depth}"] == float(bool(relevant["q"] & set(ranking[:depth])))


def test_categories_follow_the_overall_mean() -> None:
    queries = [Query("q1", "?", "", "temporal"), Query("q2", "?", "", "multi_hop"), Query("q3", "?", "", "temporal")]
    values = metrics.per_query(RELEVANT, {"q1": ["a", "b"], "q2": ["c"], "q3": ["x"]})
    scores = metrics.by_category(values, queries)
    assert [(score.category, score.queries) for score in scores] == [("all", 3), ("multi_hop", 1), ("temporal", 2)]
    assert scores[0].means["recall@10"] == pytest.approx(2 / 3)
    assert scores[2].means["recall@10"] == pytest.approx(1 / 2)


def test_a_deeper_ranking_shows_in_the_curve() -> None:
    ranking = [f"x{number}" for number in range(15)] + ["c"]
    values = metrics.curve(RELEVANT, {"q2": ranking})
    assert [values[name] for name in metrics.CURVE_NAMES] == [0.0, 0.0, 1.0, 1.0, 1.0]
