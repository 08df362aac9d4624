"""The naive fill, and what counts as shown."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.answers import AnswerWords
from evals.client import ContextAnswer, Shown
from evals.context import judge, shown_ids, verbatim
from evals.datasets import Document
from evals.loading import labelled
from evals.naive import SEPARATOR, Overflow, naive_fill
from retrieval.analysis import Analyzer
from retrieval.packing.tokens import counter

O200K = counter("o200k_base")


class Words:
    """Counts words, so that an example can be read."""

    name = "words"

    def count(self, text: str) -> int:
        return len(text.split())


def test_stop_ends_at_the_first_that_does_not_fit() -> None:
    texts = ["one two", "three four five six", "seven"]
    assert naive_fill(texts, 3, Words(), Overflow.STOP) == [0]
    assert naive_fill(texts, 3, Words(), Overflow.SKIP) == [0, 2]
    assert naive_fill(texts, 7, Words(), Overflow.STOP) == [0, 1, 2]
    assert naive_fill(texts, 1, Words(), Overflow.STOP) == []
    assert naive_fill([], 10, Words(), Overflow.SKIP) == []


@given(st.lists(st.text(min_size=1, max_size=60), max_size=12), st.integers(0, 60), st.sampled_from(Overflow))
def test_a_fill_is_within_the_budget_and_skipping_never_holds_less(texts: list[str], budget: int, overflow: Overflow) -> None:
    taken = naive_fill(texts, budget, O200K, overflow)
    assert O200K.count(SEPARATOR.join(texts[index] for index in taken)) <= budget
    assert taken == sorted(set(taken))
    stopped = naive_fill(texts, budget, O200K, Overflow.STOP)
    assert stopped == list(range(len(stopped)))
    assert set(stopped) <= set(naive_fill(texts, budget, O200K, Overflow.SKIP))


def test_pointers_show_nothing_and_merged_neighbours_count() -> None:
    answer = ContextAnswer(
        text="…",
        used_tokens=9,
        items=[
            Shown(id="a", rendition="full", tokens=3, merged=["b"]),
            Shown(id="c", rendition="gist", tokens=3),
            Shown(id="d", rendition="pointer", tokens=3),
        ],
    )
    assert shown_ids(answer) == ["a", "b", "c"]
    assert shown_ids(answer, whole=True) == ["a", "b"]


def test_verbatim_wants_every_word_in_order() -> None:
    evidence = {"whole": "We moved to Oslo, in May!", "cut": "We moved to Oslo. It rained a lot.", "part": "slo in"}
    context = "1 Maya: We moved to\nOslo — in May &\n2 Jonas: It rained a lot."
    assert verbatim(context, evidence) == {"whole"}


def test_the_share_of_an_answers_words() -> None:
    answers = AnswerWords(Analyzer())
    text = "# 8 May 2023\n1 Maya: We adopted two cats and a DOG, Café."
    assert answers.share("A dog and the cats", text) == 1.0
    assert answers.share("7 May 2023", text) == pytest.approx(2 / 3)
    assert answers.share("cafe", text) == 1.0
    assert answers.share("a parrot", text) == 0.0
    assert answers.share("no", text) is None


def test_what_a_labelled_fill_takes() -> None:
    at = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
    turn = Document("d", "[1:56 pm on 8 May, 2023] Maya: Hi!", "", "s", at, "Hi!", "Maya")
    assert labelled(turn) == "[8 May 2023] Maya: Hi!"
    assert labelled(Document("d", "A claim.", "", None, None)) == "A claim."


def test_any_and_all_evidence() -> None:
    seen = judge({"a", "b"}, {"b", "c"}, 12)
    assert (seen.any_evidence, seen.all_evidence, seen.share, seen.tokens) == (True, False, 0.5, 12)
    assert judge({"b", "c", "x"}, {"b", "c"}, 1).all_evidence
    assert not judge(set(), {"b"}, 0).any_evidence
