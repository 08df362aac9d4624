"""An embedder and a reranker that come from different places, as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import UUID

from retrieval.errors import InferenceUnavailable
from retrieval.ports import Embedder, Lane, ModelCard, Reranker
from retrieval.vectors import Vectors


class Inference(Protocol):
    """:class:`retrieval.ports.Embedder` and :class:`retrieval.ports.Reranker` in one: :class:`InferenceRuntime`, or several."""

    @property
    def card(self) -> ModelCard:
        """The embedder's."""

    @property
    def embeds(self) -> bool:
        """True when an embedding can be asked for with hope."""

    @property
    def reranks(self) -> bool:
        """True when a score can be asked for with hope, where there is a reranker."""

    async def embed_queries(self, texts: Sequence[str], *, owner: UUID | None = None) -> Vectors: ...
    async def embed_passages(self, texts: Sequence[str], *, lane: Lane = Lane.BULK, owner: UUID | None = None) -> Vectors: ...
    async def score(self, query: str, passages: Sequence[str], *, owner: UUID | None = None) -> Sequence[float]: ...
    def estimate_ms(self, query: str, passages: Sequence[str]) -> float: ...


class Composed:
    """Implements :class:`Inference` over its parts."""

    def __init__(
        self,
        embedder: Embedder,
        reranker: Reranker | None,
        *,
        embeds: Callable[[], bool],
        reranks: Callable[[], bool] | None = None,
    ) -> None:
        self._embedder = embedder
        self._reranker = reranker
        self._embeds = embeds
        self._reranks = reranks

    @property
    def card(self) -> ModelCard:
        """See :attr:`retrieval.ports.Embedder.card`."""
        return self._embedder.card

    @property
    def embeds(self) -> bool:
        """What the constructor was told to ask."""
        return self._embeds()

    @property
    def reranks(self) -> bool:
        """What the constructor was told to ask."""
        return self._reranks is None or self._reranks()

    async def embed_queries(self, texts: Sequence[str], *, owner: UUID | None = None) -> Vectors:
        """See :meth:`retrieval.ports.Embedder.embed_queries`."""
        return await self._embedder.embed_queries(texts, owner=owner)

    async def embed_passages(self, texts: Sequence[str], *, lane: Lane = Lane.BULK, owner: UUID | None = None) -> Vectors:
        """See :meth:`retrieval.ports.Embedder.embed_passages`."""
        return await self._embedder.embed_passages(texts, lane=lane, owner=owner)

    async def score(self, query: str, passages: Sequence[str], *, owner: UUID | None = None) -> Sequence[float]:
        """See :meth:`retrieval.ports.Reranker.score`."""
        if self._reranker is None:
            raise InferenceUnavailable("No reranker is configured.")
        return await self._reranker.score(query, passages, owner=owner)

    def estimate_ms(self, query: str, passages: Sequence[str]) -> float:
        """See :meth:`retrieval.ports.Reranker.estimate_ms`."""
        return 0.0 if self._reranker is None else self._reranker.estimate_ms(query, passages)
