"""Memories and knowledge bases in one search: which index is asked, how lists are merged, and what a cap leaves out."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.candidates import Found
from retrieval.filters import Filters
from retrieval.ports import ArmHit, Following, Item, PinnedSource, Query, Turn
from retrieval.scope import Action, Scope
from retrieval.sources import DenseIndexes, ItemReaders, LexicalIndexes, capped, limits, merged, parts, together, worth_reading
from retrieval.vectors import Vectors

SCOPE = Scope(UUID(int=1), "tests", frozenset(Action))
SPACES = tuple(UUID(int=n) for n in (11, 12, 13))
PINS = tuple(PinnedSource(UUID(int=n), 7) for n in (21, 22))
MEMORIES = Query(SPACES, Filters())
CHUNKS = Query((), Filters(), PINS)
BOTH = Query(SPACES, Filters(), PINS)


@dataclass
class Recorder:
    """An index and a reader that know everything they are asked for, and say what they were asked."""

    asked: list[str] = field(default_factory=list)

    async def search(self, scope: Scope, query: Query, words: object, *, limit: int) -> list[ArmHit]:
        self.asked.append("search")
        return []

    async def read(self, scope: Scope, query: Query, pids: Sequence[int]) -> dict[int, Item]:
        self.asked.append("read")
        return {}

    async def following(self, scope: Scope, query: Query, pids: Sequence[int], *, turns: int) -> list[Following]:
        self.asked.append("following")
        return []

    async def preceding(self, scope: Scope, query: Query, pids: Sequence[int]) -> dict[int, Turn]:
        self.asked.append("preceding")
        return {}


@pytest.mark.parametrize(
    ("query", "memories", "chunks"),
    [
        (MEMORIES, ["search", "search", "read", "following", "preceding"], []),
        (CHUNKS, [], ["search", "search", "read"]),
        (BOTH, ["search", "search", "read", "following", "preceding"], ["search", "search", "read"]),
    ],
)
async def test_an_index_is_asked_only_for_what_it_holds(query: Query, memories: list[str], chunks: list[str]) -> None:
    ours, theirs = Recorder(), Recorder()
    dense, lexical, items = DenseIndexes(ours, theirs), LexicalIndexes(ours, theirs), ItemReaders(ours, theirs)
    vector: Vectors = np.ones(2, dtype=np.float32)
    for part in parts(query):
        await dense.search(SCOPE, part, vector, limit=1)
        await lexical.search(SCOPE, part, "words", limit=1)
    await items.read(SCOPE, query, [1])
    await items.following(SCOPE, query, [1], turns=2)
    await items.preceding(SCOPE, query, [1])
    assert (ours.asked, theirs.asked) == (memories, chunks)


def test_a_recall_of_memories_is_one_part_and_the_same() -> None:
    assert parts(MEMORIES)[0] is MEMORIES
    assert parts(MEMORIES, {PINS[0].kb_id}) == [MEMORIES]


@given(st.sets(st.sampled_from([*SPACES, *(pin.kb_id for pin in PINS)])))
def test_every_source_is_in_one_part_and_those_apart_are_alone(apart: set[UUID]) -> None:
    found = parts(BOTH, apart)
    assert sorted(space for part in found for space in part.spaces) == sorted(SPACES)
    assert sorted(pin.kb_id for part in found for pin in part.pins) == sorted(pin.kb_id for pin in PINS)
    for part in found:
        assert bool(part.spaces) != bool(part.pins)
        ids = {*part.spaces, *(pin.kb_id for pin in part.pins)}
        assert not ids & apart or len(ids) == 1


def test_lists_are_merged_by_score() -> None:
    first = Found([(1, 0.9), (2, 0.5)], {1: 101, 2: 102}, frozenset({1}))
    second = Found([(3, 0.7), (2, 0.6)], {3: 103, 2: 202}, frozenset({2, 3}))
    found = merged([first, second])
    assert found.scored == [(1, 0.9), (3, 0.7), (2, 0.6)]
    assert found.pids == {1: 101, 2: 202, 3: 103}
    assert found.own == {1, 2, 3}
    assert merged([first]) is first


async def test_when_one_part_fails_the_others_are_given_up() -> None:
    ended = asyncio.Event()

    async def slow() -> int:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return 1

    async def broken() -> int:
        await asyncio.sleep(0)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await together([slow(), broken()])
    async with asyncio.timeout(5):
        await ended.wait()


async def test_work_is_answered_in_order() -> None:
    async def answer(value: int) -> int:
        await asyncio.sleep((3 - value) / 1000)
        return value

    assert await together([answer(1), answer(2), answer(3)]) == [1, 2, 3]
    assert await together([answer(1)]) == [1]


async def test_one_request_takes_a_few_connections_at_once_however_many_sources_it_has() -> None:
    running = most = 0

    async def read(value: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return value

    assert await together([read(value) for value in range(10)]) == list(range(10))
    assert most == 3


async def test_what_had_not_begun_when_one_failed_does_not_begin() -> None:
    begun: list[int] = []

    async def read(value: int) -> int:
        begun.append(value)
        await asyncio.sleep(0)
        raise ValueError(value)

    with pytest.raises(ValueError, match="0"):
        await together([read(value) for value in range(10)])
    assert begun == [0, 1, 2]


def test_no_more_is_read_than_can_be_shown() -> None:
    keys = list(range(200))
    assert worth_reading(keys, [], [None], 30) == list(range(30))
    # The even are of a part with a cap of 2, and come first; the odd are of one without.
    found = Found([], {}, frozenset(), {key: key % 2 for key in keys})
    order = sorted(keys, key=lambda key: (key % 2, key))
    chosen = [order[place] for place in worth_reading(order, [found], [2, None], 30)]
    assert chosen == [*range(0, 28, 2), *range(1, 57, 2)]
    assert worth_reading(order[:100], [found], [2, None], 30) == list(range(14))


def test_the_cap_of_a_part_is_that_of_its_one_source() -> None:
    assert limits(MEMORIES, {}) == [None]
    assert limits(Query(SPACES[:1], Filters()), {SPACES[0]: 3}) == [3]
    assert limits(BOTH, {SPACES[1]: 3, PINS[0].kb_id: 4}) == [None, 3, None, 4]


def item(source: int) -> Item:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    return Item(
        memory_id=UUID(int=1), revision=1, pid=1, span=(0, 1), space_id=UUID(int=source), external_id=None, kind="semantic",
        text="x", speaker=None, user_id=None, agent_id=None, session_id=None, event_time=None, occurred_at=moment, seq=1,
        recorded_at=moment, valid_from=None, valid_to=None, source_type="note", source_uri=None, confidence=1.0, topics=(),
        metadata={}, superseded_by=None,
    )  # fmt: skip


def test_a_cap_lets_the_best_of_a_source_stay() -> None:
    hits = [item(source) for source in (1, 1, 2, 1, 3, 2, 3)]
    assert capped(hits, {}) == [0, 1, 2, 3, 4, 5, 6]
    assert capped(hits, {UUID(int=1): 2, UUID(int=2): 1}) == [0, 1, 2, 4, 6]
