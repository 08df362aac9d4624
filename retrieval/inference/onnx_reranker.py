"""Cross-encoder relevance from an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retrieval.errors import InferenceError, InferenceUnavailable
from retrieval.inference.batches import BatchLimits
from retrieval.inference.model_files import ModelFiles
from retrieval.inference.onnx_session import OnnxSession, Output
from retrieval.inference.tokenizer import Encoding, ModelTokenizer

# A question and 200 tokens of passage. Time is linear in tokens; memories and passages are rarely longer.
DEFAULT_PAIR_TOKENS = 256


class OnnxReranker:
    """Implements :class:`retrieval.inference.backends.StagedReranker` over a model folder."""

    padded = False
    limits = BatchLimits()

    def __init__(self, files: ModelFiles, *, threads: int = 0, max_pair_tokens: int = DEFAULT_PAIR_TOKENS) -> None:
        """Raises :class:`InferenceUnavailable` when the folder's graph is not a cross-encoder."""
        self.name = files.name
        self.max_pair_tokens = min(max_pair_tokens, files.max_tokens)
        self._tokenizer = ModelTokenizer(files.tokenizer, max_tokens=self.max_pair_tokens)
        self._session = OnnxSession(files.weights, threads=threads)
        (probe,) = self._session.run(self._tokenizer.encode_pairs([("probe", "probe")]))
        if probe.shape != (1,):
            raise InferenceUnavailable(f"{files.name} is not a cross-encoder: it does not give one logit a pair.")

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Relevance in ``[0, 1]`` of each (query, passage): the sigmoid of the logit.

        Raises:
            InferenceError: the model gave something that is not a number.
        """
        return self.prepare(self.encode(pairs))()

    def encode(self, pairs: Sequence[tuple[str, str]]) -> list[Encoding]:
        """Tokenised, cut to :attr:`max_pair_tokens`."""
        return self._tokenizer.encode_pairs(pairs)

    def prepare(self, rows: Sequence[Encoding]) -> Callable[[], list[float]]:
        """Rows are not padded: nothing is left to be done but to run them."""
        return lambda: self._scores(rows)

    def close(self) -> None:
        """Release the threads."""
        self._session.close()

    def _scores(self, rows: Sequence[Encoding]) -> list[float]:
        if not rows:
            return []
        logits: Output = np.concatenate(self._session.run(rows))
        if not np.isfinite(logits).all():
            raise InferenceError("The reranker gave a score that is not finite.")
        return [float(score) for score in 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))]
