"""What passes the gate, by figures alone."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryd.generations.gate import Figures, Judged, Neighbours, Unknown, ndcg, report
from memoryd.generations.ports import Counted, Report

WHOLE = Counted(UUID(int=1), 10, 10, "d1", "d1")
GOOD = Figures(
    counted=[WHOLE, replace(WHOLE, tenant_id=UUID(int=2), items=3, vectors=3)],
    cosines=[1.0, 0.9995],
    neighbours=[Neighbours(range(10), range(5, 15)), Neighbours([1], [1])],
    judged=[Judged(frozenset({"x"}), ["x"], ["x"])],
)


def _check(made: Report, name: str) -> Mapping[str, object]:
    checks = made["checks"]
    assert isinstance(checks, Mapping)
    found = checks[name]
    assert isinstance(found, Mapping)
    return found


def test_a_whole_generation_passes() -> None:
    made = report(GOOD)
    assert made["passed"] is True
    assert _check(made, "counts") == {"passed": True, "of": 13, "vectors": 13, "tenants_that_differ": 0}
    assert _check(made, "overlap")["share"] == 0.75
    assert _check(made, "ndcg") == {"passed": True, "of": 1, "old": 1.0, "new": 1.0, "threshold": 0.95}


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("counts", replace(GOOD, counted=[replace(WHOLE, vectors=9), replace(WHOLE, vectors=11)])),
        ("hashes", replace(GOOD, counted=[replace(WHOLE, vectors_digest="d2")])),
        ("self_match", replace(GOOD, cosines=[1.0] * 98 + [0.98, 0.2])),
        ("overlap", replace(GOOD, neighbours=[Neighbours(range(10), range(9, 19))])),
        ("ndcg", replace(GOOD, judged=[Judged(frozenset({"x"}), ["x"], ["y", "x"])])),
    ],
)
def test_each_check_fails_alone_and_fails_the_whole(name: str, figures: Figures) -> None:
    made = report(figures)
    assert made["passed"] is False
    checks = made["checks"]
    assert isinstance(checks, Mapping)
    assert {one: _check(made, one)["passed"] for one in checks} == {one: one != name for one in checks}


def test_questions_whose_answers_are_not_there_fail_the_gate() -> None:
    lost = replace(GOOD, judged=[], unknown=[Unknown(["typo", "gone"], whole=True)])
    for figures, asked, without in ((lost, 0, 1), (replace(lost, judged=GOOD.judged), 1, 1)):
        made = report(figures)
        assert made["passed"] is False
        check = _check(made, "ndcg")
        assert (check["passed"], check["of"], check["questions_without_an_answer"]) == (False, asked, without)
        assert (check["unknown_answers"], check["among_them"]) == (2, "typo, gone")
    some = report(replace(GOOD, unknown=[Unknown(["gone"], whole=False)]))
    assert some["passed"] is True, "the others were judged"
    assert _check(some, "ndcg")["among_them"] == "gone"


def test_nothing_to_look_at_passes_and_says_so() -> None:
    made = report(Figures([], [], [], []))
    assert made["passed"] is True
    checks = made["checks"]
    assert isinstance(checks, Mapping)
    assert {one: _check(made, one)["of"] for one in checks} == {"counts": 0, "hashes": 0, "self_match": 0, "overlap": 0}


def test_ndcg_is_that_of_the_textbook() -> None:
    assert ndcg(["a", "b", "c"], frozenset({"a"})) == 1.0
    assert ndcg(["b", "a"], frozenset({"a"})) == pytest.approx(0.6309, abs=1e-4)
    assert ndcg(["a", "b", "c"], frozenset({"a", "c"})) == pytest.approx((1 + 0.5) / (1 + 0.6309), abs=1e-4)
    assert ndcg(["a", "a", "c"], frozenset({"a", "c"})) == 1.0, "a name counts once"
    assert ndcg([], frozenset({"a"})) == ndcg(["a"], frozenset()) == 0.0


@given(found=st.lists(st.sampled_from("abcdefgh")), relevant=st.frozensets(st.sampled_from("abcdefgh")))
def test_ndcg_is_a_share(found: list[str], relevant: frozenset[str]) -> None:
    assert 0.0 <= ndcg(found, relevant) <= 1.0 + 1e-9
