"""What the runtime runs: blocking models, called from one thread. A backend a file; these are their ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from retrieval.inference.batches import BatchLimits
from retrieval.inference.model_files import ModelFiles, WeightsFormat
from retrieval.inference.tokenizer import Encoding
from retrieval.ports import ModelCard
from retrieval.vectors import Vectors


class EmbedderBackend(Protocol):
    """Texts to unit vectors. ``MemoryError`` of :meth:`embed` means that it was asked for too much at once; any other
    exception is taken to be the texts' fault."""

    @property
    def card(self) -> ModelCard:
        """The model's description."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Float32 of shape ``(len(texts), dimension)``, L2-normalised; prefixes are already applied."""

    def close(self) -> None:
        """Release threads and memory."""


@runtime_checkable
class StagedEmbedder(EmbedderBackend, Protocol):
    """A backend whose batches can be made ready while another runs."""

    @property
    def padded(self) -> bool:
        """True when a run pads every row to the longest."""

    @property
    def limits(self) -> BatchLimits:
        """The largest run that is worth it."""

    def encode(self, texts: Sequence[str]) -> Sequence[Encoding]:
        """Tokenised and cut to the window. Safe on any thread."""

    def prepare(self, rows: Sequence[Encoding]) -> Callable[[], Vectors]:
        """What runs these rows: as :meth:`embed` of their texts. Safe on any thread; what it gives is not."""


@runtime_checkable
class Rowwise(StagedEmbedder, Protocol):
    """An embedder that computes the rows of a run by themselves."""

    @property
    def rows_at_once(self) -> int:
        """Each on a thread."""


@runtime_checkable
class Twofold(StagedEmbedder, Protocol):
    """An embedder of which a second one may run at the same time, on a thread that steps aside for the first."""

    def second(self) -> StagedEmbedder | None:
        """The same model once more, with memory of its own; ``None`` when it is too large for that. Blocks."""


class RerankerBackend(Protocol):
    """(query, passage) pairs to relevance in ``[0, 1]``. Errors as of :class:`EmbedderBackend`."""

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


@runtime_checkable
class StagedReranker(RerankerBackend, Protocol):
    """A backend whose batches can be made ready while another runs."""

    @property
    def padded(self) -> bool:
        """True when a run pads every row to the longest."""

    @property
    def limits(self) -> BatchLimits:
        """The largest run that is worth it."""

    def encode(self, pairs: Sequence[tuple[str, str]]) -> Sequence[Encoding]:
        """Tokenised and cut to :attr:`max_pair_tokens`. Safe on any thread."""

    def prepare(self, rows: Sequence[Encoding]) -> Callable[[], Sequence[float]]:
        """What runs these rows: as :meth:`score` of their pairs. Safe on any thread; what it gives is not."""


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
