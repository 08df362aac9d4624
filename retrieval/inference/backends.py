"""What the runtime runs: blocking models, called from one thread. A backend a file; these are their ports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from retrieval.inference.model_files import ModelFiles, WeightsFormat
from retrieval.ports import ModelCard, Vectors


class EmbedderBackend(Protocol):
    """Texts to unit vectors. Any exception of :meth:`embed` is taken to be the texts' fault."""

    @property
    def card(self) -> ModelCard:
        """The model's description."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Float32 of shape ``(len(texts), dimension)``, L2-normalised; prefixes are already applied."""

    def close(self) -> None:
        """Release threads and memory."""


class RerankerBackend(Protocol):
    """(query, passage) pairs to relevance in ``[0, 1]``."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def max_pair_tokens(self) -> int:
        """Pairs beyond this many tokens are cut."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        """One number a pair."""

    def close(self) -> None:
        """Release threads and memory."""


def load_embedder(files: ModelFiles, *, threads: int = 0) -> EmbedderBackend:
    """The backend that reads ``files``. ``threads`` 0 means every core. Blocks; raises ``InferenceUnavailable``."""
    if files.format is WeightsFormat.ONNX:
        from retrieval.inference.onnx_embedder import OnnxEmbedder

        return OnnxEmbedder(files, threads=threads)
    if files.format is WeightsFormat.STATIC:
        from retrieval.inference.static_embedder import StaticEmbedder

        return StaticEmbedder(files)
    from retrieval.inference.torch_backend import TorchEmbedder

    return TorchEmbedder(files, threads=threads)


def load_reranker(files: ModelFiles, *, threads: int = 0, max_pair_tokens: int = 256) -> RerankerBackend:
    """The backend that reads ``files``. ``threads`` 0 means every core. Blocks; raises ``InferenceUnavailable``."""
    if files.format is WeightsFormat.ONNX:
        from retrieval.inference.onnx_reranker import OnnxReranker

        return OnnxReranker(files, threads=threads, max_pair_tokens=max_pair_tokens)
    from retrieval.inference.torch_backend import TorchReranker

    return TorchReranker(files, threads=threads, max_pair_tokens=max_pair_tokens)
