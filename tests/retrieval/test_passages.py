from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retrieval.inference import ModelTokenizer
from retrieval.inference.registry import BGE_SMALL
from retrieval.passages import Span, Splitter
from tests.support_models import ready_model_store

LIMIT = 48  # 64 - 16


@pytest.fixture(scope="module")
def tokenizer() -> ModelTokenizer:
    return ModelTokenizer(ready_model_store().locate(BGE_SMALL.name).tokenizer)


class Counting:
    """How much was tokenised."""

    def __init__(self, tokenizer: ModelTokenizer) -> None:
        self._tokenizer = tokenizer
        self.chars = 0

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        self.chars += len(text)
        return self._tokenizer.offsets(text)


def check(tokenizer: ModelTokenizer, text: str, spans: Sequence[Span], limit: int) -> None:
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    for (begin, end), (next_begin, next_end) in pairwise(spans):
        assert begin < next_begin <= end < next_end
    for begin, end in spans:
        assert len(tokenizer.offsets(text[begin:end])) <= limit
        assert end - begin <= 8 * limit


words = st.sampled_from(["lake", "antidisestablishmentarianism", "😀", "図書館", "한국어", "a" * 150, "é", "x1y2", "..."])
joints = st.sampled_from([" ", "", ". ", "\n", "\n\n", "。", "! ", "\t \u00a0"])
texts = st.lists(st.tuples(words, joints), max_size=300).map(lambda parts: "".join(a + b for a, b in parts))


@settings(max_examples=60, deadline=None)
@given(st.one_of(texts, st.text(max_size=600)))
@example("")
@example(" " * 5000)
@example("a" * 5000)
@example("😀" * 3000)
@example("." * 3000)
@example("ﷺ" * 200)
def test_passages_cover_the_text_and_each_fits(text: str) -> None:
    tokenizer = ModelTokenizer(ready_model_store().locate(BGE_SMALL.name).tokenizer)
    splitter = Splitter(tokenizer, max_tokens=64, reserve=16, overlap=8)
    spans = splitter.split(text)
    check(tokenizer, text, spans, LIMIT)
    assert splitter.split(text) == spans


@pytest.mark.parametrize("text", ["a" * 1_000_000, "She swam. " * 20_000, "한국어 " * 30_000], ids=["a", "prose", "hangul"])
def test_large_texts(tokenizer: ModelTokenizer, text: str) -> None:
    spans = Splitter(tokenizer, max_tokens=512).split(text)
    check(tokenizer, text, spans, 448)


def test_short_text_is_not_tokenised(tokenizer: ModelTokenizer) -> None:
    counting = Counting(tokenizer)
    splitter = Splitter(counting, max_tokens=512)
    for text in ("", "hello", "x" * 440, "それは何ですか" * 15):
        assert splitter.split(text) == [(0, len(text))]
    assert counting.chars == 0
    assert splitter.split("word " * 400) == [(0, 2000)]  # long enough to look, short enough to stay whole
    assert counting.chars == 2000


def test_cuts_fall_between_paragraphs_then_sentences_then_words(tokenizer: ModelTokenizer) -> None:
    splitter = Splitter(tokenizer, max_tokens=64, reserve=16, overlap=8)
    paragraphs = ("word " * 15 + "end.\n\n") * 6
    assert all(paragraphs[:end].endswith("end.\n\n") for _, end in splitter.split(paragraphs))
    sentences = "We went to the lake and swam there. " * 12
    assert all(sentences[:end].endswith("there. ") for _, end in splitter.split(sentences))
    assert all(begin == 0 or sentences[:begin].endswith((" ", ". ")) for begin, _ in splitter.split(sentences))
    spaced = "word " * 200
    assert all(spaced[:end].endswith(" ") for _, end in splitter.split(spaced))


def test_neighbours_overlap(tokenizer: ModelTokenizer) -> None:
    text = " ".join(f"word{n}" for n in range(400))
    spans = Splitter(tokenizer, max_tokens=64, reserve=16, overlap=8).split(text)
    for (_, end), (begin, _) in pairwise(spans):
        shared = len(tokenizer.offsets(text[begin:end]))
        assert 0 < shared <= 8
