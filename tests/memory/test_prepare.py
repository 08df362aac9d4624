"""How contents become passages: when they are embedded, in which lane, for whom."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import numpy as np
import pytest

from memoryd.memory.model import Content
from memoryd.memory.prepare import Cut, Preparer, lane_for
from retrieval.analysis import Analyzer
from retrieval.errors import BatchTooLarge, InferenceUnavailable
from retrieval.filters import JsonValue
from retrieval.passages import Splitter
from retrieval.ports import Lane, ModelCard
from retrieval.vectors import Vectors
from tests.memory.test_identity import THANKS
from tests.one_model import one_model

TENANT, SPACE = uuid4(), uuid4()


class _Words:
    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [(at, at + 1) for at, character in enumerate(text) if character == " "]


class _Embedder:
    """Remembers what it was asked, and answers when told to."""

    card = ModelCard("fake", "1", 2, 512)

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], Lane, UUID | None]] = []
        self.cancelled = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def embed_queries(self, texts: Sequence[str], *, owner: UUID | None = None) -> Vectors:
        raise NotImplementedError

    async def embed_passages(self, texts: Sequence[str], *, lane: Lane = Lane.BULK, owner: UUID | None = None) -> Vectors:
        self.asked.append((list(texts), lane, owner))
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


@pytest.fixture
def embedder() -> _Embedder:
    return _Embedder()


@pytest.fixture
def preparer(embedder: _Embedder) -> Preparer:
    return Preparer(one_model(embedder), Analyzer(), Splitter(_Words(), max_tokens=512), lambda space, topics, metadata: [7])


def test_short_writes_are_somebody_waiting_and_long_ones_a_load() -> None:
    assert lane_for(["one turn"]) is Lane.INTERACTIVE
    assert lane_for(["a short text"] * 20) is Lane.INTERACTIVE
    assert lane_for(["x" * 150_000]) is Lane.BULK
    assert lane_for(["a turn of some length, said twice"] * 400) is Lane.BULK


async def test_short_texts_are_embedded_while_the_caller_looks_up_what_is_new(preparer: Preparer, embedder: _Embedder) -> None:
    contents = [replace(THANKS, text=text, speaker=None) for text in ("one word word", "two")]
    async with preparer.begun(contents, TENANT) as batch:
        await asyncio.sleep(0)
        assert embedder.asked == [(["one word word", "two"], Lane.INTERACTIVE, TENANT)]
        embedder.go.set()
        made = await batch.passages({0: SPACE})
    (passage,) = made[0]
    assert (passage.length, passage.facets.tolist()) == (3, [7])
    assert sorted(passage.tfs.tolist()) == [1, 2]
    assert passage.terms.tolist() == sorted(Analyzer.term_id(SPACE, token) for token in {"one", "word"})
    assert {number: vector.tolist() for number, vector in passage.vectors.items()} == {1: [13, 1]}
    assert len(embedder.asked) == 1


async def test_what_is_known_already_is_not_waited_for(preparer: Preparer, embedder: _Embedder) -> None:
    async with preparer.begun([THANKS], TENANT) as batch:
        await asyncio.sleep(0)
        assert await batch.passages({}) == {}
    assert embedder.cancelled == 1


async def test_an_embedder_that_is_down_matters_only_to_what_is_new(preparer: Preparer, embedder: _Embedder) -> None:
    embedder.error = InferenceUnavailable("down")
    embedder.go.set()
    async with preparer.begun([THANKS], TENANT) as batch:
        await asyncio.sleep(0.01)
        assert await batch.passages({}) == {}
    with pytest.raises(InferenceUnavailable):
        await preparer.embedded(SPACE, THANKS, TENANT)


async def test_of_a_load_only_what_is_new_is_embedded_and_once(preparer: Preparer, embedder: _Embedder) -> None:
    contents = [replace(THANKS, text=f"text {number} " + "x" * 900, speaker=None) for number in range(20)]
    embedder.go.set()
    async with preparer.begun(contents, TENANT) as batch:
        assert embedder.asked == []
        first = await batch.passages({3: SPACE, 5: SPACE})
        assert list(first) == [3, 5]
        again = await batch.passages({3: SPACE, 4: SPACE})
        assert list(again) == [3, 4]
    assert [[text[:7].strip() for text in texts] for texts, *_ in embedder.asked] == [["text 3", "text 5"], ["text 4"]]


async def test_a_long_load_waits_in_the_bulk_lane(preparer: Preparer, embedder: _Embedder) -> None:
    embedder.go.set()
    passages = await preparer.embedded(SPACE, replace(THANKS, text="word " * 2_000, speaker=None), TENANT)
    assert [lane for _, lane, _ in embedder.asked] == [Lane.BULK]
    assert len(passages) > 1
    assert [set(passage.vectors) == {1} for passage in passages] == [True] * len(passages)


async def test_many_facets_are_hashed_off_the_event_loop(embedder: _Embedder) -> None:
    ran: list[bool] = []

    def facets(space: UUID, topics: Sequence[str], metadata: Mapping[str, JsonValue]) -> list[int]:
        ran.append(threading.current_thread() is threading.main_thread())
        return [7]

    preparer = Preparer(one_model(embedder), Analyzer(), Splitter(_Words(), max_tokens=512), facets)
    await preparer.passages(SPACE, replace(THANKS, text="x", metadata={"one": 1}, topics=("y",)))
    await preparer.passages(SPACE, replace(THANKS, text="x", metadata={f"k{n}": n for n in range(1_500)}))
    assert ran == [True, False]


async def test_a_load_is_worked_on_in_slices(preparer: Preparer, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    one_slice = Preparer._cut

    def seen(self: Preparer, contents: Sequence[Content]) -> list[Cut]:
        sizes.append(sum(len(content.text) for content in contents))
        return one_slice(self, contents)

    monkeypatch.setattr(Preparer, "_cut", seen)
    texts = ["word " * 4_000] * 12 + ["word " * 30_000, "word"]
    cuts = await preparer.cut([replace(THANKS, text=text) for text in texts])
    assert sizes == [100_000, 100_000, 40_000, 150_000, 4]
    assert [cut.spans[-1][1] for cut in cuts] == [len(text) for text in texts]


async def test_what_the_embedder_refuses_is_not_analysed(
    preparer: Preparer, embedder: _Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysed: list[object] = []

    def seen(self: Preparer, cuts: Sequence[object]) -> list[object]:
        analysed.append(cuts)
        return []

    monkeypatch.setattr(Preparer, "_analysed", seen)
    embedder.error = BatchTooLarge("split it")
    embedder.go.set()
    with pytest.raises(BatchTooLarge):
        await preparer.embedded(SPACE, replace(THANKS, text="word " * 30_000), TENANT)
    assert analysed == []
