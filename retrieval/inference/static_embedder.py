"""Static sentence embeddings: a row of a table a token, the mean of them a text. No graph, no neighbours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InferenceUnavailable
from retrieval.inference.model_files import ModelFiles
from retrieval.inference.tokenizer import ModelTokenizer
from retrieval.ports import ModelCard
from retrieval.vectors import Vectors

_TYPES = {"F16": "<f2", "F32": "<f4"}
_HEADER_BYTES = 8


class StaticEmbedder:
    """Implements :class:`retrieval.inference.backends.EmbedderBackend` over one table of token vectors.

    As wordllama and model2vec do it (Tulkens and van Dongen, Model2Vec, 2024). The table stays in the file's precision and is
    mapped into memory; a text's sum is made in float32. Special tokens have no part in a text.
    """

    def __init__(self, files: ModelFiles) -> None:
        """Raises :class:`InferenceUnavailable` when the weights are not one table."""
        self._table = read_table(files.weights)
        self._tokenizer = ModelTokenizer(files.tokenizer, max_tokens=files.max_tokens, special=False)
        self.card = ModelCard(
            name=files.name,
            revision=files.revision,
            dimension=self._table.shape[1],
            max_tokens=files.max_tokens,
            query_prefix=files.query_prefix,
            passage_prefix=files.passage_prefix,
        )

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of shape ``(len(texts), dimension)``. A text without a token has the vector of the table's mean."""
        vectors = np.zeros((len(texts), self.card.dimension), dtype=np.float32)
        for vector, encoding in zip(vectors, self._tokenizer.encode(texts), strict=True):
            rows = self._table[encoding.ids] if len(encoding) else self._table
            rows.mean(axis=0, dtype=np.float32, out=vector)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def close(self) -> None:
        """Nothing to stop; the table goes with the object."""


def read_table(path: Path) -> NDArray[np.floating]:
    """The one tensor of a safetensors file, shape ``(tokens, dimension)``. Raises :class:`InferenceUnavailable`."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(_HEADER_BYTES), "little")
            header = json.loads(file.read(size))
        (tensor,) = (value for name, value in header.items() if name != "__metadata__")
        table: NDArray[np.floating] = np.memmap(
            path,
            dtype=_TYPES[tensor["dtype"]],
            mode="r",
            offset=_HEADER_BYTES + size + tensor["data_offsets"][0],
            shape=tuple(tensor["shape"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InferenceUnavailable(f"{path} does not hold one table of token vectors: {error!r}") from error
    if table.ndim != 2:
        raise InferenceUnavailable(f"{path} holds a tensor of {table.ndim} axes; a table has two.")
    return table
