"""Items that a model refuses, and models that refuse whatever they are given."""

from collections.abc import Sequence
from uuid import uuid4

import pytest

from memoryd.generations.model import ItemKind, Mark
from memoryd.generations.ports import Unembedded
from memoryd.generations.refusals import Refusals
from retrieval.errors import InferenceError
from retrieval.vectors import Vectors
from tests.generations.tiny import Tiny

B = Tiny("b", 12)
AT = Mark(uuid4(), ItemKind.PASSAGES, 0)
ITEMS = [Unembedded(number, f"item {number}") for number in range(4)]


async def test_what_is_refused_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fussy(texts: Sequence[str], **_named: object) -> Vectors:
        if "item 2" in texts:
            raise InferenceError("not that")
        return B.vectors(texts)

    monkeypatch.setattr(B, "embed_passages", fussy)
    refusals = Refusals()
    taken, vectors = await refusals.embedded(B, AT, ITEMS)
    assert ([one.pid for one in taken], vectors.shape) == ([0, 1, 3], (3, 12))
    assert [refusals.has(AT, one) for one in ITEMS] == [False, False, True, False]
    assert "passage 2 of tenant" in (refusals.told or "")


async def test_what_was_told_before_holds_where_not_everything_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Refusals()

    async def fussy(texts: Sequence[str], **_named: object) -> Vectors:
        if "item 2" in texts:
            raise InferenceError("not that")
        return B.vectors(texts)

    monkeypatch.setattr(B, "embed_passages", fussy)
    await first.embedded(B, AT, ITEMS)
    for told in (first.told, None, "store_unavailable: the database cannot be reached"):
        later = Refusals()
        later.go_on(told)
        assert later.told == (told if told == first.told else None)
        assert not later


@pytest.mark.parametrize("good", [0, 1, 3])
async def test_a_model_that_refuses_everything_by_the_end_is_not_believed_of_any_item(
    monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    """A proxy before a server that is being restarted, say."""
    calls = 0

    async def tires(texts: Sequence[str], **_named: object) -> Vectors:
        nonlocal calls
        calls += 1
        if len(texts) > 1 or calls > good + 1:
            raise InferenceError("refused the request (400).")
        return B.vectors(texts)

    monkeypatch.setattr(B, "embed_passages", tires)
    refusals = Refusals()
    with pytest.raises(InferenceError, match="400"):
        await refusals.embedded(B, AT, ITEMS)
    assert not refusals
