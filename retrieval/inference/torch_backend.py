"""sentence-transformers models, for folders that hold safetensors instead of ONNX. Needs the ``torch`` extra.

On CUDA where there is one, in half precision: float16, or bfloat16 for a model whose values float16 cannot hold. Batches come
sorted by length from the planner and are padded to the next multiple of eight. Attention is PyTorch's scaled dot product,
which transformers takes by itself for every architecture that has it. Nothing is compiled or captured in CUDA graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from retrieval.errors import InferenceError, InferenceUnavailable
from retrieval.inference.batches import BatchLimits
from retrieval.inference.model_files import ModelFiles
from retrieval.inference.onnx_reranker import DEFAULT_PAIR_TOKENS
from retrieval.inference.tokenizer import Encoding, ModelTokenizer
from retrieval.ports import ModelCard
from retrieval.vectors import Vectors

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

    Features = dict[str, torch.Tensor]

M = TypeVar("M", bound="_Module")

# Tensor cores want multiples of eight, and shapes that come again keep the allocator's blocks in use.
_BUCKET = 8
# A millisecond or more of a small model on a large GPU: enough to fill it, and no question waits long behind it.
_ON_CUDA = BatchLimits(items=256, tokens=32_768)
# What is said of memory that something else than PyTorch's own allocator did not get.
_NO_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


class TorchEmbedder:
    """Implements :class:`retrieval.inference.backends.StagedEmbedder` with ``SentenceTransformer``."""

    padded = True

    def __init__(self, files: ModelFiles, *, threads: int = 0) -> None:
        """Raises :class:`InferenceUnavailable` when the extra is missing or the folder is no embedder."""
        try:
            self._device = _Device(threads)  # before the library, which half works without torch
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise missing_extra(files) from error
        self.limits = self._device.limits

        def load() -> SentenceTransformer:
            return SentenceTransformer(
                str(files.folder),
                device="cpu",
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )

        first: SentenceTransformer = _loaded(load, files)
        window = min(files.max_tokens, first.max_seq_length or files.max_tokens)
        self._tokenizer = ModelTokenizer(files.tokenizer, max_tokens=window)
        self._padding = _Padding(first.tokenizer, window)
        self._model = first
        probe = self._device.place(load, first, self._probe)
        self.card = ModelCard(
            name=files.name,
            revision=files.revision,
            dimension=probe.shape[1],
            max_tokens=window,
            query_prefix=files.query_prefix,
            passage_prefix=files.passage_prefix,
        )

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of shape ``(len(texts), dimension)``, in one run."""
        return self.prepare(self.encode(texts))()

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Tokenised, cut to the window. No prompt of the folder's configuration is added here."""
        return self._tokenizer.encode(texts)

    def prepare(self, rows: Sequence[Encoding]) -> Callable[[], Vectors]:
        """Padded into tensors; on CUDA in memory that it reads without the processor's help."""
        if not rows:
            return lambda: np.zeros((0, self.card.dimension), dtype=np.float32)
        features = self._device.pinned(self._padding.features(rows))
        return lambda: self._finite(features)

    def close(self) -> None:
        """Give the device its memory back; the weights go with the object."""
        self._device.release()

    def _probe(self, model: SentenceTransformer) -> Vectors:
        self._model = model
        return self._vectors(self._padding.features(self.encode(["probe", "probe " * self._padding.window])))

    def _finite(self, features: Features) -> Vectors:
        vectors = self._vectors(features)
        if not np.isfinite(vectors).all():
            raise InferenceError("The model gave a vector that is not finite.")
        return vectors

    def _vectors(self, features: Features) -> Vectors:
        import torch

        def run() -> torch.Tensor:
            pooled = self._model(self._device.moved(features))["sentence_embedding"].float()
            return torch.nn.functional.normalize(pooled, dim=1)

        return self._device.run(run)


