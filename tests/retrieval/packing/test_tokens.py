"""Counters: exact, special tokens as ordinary text, names of models."""

import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from retrieval.errors import UnknownTokenizer
from retrieval.packing import HuggingFaceCounter, OpenAICounter, TokenizerRegistry, counter


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("o200k_base", "o200k_base"),
        ("cl100k_base", "cl100k_base"),
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("gpt-5.1-codex", "o200k_base"),
        ("o3", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("openai/o4-mini", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
    ],
)
def test_model_names_stand_for_their_encoding(name: str, encoding: str) -> None:
    assert TokenizerRegistry().counter(name).name == encoding


@pytest.mark.parametrize("name", ["", "gpt-2", "claude", "o33", "O200K", "gpt-40"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(UnknownTokenizer, match="known: o200k_base, cl100k_base"):
        TokenizerRegistry().counter(name)
    with pytest.raises(UnknownTokenizer):
        counter(name)


def test_known_counts() -> None:
    # From the published cookbook: "tiktoken is great!" is six tokens in both encodings.
    assert counter("o200k_base").count("tiktoken is great!") == 6
    assert counter("cl100k_base").count("tiktoken is great!") == 6
    assert counter("o200k_base").count("") == 0


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_special_tokens_are_ordinary_text(name: str) -> None:
    assert counter(name).count("<|endoftext|>") > 1


def test_a_lone_surrogate_is_counted_not_refused() -> None:
    assert counter("o200k_base").count("a \ud800 b") > 0


def test_texts_beyond_a_million_characters_count_as_their_parts() -> None:
    line = "one two three\n"
    o200k = OpenAICounter("o200k_base")
    assert o200k.count(line * 100_000) == 100_000 * o200k.count(line)


def test_a_registry_builds_each_counter_once_and_prefers_its_own(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    tokenizer = Tokenizer(models.WordLevel({"[CLS]": 0, "a": 1, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 0)])
    tokenizer.enable_truncation(4)
    tokenizer.save(str(path))
    registry = TokenizerRegistry([HuggingFaceCounter("own", path)])
    assert registry.counter("own").count("a b a b a b \ud800") == 7  # neither [CLS] nor the truncation counts
    assert registry.counter("gpt-4o") is registry.counter("o200k_base")
    assert registry.names() == ("o200k_base", "cl100k_base", "own")


def test_a_warm_registry_builds_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = TokenizerRegistry()
    registry.warm()
    monkeypatch.setattr(OpenAICounter, "__init__", None)
    assert registry.counter("gpt-4").count("tiktoken is great!") == registry.counter().count("tiktoken is great!") == 6


def test_the_encodings_are_imported_when_they_are_needed() -> None:
    code = "import sys, retrieval.packing; sys.exit('bpe_openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_tokenizer_file_is_an_unknown_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UnknownTokenizer):
        HuggingFaceCounter("own", tmp_path / "none.json")
    with pytest.raises(UnknownTokenizer):
        OpenAICounter("p50k_base")
