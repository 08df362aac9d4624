"""The embedder of a runtime that only reranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrieval.ports import ModelCard
from retrieval.vectors import Vectors


class AbsentEmbedder:
    """Implements :class:`retrieval.inference.backends.EmbedderBackend`: vectors without columns, at no cost."""

    card = ModelCard("", "", 0, 512)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Shape ``(len(texts), 0)``."""
        return np.zeros((len(texts), 0), dtype=np.float32)

    def close(self) -> None:
        """Nothing to release."""
