"""Searching memories and knowledge bases together: each index answers for its own, and the lists are put together.

An arm's lists are merged by the arm's own score. Cosines of one model are comparable. BM25 scores of two collections are so
only roughly, as each has its own document frequencies; see docs/decisions.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from retrieval.candidates import Found
from retrieval.ports import ArmHit, DenseIndex, Embedder, Following, Item, ItemReader, LexicalIndex, Query, Turn, VectorSpace
from retrieval.scope import Scope

if TYPE_CHECKING:
    from retrieval.vectors import Vectors

T = TypeVar("T")

# Each takes a connection to the database, of which a process has ten or so, for all its tenants.
_AT_ONCE = 3

# Of a source with a cap, so many hits more than twice its cap are read.
_SPARE = 10


def parts(query: Query, apart: Collection[UUID] = ()) -> list[Query]:
    """The same in questions that one index can answer: spaces together, knowledge bases together, and each source of
    ``apart`` (ids of spaces and knowledge bases) for itself, so that none of these can crowd out another."""
    if not query.pins and (not apart or len(query.spaces) <= 1):
        return [query]
    memories = replace(query, pins=())
    chunks = replace(query, spaces=())
    found = [replace(memories, spaces=tuple(one for one in query.spaces if one not in apart))]
    found += [replace(memories, spaces=(one,)) for one in query.spaces if one in apart]
    found.append(replace(chunks, pins=tuple(one for one in query.pins if one.kb_id not in apart)))
    found += [replace(chunks, pins=(one,)) for one in query.pins if one.kb_id in apart]
    return [one for one in found if one.spaces or one.pins]


async def together(work: Sequence[Coroutine[object, object, T]]) -> list[T]:
    """What all of them answer, in order; a few run at once. When one fails, or the caller is cancelled, none goes on."""
    if len(work) == 1:
        return [await work[0]]
    left = iter(enumerate(work))
    answers: dict[int, T] = {}

    async def some() -> None:
        for place, one in left:
            answers[place] = await one

    tasks = [asyncio.ensure_future(some()) for _ in work[:_AT_ONCE]]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        for _, one in left:
            one.close()
    return [answers[place] for place in range(len(work))]


def merged(lists: Sequence[Found]) -> Found:
    """One list of one arm, by its score, each key once; nothing is cut off. ``part`` is the place in ``lists``."""
    if len(lists) == 1:
        return lists[0]
    best: dict[int, float] = {}
    pids: dict[int, int] = {}
    part: dict[int, int] = {}
    for number, one in enumerate(lists):
        for key, score in one.scored:
            if key not in best or score > best[key]:
                best[key], pids[key], part[key] = score, one.pids[key], number
    scored = sorted(best.items(), key=lambda pair: -pair[1])
    return Found(scored, pids, frozenset().union(*(one.own for one in lists)), part)


def worth_reading(keys: Sequence[int], lists: Iterable[Found], limits: Sequence[int | None], most: int) -> list[int]:
    """The places of the best ``keys`` to read, so that ``most`` can be shown where so many were found.

    ``limits`` are the caps of the parts (``None``: none). Of a part with a cap some more are read than may be shown, in case
    some are gone; they do not count, so that they take no other's place.
    """
    if all(limit is None for limit in limits):
        return list(range(min(most, len(keys))))
    part = {key: number for one in lists for key, number in one.part.items()}
    counts = [0] * len(limits)
    chosen: list[int] = []
    for place, key in enumerate(keys):
        number = part.get(key, 0)
        limit = limits[number]
        if limit is not None and counts[number] >= 2 * limit + _SPARE:
            continue
        counts[number] += 1
        chosen.append(place)
        most -= limit is None or counts[number] <= limit
        if most == 0:
            break
    return chosen


def limits(query: Query, caps: Mapping[UUID, int]) -> list[int | None]:
    """The cap of each part of ``parts(query, caps)``, where it is of one source and that has one."""
    found = ([*part.spaces, *(pin.kb_id for pin in part.pins)] for part in parts(query, caps))
    return [caps.get(ids[0]) if len(ids) == 1 else None for ids in found]


def capped(hits: Sequence[Item], caps: Mapping[UUID, int]) -> list[int]:
    """The places of the hits that stay, in order, when of each source (``space_id``) only the first so many do."""
    left = dict(caps)
    kept = []
    for place, hit in enumerate(hits):
        allowed = left.get(hit.space_id, 1)
        if allowed > 0:
            kept.append(place)
        if hit.space_id in left:
            left[hit.space_id] = allowed - 1
    return kept


def comparable(lists: Sequence[tuple[int, Found]]) -> list[Found]:
    """Lists of the dense arm, each with the number of its vector space, on one scale.

    Cosines of one model are comparable as they are. Where several models answer, each score is divided by the best of its model.
    """
    if len({number for number, _ in lists}) > 1:
        best: dict[int, float] = {}
        for number, found in lists:
            best[number] = max([best.get(number, 0.0), *(score for _, score in found.scored)])
        for number, found in lists:
            found.scored = [(key, score / best[number] if best[number] > 0 else score) for key, score in found.scored]
    return [found for _, found in lists]


def joined(lists: Sequence[Found]) -> Found:
    """As :func:`merged`, of what is one part (see :func:`parts`)."""
    one = merged(lists)
    return Found(one.scored, one.pids, one.own)


class OneSpace:
    """:class:`retrieval.ports.VectorSpaces` and :class:`retrieval.ports.Serving` where there is one model."""

    def __init__(self, embedder: Embedder, index: DenseIndex) -> None:
        self._space = VectorSpace(0, embedder, index)

    async def serving(self, scope: Scope) -> OneSpace:
        """Itself."""
        return self

    async def memories(self) -> VectorSpace:
        """The one."""
        return self._space

    async def of(self, query: Query) -> list[tuple[VectorSpace, Query]]:
        """The query as it is."""
        return [(self._space, query)]


class DenseIndexes:
    """:class:`retrieval.ports.DenseIndex` for a part (see :func:`parts`)."""

    def __init__(self, memories: DenseIndex, chunks: DenseIndex) -> None:
        self._memories = memories
        self._chunks = chunks

    async def search(self, scope: Scope, query: Query, vector: Vectors, *, limit: int) -> list[ArmHit]:
        """Best first."""
        index = self._chunks if query.pins else self._memories
        return await index.search(scope, query, vector, limit=limit)


class LexicalIndexes:
    """:class:`retrieval.ports.LexicalIndex` for a part."""

    def __init__(self, memories: LexicalIndex, chunks: LexicalIndex) -> None:
        self._memories = memories
        self._chunks = chunks

    async def search(self, scope: Scope, query: Query, text: str, *, limit: int) -> list[ArmHit]:
        """Best first."""
        index = self._chunks if query.pins else self._memories
        return await index.search(scope, query, text, limit=limit)


class ItemReaders:
    """:class:`retrieval.ports.ItemReader` for whole queries: a pid is either a passage or a chunk, so both are asked for all.

    Chunks have no neighbours: those of a document are found by themselves.
    """

    def __init__(self, memories: ItemReader, chunks: ItemReader) -> None:
        self._memories = memories
        self._chunks = chunks

    async def read(self, scope: Scope, query: Query, pids: Sequence[int]) -> dict[int, Item]:
        """Items by pid."""
        if not query.pins:
            return await self._memories.read(scope, query, pids)
        if not query.spaces:
            return await self._chunks.read(scope, query, pids)
        memories, chunks = await together([self._memories.read(scope, query, pids), self._chunks.read(scope, query, pids)])
        return memories | chunks

    async def following(self, scope: Scope, query: Query, pids: Sequence[int], *, turns: int) -> list[Following]:
        """The next turns of memories."""
        return await self._memories.following(scope, query, pids, turns=turns) if query.spaces else []

    async def preceding(self, scope: Scope, query: Query, pids: Sequence[int]) -> dict[int, Turn]:
        """The turns before memories."""
        return await self._memories.preceding(scope, query, pids) if query.spaces else {}
