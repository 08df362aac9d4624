"""Vectors of questions that were asked before."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from uuid import UUID

import numpy as np

from retrieval.inference.wire import from_bytes, to_bytes
from retrieval.ports import Embedder, Lane, ModelCard
from retrieval.vectors import Vectors

_WRITES: Final = 64
"""Writes to the cache that may be under way; what comes on top is not kept."""


class VectorCache(Protocol):
    """Bytes by key, apart for each owner. It forgets when it likes, and never raises: what it cannot do it has not got."""

    async def get(self, owner: UUID, keys: Sequence[str]) -> Sequence[bytes | None]:
        """One for each key."""

    async def put(self, owner: UUID, found: Mapping[str, bytes]) -> None:
        """Keep these for a while."""


class Writes:
    """Writes to a cache that nobody waits for, be it of many embedders."""

    def __init__(self, cache: VectorCache) -> None:
        self._cache = cache
        self._writing: set[asyncio.Task[None]] = set()

    def put(self, owner: UUID, found: Mapping[str, bytes]) -> None:
        """Keep these, unless too many writes are under way."""
        if len(self._writing) >= _WRITES:
            return
        task = asyncio.create_task(self._cache.put(owner, found))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def close(self) -> None:
        """Let the last writes end."""
        await asyncio.gather(*self._writing)


class CachedEmbedder:
    """An embedder whose questions are looked up first. Work without an owner is not: nobody could forget it."""

    def __init__(self, embedder: Embedder, cache: VectorCache, writes: Writes) -> None:
        """``writes``: to the same cache."""
        self._embedder = embedder
        self._cache = cache
        self._writes = writes

    @property
    def card(self) -> ModelCard:
        """See :attr:`retrieval.ports.Embedder.card`."""
        return self._embedder.card

    async def embed_queries(self, texts: Sequence[str], *, owner: UUID | None = None) -> Vectors:
        """See :meth:`retrieval.ports.Embedder.embed_queries`."""
        if owner is None or not texts:
            return await self._embedder.embed_queries(texts, owner=owner)
        card = self._embedder.card
        keys = [cache_key(card, text) for text in texts]
        known = [_vector(body, card) for body in await self._cache.get(owner, keys)]
        missing = [place for place, vector in enumerate(known) if vector is None]
        if missing:
            made = await self._embedder.embed_queries([texts[place] for place in missing], owner=owner)
            for place, vector in zip(missing, made, strict=True):
                known[place] = vector
            self._writes.put(owner, {keys[place]: to_bytes(vector) for place, vector in zip(missing, made, strict=True)})
        return np.stack([vector for vector in known if vector is not None])

    async def embed_passages(self, texts: Sequence[str], *, lane: Lane = Lane.BULK, owner: UUID | None = None) -> Vectors:
        """See :meth:`retrieval.ports.Embedder.embed_passages`. Passages are seldom embedded twice: they are not kept."""
        return await self._embedder.embed_passages(texts, lane=lane, owner=owner)


def cache_key(card: ModelCard, text: str) -> str:
    """A digest of everything that decides a question's vector: model, revision, size, prefix and text."""
    parts = (card.name, card.revision, str(card.dimension), str(card.max_tokens), "query", card.query_prefix, text)
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def _vector(body: bytes | None, card: ModelCard) -> Vectors | None:
    """What was kept, unless it is cut off or of another size."""
    if body is None or len(body) != 4 * card.dimension:
        return None
    vector: Vectors = from_bytes(body, f"1,{card.dimension}")[0]
    return vector
