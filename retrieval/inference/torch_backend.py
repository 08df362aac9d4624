"""sentence-transformers models, for folders that hold safetensors instead of ONNX. Needs the ``torch`` extra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrieval.errors import InferenceUnavailable
from retrieval.inference.model_files import ModelFiles
from retrieval.inference.onnx_reranker import DEFAULT_PAIR_TOKENS
from retrieval.ports import ModelCard, Vectors

_BATCH = 16


class TorchEmbedder:
    """Implements :class:`retrieval.inference.backends.EmbedderBackend` with ``SentenceTransformer``."""

    def __init__(self, files: ModelFiles, *, threads: int = 0) -> None:
        """Raises :class:`InferenceUnavailable` when the extra is missing or the folder is no embedder."""
        try:
            import torch
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise missing_extra(files) from error
        if threads:
            torch.set_num_threads(threads)
        try:
            self._model = SentenceTransformer(
                str(files.folder),
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
        except Exception as error:  # transformers raises what its loaders raise
            raise InferenceUnavailable(f"{files.folder} cannot be loaded: {error}") from error
        self._model.max_seq_length = min(files.max_tokens, self._model.max_seq_length or files.max_tokens)
        self.card = ModelCard(
            name=files.name,
            revision=files.revision,
            dimension=self._encode(["probe"]).shape[1],
            max_tokens=int(self._model.max_seq_length),
        )

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of shape ``(len(texts), dimension)``."""
        if not texts:
            return np.zeros((0, self.card.dimension), dtype=np.float32)
        return self._encode(texts)

    def close(self) -> None:
        """Nothing to stop; the weights go with the object."""

    def _encode(self, texts: Sequence[str]) -> Vectors:
        # prompt="" keeps a prompt in the folder's configuration from being added to our own prefix.
        vectors = self._model.encode(
            list(texts), batch_size=_BATCH, prompt="", normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)


class TorchReranker:
    """Implements :class:`retrieval.inference.backends.RerankerBackend` with ``CrossEncoder``."""

    def __init__(self, files: ModelFiles, *, threads: int = 0, max_pair_tokens: int = DEFAULT_PAIR_TOKENS) -> None:
        """Raises :class:`InferenceUnavailable` when the extra is missing or the folder is no cross-encoder."""
        try:
            import torch
            from sentence_transformers import CrossEncoder
        except ImportError as error:
            raise missing_extra(files) from error
        if threads:
            torch.set_num_threads(threads)
        self.name = files.name
        self.max_pair_tokens = min(max_pair_tokens, files.max_tokens)
        try:
            self._model = CrossEncoder(
                str(files.folder),
                max_length=self.max_pair_tokens,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
        except Exception as error:  # transformers raises what its loaders raise
            raise InferenceUnavailable(f"{files.folder} cannot be loaded: {error}") from error
        self._sigmoid = torch.nn.Sigmoid()

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Relevance in ``[0, 1]`` of each (query, passage)."""
        if not pairs:
            return []
        scores = self._model.predict(list(pairs), batch_size=_BATCH, activation_fn=self._sigmoid, show_progress_bar=False)
        return [float(score) for score in scores]

    def close(self) -> None:
        """Nothing to stop; the weights go with the object."""


def missing_extra(files: ModelFiles) -> InferenceUnavailable:
    """What to install to read a model that is not ONNX."""
    return InferenceUnavailable(
        f"{files.name} is not an ONNX model; reading it needs sentence-transformers: pip install 'memoryd[torch]'"
    )
