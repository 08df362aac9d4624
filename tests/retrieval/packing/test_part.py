"""Parts of long texts: within the budget, whole words, and after each other the whole text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import BudgetTooSmall
from retrieval.packing import Candidate, Place, Rendition, counter, part

COUNT = counter("o200k_base")
WORDS = [f"word{n}" for n in range(3_000)]
TEXT = " ".join(WORDS)


def of(text: str) -> Candidate:
    return Candidate(id="m", text=text, score=1.0)


@given(st.text(min_size=1, max_size=3_000).filter(str.strip), st.integers(40, 200))
def test_part_after_part_is_the_whole(text: str, budget: int) -> None:
    at, seen = 0, ""
    while text[at:].strip():
        found = part(of(text), COUNT, budget_tokens=budget, place=Place(at, around=False))
        assert COUNT.count(found.text) == found.used_tokens <= budget
        ((start, end),) = found.items[0].spans
        assert not text[at:start].strip()
        assert end > at
        seen, at = seen + text[start:end], end
    assert "".join(seen.split()) == "".join(text.split())


@given(st.integers(0, len(TEXT)), st.integers(60, 2_000))
def test_a_part_is_around_its_place_and_ends_with_whole_words(at: int, budget: int) -> None:
    found = part(of(TEXT), COUNT, budget_tokens=budget, place=Place(at, around=True))
    assert found.used_tokens <= budget
    ((start, end),) = found.items[0].spans
    assert start - 1 <= at <= end + 1
    assert set(TEXT[start:end].split()) <= set(WORDS)
    assert found.used_tokens > budget * 0.6


def test_what_fits_is_whole_and_what_has_ended_is_nothing() -> None:
    for place in (None, Place(3, around=True)):
        (item,) = part(of("a short text"), COUNT, budget_tokens=100, place=place).items
        assert (item.rendition, item.spans) == (Rendition.FULL, ((0, 12),))
    (item,) = part(of("a short text"), COUNT, budget_tokens=100, place=Place(2, around=False)).items
    assert (item.rendition, item.spans) == (Rendition.EXCERPT, ((2, 12),))
    assert part(of("a short text"), COUNT, budget_tokens=100, place=Place(12, around=False)).items == ()
    with pytest.raises(BudgetTooSmall):
        part(of("a short text"), COUNT, budget_tokens=3)
