"""From a content to passages ready for the index: split, situate, analyse, embed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar
from uuid import UUID

import numpy as np

from memoryd.generations.ports import WriteEmbedders
from memoryd.memory.model import Content, Passage
from memoryd.threads import BULK, QUICK
from retrieval.analysis import Analyzer
from retrieval.filters import JsonValue
from retrieval.passages import Span, Splitter
from retrieval.ports import Lane
from retrieval.situate import situated
from retrieval.vectors import Vectors

Given = TypeVar("Given")
Made = TypeVar("Made")


class FacetTerms(Protocol):
    """How topics and metadata become posting lists: the store's own business, handed in by the wiring."""

    def __call__(self, space: UUID, topics: Sequence[str], metadata: Mapping[str, JsonValue]) -> Sequence[int]: ...


# Somebody waits for a short write; anything longer is a load that must not delay other people's questions.
_INTERACTIVE_CHARACTERS = 8_000
# Splitting and analysing takes about 2 µs a character: more than this is done in a thread, not on the event loop.
_INLINE_CHARACTERS = 1_000
# A topic or a key of metadata is hashed, which takes as long as so many characters; so does whatever else a content needs.
_FACET_CHARACTERS = 2
_CONTENT_CHARACTERS = 20
# A load is worked on in slices of so many characters, some 0.2 s: loads take turns, and one that nobody waits for any more ends.
_SLICE_CHARACTERS = 100_000


def lane_for(texts: Sequence[str]) -> Lane:
    """Where these texts wait to be embedded."""
    return Lane.INTERACTIVE if sum(map(len, texts)) <= _INTERACTIVE_CHARACTERS else Lane.BULK


@dataclass(frozen=True, slots=True)
class Cut:
    """A content's passages as spans of its text, and as they are embedded and indexed."""

    spans: tuple[Span, ...]
    texts: tuple[str, ...]


class Preparer:
    """Makes passages. Long texts become several; nothing is cut off."""

    def __init__(self, embedders: WriteEmbedders, analyzer: Analyzer, splitter: Splitter, facet_terms: FacetTerms) -> None:
        self._embedders = embedders
        self._analyzer = analyzer
        self._splitter = splitter
        self._facet_terms = facet_terms

    async def passages(self, space: UUID, content: Content) -> tuple[Passage, ...]:
        """Without vectors: for a text whose embedding is known."""
        cuts = await self.cut([content])
        return (await self.analysed([(space, content, cuts[0])]))[0]

    async def embedded(self, space: UUID, content: Content, owner: UUID) -> tuple[Passage, ...]:
        """With vectors; ``owner`` is the tenant."""
        async with self.begun([content], owner) as batch:
            return (await batch.passages({0: space}))[0]

    @asynccontextmanager
    async def begun(self, contents: Sequence[Content], owner: UUID) -> AsyncIterator["Batch"]:
        """Contents of a tenant on their way to the index. Short ones are being embedded already, in vain if not asked for."""
        batch = Batch(self, contents, owner)
        try:
            if lane_for([content.text for content in contents]) is Lane.INTERACTIVE:
                await batch.start(range(len(contents)))
            yield batch
        finally:
            await batch.close()

    async def cut(self, contents: Sequence[Content]) -> list[Cut]:
        """Spans and texts of each."""
        return await _off_loop(self._cut, contents, [len(content.text) for content in contents])

    async def analysed(self, cuts: Sequence[tuple[UUID, Content, Cut]]) -> list[tuple[Passage, ...]]:
        """Postings and facets of each, without vectors."""
        return await _off_loop(self._analysed, cuts, [_size(content, cut) for _, content, cut in cuts])

    async def vectors(self, texts: Sequence[str], *, lane: Lane, owner: UUID) -> dict[int, Vectors]:
        """By generation, shape ``(len(texts), dimension)``; one call each, so that the embedder can sort them by length."""
        return await self._embedders.passages(texts, tenant_id=owner, kb_id=None, lane=lane)

    def renew(self) -> None:
        """There are other generations than was thought."""
        self._embedders.forget()

    def _cut(self, contents: Sequence[Content]) -> list[Cut]:
        cuts = []
        for content in contents:
            spans = tuple(self._splitter.split(content.text))
            texts = tuple(situated(content.text[start:end], content.speaker, content.event_time) for start, end in spans)
            cuts.append(Cut(spans, texts))
        return cuts

    def _analysed(self, cuts: Sequence[tuple[UUID, Content, Cut]]) -> list[tuple[Passage, ...]]:
        result = []
        for space, content, cut in cuts:
            facets = np.array(self._facet_terms(space, content.topics, content.metadata), dtype=np.int64)
            passages = []
            for span, text in zip(cut.spans, cut.texts, strict=True):
                one = self._analyzer.indexed(space, text)
                passages.append(Passage(span, one.length, one.terms, one.tfs, facets, {}))
            result.append(tuple(passages))
        return result


