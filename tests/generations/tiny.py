"""Models of a few dimensions whose vectors a text determines, at once: for what is about generations and not about meaning."""

import hashlib
from collections.abc import Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from memoryd.generations.shelf import Opened
from retrieval.errors import InferenceUnavailable
from retrieval.ports import Lane, ModelCard
from retrieval.vectors import Vectors

_COMMON = 4.0


class Tiny:
    """:class:`retrieval.ports.Embedder`. A question has the vector of the passage that says the same."""

    def __init__(self, name: str, dimension: int) -> None:
        self.card = ModelCard(name, "1", dimension, 512, f"{name} asks: ", f"{name} says: ")
        self.closed = False

    async def embed_queries(self, texts: Sequence[str], *, owner: UUID | None = None) -> Vectors:
        return self.vectors(texts)

    async def embed_passages(self, texts: Sequence[str], *, lane: Lane = Lane.BULK, owner: UUID | None = None) -> Vectors:
        return self.vectors(texts)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of each text's own: mostly what all models say of it, and a little that is the model's."""
        made = np.array(
            [[*_COMMON * _normal(text, 4), *_normal(f"{self.card.name}\0{text}", self.card.dimension - 4)] for text in texts]
        )
        unit: Vectors = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
        return unit


def _normal(text: str, size: int) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    return np.random.default_rng(seed).normal(size=size)


class Shop:
    """Loads the models that it has (:data:`memoryd.generations.shelf.Load`); ``out`` are not to be had."""

    def __init__(self, *models: Tiny) -> None:
        self.models = {one.card.name: one for one in models}
        self.out: set[str] = set()
        self.loads: list[str] = []

    async def __call__(self, name: str) -> Opened:
        self.loads.append(name)
        if name in self.out or name not in self.models:
            raise InferenceUnavailable(f"no {name} today")
        model = self.models[name]

        async def close() -> None:
            model.closed = True

        model.closed = False
        return Opened(model, close)
