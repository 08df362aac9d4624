"""Sentence embeddings from an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retrieval.errors import InferenceError, InferenceUnavailable
from retrieval.inference.batches import BatchLimits
from retrieval.inference.model_files import ModelFiles
from retrieval.inference.onnx_session import OnnxSession, Output
from retrieval.inference.registry import Pooling
from retrieval.inference.tokenizer import Encoding, ModelTokenizer
from retrieval.ports import ModelCard
from retrieval.vectors import Vectors

# Weights larger than this are loaded once only.
_LARGEST_TWICE = 256 * 2**20


class OnnxEmbedder:
    """Implements :class:`retrieval.inference.backends.StagedEmbedder` and ``Twofold`` over a model folder."""

    padded = False
    limits = BatchLimits()

    def __init__(self, files: ModelFiles, *, threads: int = 0, apart: bool = False) -> None:
        """``apart``: see :class:`OnnxSession`. Raises :class:`InferenceUnavailable` when the folder's graph is no embedder."""
        self._files = files
        self._threads = threads
        self._tokenizer = ModelTokenizer(files.tokenizer, max_tokens=files.max_tokens)
        self._session = OnnxSession(files.weights, threads=threads, apart=apart)
        self._pooling: Pooling | None = None
        (probe,) = self._vectors(self.encode(["probe"]))
        dimension = files.spec.dimension if files.spec is not None else len(probe)
        if len(probe) != dimension:
            raise InferenceUnavailable(f"{files.name} gives {len(probe)} dimensions, {dimension} were expected.")
        self.card = ModelCard(
            name=files.name,
            revision=files.revision,
            dimension=dimension,
            max_tokens=files.max_tokens,
            query_prefix=files.query_prefix,
            passage_prefix=files.passage_prefix,
        )

    @property
    def rows_at_once(self) -> int:
        """See :class:`retrieval.inference.backends.Rowwise`."""
        return self._session.threads

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of shape ``(len(texts), dimension)``, the same whatever else is in ``texts``.

        Raises:
            InferenceError: the model gave something that is not a vector, such as NaN.
        """
        return self.prepare(self.encode(texts))()

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Tokenised, cut to the window."""
        return self._tokenizer.encode(texts)

    def prepare(self, rows: Sequence[Encoding]) -> Callable[[], Vectors]:
        """Rows are not padded: nothing is left to be done but to run them."""
        return lambda: self._finite(rows)

    def second(self) -> OnnxEmbedder | None:
        """One whose threads step aside."""
        if self._files.weights.stat().st_size > _LARGEST_TWICE:
            return None
        return OnnxEmbedder(self._files, threads=self._threads, apart=True)

    def close(self) -> None:
        """Release the threads."""
        self._session.close()

    def _finite(self, rows: Sequence[Encoding]) -> Vectors:
        if not rows:
            return np.zeros((0, self.card.dimension), dtype=np.float32)
        vectors = self._vectors(rows)
        if not np.isfinite(vectors).all():
            raise InferenceError("The model gave a vector that is not finite.")
        return vectors

    def _vectors(self, rows: Sequence[Encoding]) -> Vectors:
        pooled = np.stack([self._pooled(output) for output in self._session.run(rows)])
        norms = np.linalg.norm(pooled, axis=1, keepdims=True)
        vectors: Vectors = (pooled / np.maximum(norms, 1e-12)).astype(np.float32, copy=False)
        return vectors

    def _pooled(self, output: Output) -> Output:
        if output.ndim == 1:  # the graph pools
            return output
        if output.ndim != 2:
            raise InferenceUnavailable(f"The graph's output has {output.ndim + 1} axes; an embedder's has two or three.")
        if self._pooling is None:
            self._pooling = self._files.pooling
        pooled: Output = output[0] if self._pooling is Pooling.CLS else output.mean(axis=0)
        return pooled