class TorchReranker:
    """Implements :class:`retrieval.inference.backends.StagedReranker` with ``CrossEncoder``."""

    padded = True

    def __init__(self, files: ModelFiles, *, threads: int = 0, max_pair_tokens: int = DEFAULT_PAIR_TOKENS) -> None:
        """Raises :class:`InferenceUnavailable` when the extra is missing or the folder is no cross-encoder."""
        try:
            self._device = _Device(threads)  # before the library, which half works without torch
            from sentence_transformers import CrossEncoder
        except ImportError as error:
            raise missing_extra(files) from error
        self.name = files.name
        self.max_pair_tokens = min(max_pair_tokens, files.max_tokens)
        self.limits = self._device.limits

        def load() -> CrossEncoder:
            return CrossEncoder(
                str(files.folder),
                device="cpu",
                max_length=self.max_pair_tokens,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )

        first: CrossEncoder = _loaded(load, files)
        self._tokenizer = ModelTokenizer(files.tokenizer, max_tokens=self.max_pair_tokens)
        self._padding = _Padding(first.tokenizer, self.max_pair_tokens)
        self._model = first
        probe = self._device.place(load, first, self._probe)
        if probe.shape[1:] != (1,):
            raise InferenceUnavailable(f"{files.name} is not a cross-encoder: it does not give one logit a pair.")

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Relevance in ``[0, 1]`` of each (query, passage): the sigmoid of the logit."""
        return self.prepare(self.encode(pairs))()

    def encode(self, pairs: Sequence[tuple[str, str]]) -> list[Encoding]:
        """Tokenised, cut to :attr:`max_pair_tokens`."""
        return self._tokenizer.encode_pairs(pairs)

    def prepare(self, rows: Sequence[Encoding]) -> Callable[[], list[float]]:
        """Padded into tensors; on CUDA in memory that it reads without the processor's help."""
        if not rows:
            return list
        features = self._device.pinned(self._padding.features(rows))
        return lambda: self._scores(features)

    def close(self) -> None:
        """Give the device its memory back; the weights go with the object."""
        self._device.release()

    def _probe(self, model: CrossEncoder) -> Vectors:
        self._model = model
        pairs = [("probe", "probe"), ("probe", "probe " * self._padding.window)]
        return self._logits(self._padding.features(self.encode(pairs)))

    def _scores(self, features: Features) -> list[float]:
        logits = self._logits(features)[:, 0].astype(np.float64)
        if not np.isfinite(logits).all():
            raise InferenceError("The reranker gave a score that is not finite.")
        return [float(score) for score in 1.0 / (1.0 + np.exp(-logits))]

    def _logits(self, features: Features) -> Vectors:
        return self._device.run(lambda: self._model.model(**self._device.moved(features)).logits.float())


class _Module(Protocol):
    """What is done with a model of either kind before it is used."""

    def to(self, *, device: str, dtype: torch.dtype) -> object: ...

    def eval(self) -> object: ...


class _Padding:
    """Rows into tensors, padded on the right."""

    def __init__(self, tokenizer: object, window: int) -> None:
        self.window = window
        self._pad = int(getattr(tokenizer, "pad_token_id", 0) or 0)
        self._segments = "token_type_ids" in getattr(tokenizer, "model_input_names", ())

    def features(self, rows: Sequence[Encoding]) -> Features:
        import torch

        longest = max(map(len, rows))
        shape = len(rows), max(longest, min(self.window, -(-longest // _BUCKET) * _BUCKET))
        ids, mask = np.full(shape, self._pad, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        segments = np.zeros(shape, dtype=np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row.ids
            mask[at, : len(row)] = 1
            segments[at, : len(row)] = row.segments
        features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        return features | ({"token_type_ids": torch.from_numpy(segments)} if self._segments else {})


class _Device:
    """Where a model runs, and in what precision."""

    def __init__(self, threads: int) -> None:
        import torch

        if threads:
            torch.set_num_threads(threads)
        self._cuda = torch.cuda.is_available()
        self.limits = _ON_CUDA if self._cuda else BatchLimits()

    def place(self, load: Callable[[], M], first: M, probe: Callable[[M], Vectors]) -> Vectors:
        """Move the model to the device in the first precision in which its ``probe`` is finite; what the probe gave."""
        import torch

        kinds = (torch.float16, torch.bfloat16, torch.float32) if self._cuda else (torch.float32,)
        for number, kind in enumerate(kinds):
            model = first if number == 0 else load()
            model.to(device="cuda" if self._cuda else "cpu", dtype=kind)
            model.eval()
            found = probe(model)
            if np.isfinite(found).all():
                return found
        raise InferenceUnavailable("The model gives no finite value in any precision.")

    def pinned(self, features: Features) -> Features:
        return {name: tensor.pin_memory() for name, tensor in features.items()} if self._cuda else features

    def moved(self, features: Features) -> Features:
        return {name: tensor.cuda(non_blocking=True) for name, tensor in features.items()} if self._cuda else dict(features)

    def run(self, compute: Callable[[], torch.Tensor]) -> Vectors:
        """What ``compute`` gives, on the CPU. Raises ``MemoryError`` when the device has too little memory."""
        import torch

        try:
            with torch.inference_mode():
                found: Vectors = compute().cpu().numpy()
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and not any(sign in str(error) for sign in _NO_MEMORY):
                raise
            self.release()
            raise MemoryError(str(error)) from error
        return found

    def release(self) -> None:
        import torch

        if self._cuda:
            torch.cuda.empty_cache()


def missing_extra(files: ModelFiles) -> InferenceUnavailable:
    """What to install to read a model that is not ONNX."""
    return InferenceUnavailable(
        f"{files.name} is not an ONNX model; reading it needs sentence-transformers: pip install 'memoryd[torch]'"
    )


def _loaded(load: Callable[[], M], files: ModelFiles) -> M:
    try:
        return load()
    except Exception as error:  # transformers raises what its loaders raise
        raise InferenceUnavailable(f"{files.folder} cannot be loaded: {error}") from error
