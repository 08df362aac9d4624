"""The models of one runtime with their lanes, as the compute thread makes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from retrieval.inference.backends import EmbedderBackend, RerankerBackend
from retrieval.inference.batches import BatchLimits, Throughput
from retrieval.inference.lanes import LaneQueue, Results
from retrieval.inference.tokenizer import estimated_tokens

Pair = tuple[str, str]

# Ordinary prose: about four characters a token, as the estimates have it.
_PROSE = "She said that the trip to the lake last summer was the best one they ever had together. "


class LoadedModels:
    """Backends, three lanes over them (questions, pairs, bulk) and their measured throughput.

    Loading blocks and ends with a warm-up: each model at its largest shape, for its memory, and at a common one,
    for its speed. ``costs`` in tokens are :func:`retrieval.inference.tokenizer.estimated_tokens` everywhere.
    """

    def __init__(
        self,
        load_embedder: Callable[[], EmbedderBackend],
        load_reranker: Callable[[], RerankerBackend] | None,
        limits: BatchLimits,
    ) -> None:
        self.embedder = load_embedder()
        try:
            self.reranker = load_reranker() if load_reranker is not None else None
        except BaseException:
            self.embedder.close()
            raise
        self.embedding = Throughput()
        self.reranking = Throughput()
        self.questions = LaneQueue[str](self.embedder.embed, limits=limits, throughput=self.embedding)
        self.pairs = LaneQueue[Pair](self._scores, limits=limits, throughput=self.reranking)
        self.bulk = LaneQueue[str](self.embedder.embed, limits=limits, throughput=self.embedding)
        self._warm_up(limits)

    def close(self) -> None:
        """Release the backends."""
        self.embedder.close()
        if self.reranker is not None:
            self.reranker.close()

    def _scores(self, pairs: Sequence[Pair]) -> Results:
        if self.reranker is None:
            raise RuntimeError("pairs were admitted without a reranker")
        return np.asarray(self.reranker.score(pairs), dtype=np.float32)

    def _warm_up(self, limits: BatchLimits) -> None:
        window = self.embedder.card.max_tokens
        self.embedder.embed(_full(window, limits))
        common = [_PROSE] * 8
        with _measured(self.embedding, [estimated_tokens(text, window) for text in common]):
            self.embedder.embed(common)
        if self.reranker is not None:
            window = self.reranker.max_pair_tokens
            self.reranker.score([("memory", text) for text in _full(window, limits)])
            with _measured(self.reranking, [pair_tokens(_PROSE, text, window) for text in common]):
                self.reranker.score([(_PROSE, text) for text in common])


def pair_tokens(query: str, passage: str, most: int) -> int:
    """Estimated tokens of a pair, at most ``most``."""
    return min(estimated_tokens(query, most) + estimated_tokens(passage, most), most)


def _full(window: int, limits: BatchLimits) -> list[str]:
    """As many texts of the window's length as one batch may hold."""
    text = _PROSE * (window // 16 + 1)
    return [text] * max(1, min(limits.items, limits.tokens // window))


@contextmanager
def _measured(throughput: Throughput, costs: Sequence[int]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    throughput.add(sum(costs), time.perf_counter() - started)
