"""Counts of texts made of blocks."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from retrieval.packing import TokenizerRegistry
from retrieval.packing.lines import Counts, LineCounter
from retrieval.packing.tokens import HuggingFaceCounter
from retrieval.ports import TokenCounter

REGISTRY = TokenizerRegistry()
# What the encodings' patterns tell apart: letters of either case, digits, marks, contractions, every kind of white space.
TRICKY = st.text(st.sampled_from("abAB19 \n\r\t\u00a0\u2028\u3000:;/[](){}<|>'’-_é\u0301日🙂漢"), max_size=40)
BLOCKS = st.builds(
    "{}{}".format, st.sampled_from(["user: ", "assistant:", "Z", "a'", "tool [x]:"]), st.one_of(TRICKY, st.text(max_size=30))
)


class Watched:
    """Counts as another does, and remembers what it was asked."""

    def __init__(self, counter: TokenCounter) -> None:
        self.counter = counter
        self.asked: list[str] = []

    @property
    def name(self) -> str:
        return self.counter.name

    def count(self, text: str) -> int:
        self.asked.append(text)
        return self.counter.count(text)


@settings(max_examples=400)
@given(blocks=st.lists(BLOCKS, max_size=8), name=st.sampled_from(["o200k_base", "cl100k_base"]))
def test_blocks_add_up_to_the_whole(blocks: list[str], name: str) -> None:
    counter = REGISTRY.counter(name)
    assert LineCounter(counter, Counts()).joined(blocks) == counter.count("\n".join(blocks))


@given(blocks=st.lists(st.text("ab \n.1", max_size=12), max_size=6))
def test_blocks_that_do_not_begin_with_a_letter_are_counted_as_a_whole(blocks: list[str]) -> None:
    counter = REGISTRY.counter("o200k_base")
    assert LineCounter(counter, Counts()).joined(blocks) == counter.count("\n".join(blocks))


def test_what_another_tokenizer_makes_of_line_feeds_is_not_guessed(tmp_path: Path) -> None:
    tokenizer = Tokenizer(WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "words.json"))
    counter = Watched(HuggingFaceCounter("words", tmp_path / "words.json"))
    assert LineCounter(counter, Counts()).joined(["a b", "b", "a"]) == 4
    assert counter.asked == ["a b\nb\na"]


def test_a_text_is_counted_once_by_each_tokenizer_and_the_oldest_are_forgotten() -> None:
    counts = Counts(most=2)
    one, other = Watched(REGISTRY.counter("o200k_base")), Watched(REGISTRY.counter("cl100k_base"))
    assert LineCounter(one, counts).count("hello") == LineCounter(one, counts).count("hello") == 1
    assert LineCounter(other, counts).count("hello") == 1
    assert (one.asked, other.asked) == (["hello"], ["hello"])
    LineCounter(one, counts).count("hello")
    LineCounter(one, counts).count("again")
    LineCounter(one, counts).count("hello")
    LineCounter(other, counts).count("hello")
    assert (one.asked, other.asked) == (["hello", "again"], ["hello", "hello"])


class Lengths:
    """A tokenizer whose tokens are characters."""

    name = "lengths"

    def count(self, text: str) -> int:
        return len(text)


@pytest.mark.parametrize("text", ["", "a", "lone \ud800 surrogate"])
def test_any_text_has_a_key(text: str) -> None:
    assert LineCounter(Lengths(), Counts()).count(text) == len(text)
