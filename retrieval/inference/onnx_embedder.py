"""Sentence embeddings from an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrieval.errors import InferenceError, InferenceUnavailable
from retrieval.inference.model_files import ModelFiles
from retrieval.inference.onnx_session import OnnxSession, Output
from retrieval.inference.registry import Pooling
from retrieval.inference.tokenizer import ModelTokenizer
from retrieval.ports import ModelCard, Vectors


class OnnxEmbedder:
    """Implements :class:`retrieval.inference.backends.EmbedderBackend` over a model folder."""

    def __init__(self, files: ModelFiles, *, threads: int = 0) -> None:
        """Raises :class:`InferenceUnavailable` when the folder's graph is not an embedder."""
        self._tokenizer = ModelTokenizer(files.tokenizer, max_tokens=files.max_tokens)
        self._session = OnnxSession(files.weights, threads=threads)
        self._pooling = files.pooling
        (probe,) = self._vectors(["probe"])
        dimension = files.spec.dimension if files.spec is not None else len(probe)
        if len(probe) != dimension:
            raise InferenceUnavailable(f"{files.name} gives {len(probe)} dimensions, {dimension} were expected.")
        self.card = ModelCard(
            name=files.name,
            revision=files.revision,
            dimension=dimension,
            max_tokens=files.max_tokens,
            query_prefix=files.spec.query_prefix if files.spec is not None else "",
            passage_prefix=files.spec.passage_prefix if files.spec is not None else "",
        )

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of shape ``(len(texts), dimension)``, the same whatever else is in ``texts``.

        Raises:
            InferenceError: the model gave something that is not a vector, such as NaN.
        """
        if not texts:
            return np.zeros((0, self.card.dimension), dtype=np.float32)
        vectors = self._vectors(texts)
        if not np.isfinite(vectors).all():
            raise InferenceError("The model gave a vector that is not finite.")
        return vectors

    def close(self) -> None:
        """Release the threads."""
        self._session.close()

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        pooled = np.stack([self._pooled(output) for output in self._session.run(self._tokenizer.encode(texts))])
        norms = np.linalg.norm(pooled, axis=1, keepdims=True)
        vectors: Vectors = (pooled / np.maximum(norms, 1e-12)).astype(np.float32, copy=False)
        return vectors

    def _pooled(self, output: Output) -> Output:
        if output.ndim == 1:  # the graph pools
            return output
        if output.ndim != 2:
            raise InferenceUnavailable(f"The graph's output has {output.ndim + 1} axes; an embedder's has two or three.")
        pooled: Output = output[0] if self._pooling is Pooling.CLS else output.mean(axis=0)
        return pooled
