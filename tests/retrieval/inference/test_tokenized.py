import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.inference import ModelTokenizer
from retrieval.inference.registry import BGE_SMALL
from retrieval.tokens import Tokenized
from tests.support_models import ready_model_store

PATH = ready_model_store().locate(BGE_SMALL.name).tokenizer
texts = st.one_of(st.text(), st.lists(st.sampled_from(["lake", "[SEP]", "é", "\n", " ", "図", "a" * 150])).map("".join))


@given(texts, st.integers(3, 40))
def test_a_text_that_carries_its_tokens_is_read_as_without(text: str, window: int) -> None:
    for tokenizer in (ModelTokenizer(PATH, max_tokens=window), ModelTokenizer(PATH), ModelTokenizer(PATH, special=False)):
        carrying = Tokenized(text, ModelTokenizer(PATH).tokens(text).ids, tokenizer.vocabulary)
        elsewhere = Tokenized(text, [1, 2, 3], "another vocabulary")
        expected, *found = tokenizer.encode([text, carrying, elsewhere, text + carrying[:0]])
        for one in found:
            np.testing.assert_array_equal(one.ids, expected.ids)
            np.testing.assert_array_equal(one.segments, expected.segments)


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({}, True),
        ({"normalizer": None}, True),
        ({"pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}}, False),
        ({"normalizer": {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": "-"}}, False),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "_"}]}}, False),
        ({"added": {"lstrip": True}}, False),
        ({"added": {"rstrip": True}}, False),
        ({"added": {"content": "\n\n"}}, False),
    ],
)
def test_white_space_parts_a_text_where_nothing_reaches_over_it(
    tmp_path: Path, changed: dict[str, dict[str, object] | None], parts: bool
) -> None:
    told = json.loads(PATH.read_text())
    added = changed.pop("added", None) or {}
    told["added_tokens"][-1] |= added
    if "content" in added:
        told["model"]["vocab"][added["content"]] = told["added_tokens"][-1]["id"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(told | changed))
    assert ModelTokenizer(tmp_path / "tokenizer.json").parts_at_space is parts


def test_a_copy_carries_the_same() -> None:
    one = Tokenized("a lake", [1037, 2697], "v")
    copied = copy.deepcopy(one)
    assert (copied, copied.ids, copied.by) == (one, one.ids, one.by)
    assert type(one + "") is type(one[:]) is type(str(one)) is str


def test_carried_tokens_are_what_the_model_reads() -> None:
    tokenizer = ModelTokenizer(PATH)
    carrying = Tokenized("anything", tokenizer.tokens("a lake").ids, tokenizer.vocabulary)
    one, other, part = tokenizer.encode([carrying, "a lake", carrying + "!"])
    assert one.ids.tolist() == other.ids.tolist()
    assert part.ids.tolist() == tokenizer.encode(["anything!"])[0].ids.tolist()