class Batch:
    """Some contents, cut and embedded as far as they were asked for. Made by :meth:`Preparer.begun`."""

    def __init__(self, preparer: Preparer, contents: Sequence[Content], owner: UUID) -> None:
        self._preparer = preparer
        self._contents = contents
        self._owner = owner
        self._cuts: dict[int, Cut] = {}
        self._vectors: dict[int, dict[int, Vectors]] = {}  # by content, then by generation
        self._embedding: asyncio.Task[None] | None = None

    async def start(self, numbers: Sequence[int]) -> None:
        """Begin to embed the contents of these numbers."""
        cuts = await self._preparer.cut([self._contents[number] for number in numbers])
        self._cuts |= zip(numbers, cuts, strict=True)
        lane = lane_for([self._contents[number].text for number in numbers])
        self._embedding = asyncio.create_task(self._embed(numbers, lane))

    async def renew(self) -> None:
        """Embed everything again, for the generations that there are now."""
        self._preparer.renew()
        await self.close()
        self._embedding = None
        self._cuts, self._vectors = {}, {}

    async def close(self) -> None:
        """Stop what nobody waits for any more."""
        if self._embedding is not None:
            self._embedding.cancel()
            await asyncio.wait([self._embedding])
            if not self._embedding.cancelled():
                self._embedding.exception()  # whoever waited was told

    async def passages(self, wanted: Mapping[int, UUID]) -> dict[int, tuple[Passage, ...]]:
        """Passages with vectors of the contents of these numbers, in these spaces. Raises ``InferenceError``."""
        missing = [number for number in wanted if number not in self._cuts]
        if missing:
            await self.start(missing)
        await asyncio.sleep(0)  # the embedder says at once what it will not take; what it refuses need not be analysed
        if wanted and self._embedding is not None and self._embedding.done():
            await self._embedding
        # The words of the texts are counted while they are being embedded.
        analysed = await self._preparer.analysed([(wanted[n], self._contents[n], self._cuts[n]) for n in wanted])
        if wanted and self._embedding is not None:
            await self._embedding
        return {
            number: tuple(
                replace(one, vectors={of: vectors[place] for of, vectors in self._vectors[number].items()})
                for place, one in enumerate(found)
            )
            for number, found in zip(wanted, analysed, strict=True)
        }

    async def _embed(self, numbers: Sequence[int], lane: Lane) -> None:
        texts = [text for number in numbers for text in self._cuts[number].texts]
        vectors = await self._preparer.vectors(texts, lane=lane, owner=self._owner)
        start = 0
        for number in numbers:
            end = start + len(self._cuts[number].texts)
            self._vectors[number] = {of: found[start:end] for of, found in vectors.items()}
            start = end


def _size(content: Content, cut: Cut) -> int:
    """How long analysing takes, in characters."""
    facets = len(content.topics) + len(content.metadata)
    return _CONTENT_CHARACTERS + sum(map(len, cut.texts)) + facets * _FACET_CHARACTERS


async def _off_loop(work: Callable[[Sequence[Given]], list[Made]], given: Sequence[Given], sizes: Sequence[int]) -> list[Made]:
    """In a thread, unless it takes less than the way there and back; what each of ``given`` becomes, ``sizes`` in characters."""
    whole = sum(sizes)
    if whole <= _INLINE_CHARACTERS:
        return work(given)
    if whole <= _INTERACTIVE_CHARACTERS:
        return await QUICK.run(work, given)
    made: list[Made] = []
    for part in _slices(given, sizes):
        made += await BULK.run(work, part)
    return made


def _slices(given: Sequence[Given], sizes: Sequence[int]) -> Iterator[Sequence[Given]]:
    """Runs of ``given`` of about a slice each; one that is larger is a run by itself."""
    start, held = 0, 0
    for number, size in enumerate(sizes):
        if held and held + size > _SLICE_CHARACTERS:
            yield given[start:number]
            start, held = number, 0
        held += size
    yield given[start:]
