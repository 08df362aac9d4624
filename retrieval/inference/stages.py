"""A model's work in two steps, so that the next batch is made ready while one runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.inference.backends import EmbedderBackend, RerankerBackend, StagedEmbedder, StagedReranker
from retrieval.inference.tokenizer import Encoding, estimated_tokens

Results = NDArray[np.float32]
Pair = tuple[str, str]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
R = TypeVar("R")


class Stages(Protocol[T_contra, R]):
    """What a lane needs of a model. Rows have lengths: the tokens that they cost."""

    @property
    def padded(self) -> bool:
        """True when a run computes longest × count tokens, False when it computes their sum."""

    def encode(self, items: Sequence[T_contra]) -> Sequence[R]:
        """A row an item. Called by any thread."""

    def length(self, row: R) -> int:
        """Tokens of a row."""

    def prepare(self, rows: Sequence[R]) -> Callable[[], Results]:
        """The run of these rows, with everything done that needs no model; calling it runs them. Called by any thread,
        and what it gives by the compute thread. Both raise ``MemoryError`` when there is too little memory for so many."""


class EmbedderStages:
    """Tokenised rows of a backend that takes them."""

    def __init__(self, backend: StagedEmbedder) -> None:
        self.padded = backend.padded
        self.encode = backend.encode
        self.prepare = backend.prepare

    def length(self, row: Encoding) -> int:
        """With special tokens."""
        return len(row)


class RerankerStages:
    """Tokenised pairs of a backend that takes them."""

    def __init__(self, backend: StagedReranker) -> None:
        self.padded = backend.padded
        self.encode = backend.encode
        self._backend = backend

    def length(self, row: Encoding) -> int:
        """With special tokens."""
        return len(row)

    def prepare(self, rows: Sequence[Encoding]) -> Callable[[], Results]:
        """Scores as an array of shape ``(len(rows),)``."""
        run = self._backend.prepare(rows)
        return lambda: np.asarray(run(), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Whole(Generic[T]):
    """An item that its backend tokenises by itself, and its estimated tokens."""

    item: T
    tokens: int


class WholeStages(Generic[T]):
    """A backend that does everything in its run: nothing to make ready but the list."""

    padded = False

    def __init__(self, run: Callable[[Sequence[T]], Results], estimate: Callable[[T], int]) -> None:
        self._run = run
        self._estimate = estimate

    def encode(self, items: Sequence[T]) -> list[Whole[T]]:
        """The items themselves."""
        return [Whole(item, self._estimate(item)) for item in items]

    def length(self, row: Whole[T]) -> int:
        """As estimated."""
        return row.tokens

    def prepare(self, rows: Sequence[Whole[T]]) -> Callable[[], Results]:
        """The backend's own call."""
        items = [row.item for row in rows]
        return lambda: self._run(items)


def whole_texts(backend: EmbedderBackend) -> WholeStages[str]:
    """Of a backend that has no stages."""
    most = backend.card.max_tokens
    return WholeStages(backend.embed, lambda text: estimated_tokens(text, most))


def whole_pairs(backend: RerankerBackend) -> WholeStages[Pair]:
    """Of a backend that has no stages."""
    most = backend.max_pair_tokens
    return WholeStages(lambda pairs: np.asarray(backend.score(pairs), dtype=np.float32), lambda pair: pair_tokens(*pair, most))


def pair_tokens(query: str, passage: str, most: int) -> int:
    """Estimated tokens of a pair, at most ``most``."""
    return min(estimated_tokens(query, most) + estimated_tokens(passage, most), most)
