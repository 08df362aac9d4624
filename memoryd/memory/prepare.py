"""From a content to passages ready for the index: split, situate, analyse, embed."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol
from uuid import UUID

import numpy as np

from memoryd.memory.model import Content, Passage
from retrieval.analysis import Analyzer
from retrieval.filters import JsonValue
from retrieval.passages import Splitter
from retrieval.ports import Embedder, Lane
from retrieval.situate import situated


class FacetTerms(Protocol):
    """How topics and metadata become posting lists: the store's own business, handed in by the wiring."""

    def __call__(self, space: UUID, topics: Sequence[str], metadata: Mapping[str, JsonValue]) -> Sequence[int]: ...


# Somebody waits for a short write; anything longer is a load that must not delay other people's questions.
_INTERACTIVE_CHARACTERS = 8_000


def lane_for(texts: Sequence[str]) -> Lane:
    """Where these texts wait to be embedded."""
    return Lane.INTERACTIVE if sum(map(len, texts)) <= _INTERACTIVE_CHARACTERS else Lane.BULK


class Preparer:
    """Makes passages. Long texts become several; nothing is cut off."""

    def __init__(self, embedder: Embedder, analyzer: Analyzer, splitter: Splitter, facet_terms: FacetTerms) -> None:
        self._embedder = embedder
        self._analyzer = analyzer
        self._splitter = splitter
        self._facet_terms = facet_terms

    def passages(self, space: UUID, content: Content) -> tuple[list[Passage], list[str]]:
        """Passages without vectors, and the texts to embed for them."""
        facets = tuple(self._facet_terms(space, content.topics, content.metadata))
        passages, texts = [], []
        for span in self._splitter.split(content.text):
            text = situated(content.text[span[0] : span[1]], content.speaker, content.event_time)
            tokens = self._analyzer.tokens(text)
            frequencies = Counter(Analyzer.term_id(space, token) for token in tokens)
            passages.append(Passage(span, len(tokens), frequencies, facets, None))
            texts.append(text)
        return passages, texts

    def _all(self, contents: Sequence[tuple[UUID, Content]]) -> list[tuple[list[Passage], list[str]]]:
        return [self.passages(space, content) for space, content in contents]

    async def embedded(self, contents: Sequence[tuple[UUID, Content]], *, lane: Lane) -> list[tuple[Passage, ...]]:
        """Passages with vectors, content by content; all texts go to the embedder in one call."""
        # Splitting and analysing a megabyte takes about a second: not on the event loop.
        prepared = await asyncio.to_thread(self._all, contents)
        texts = [text for _, found in prepared for text in found]
        vectors = iter(await self._embedder.embed_passages(texts, lane=lane)) if texts else iter(())
        return [tuple(replace(passage, vector=np.asarray(next(vectors))) for passage in passages) for passages, _ in prepared]
