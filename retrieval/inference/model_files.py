"""A model's folder: which files matter, what they say about the model, and what identifies it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from retrieval.errors import ModelNotFound
from retrieval.inference.registry import KNOWN_MODELS, ModelSpec, Pooling

_DEFAULT_MAX_TOKENS = 512
# With the weights, these decide what a model computes.
_PROMPTS = "config_sentence_transformers.json"
_DECISIVE = ("tokenizer.json", "config.json", "1_Pooling/config.json", _PROMPTS)
_WEIGHTS = ("model.onnx", "onnx/model.onnx")


class WeightsFormat(StrEnum):
    """Which backend reads the folder."""

    ONNX = "onnx"
    TORCH = "torch"
    STATIC = "static"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A complete model on disk. ``revision`` is a digest of the files that decide what it computes.

    ``prefixed`` false: whoever asks puts the prefixes in front of texts, and the model has none.
    """

    name: str
    folder: Path
    format: WeightsFormat
    weights: Path
    revision: str
    spec: ModelSpec | None
    prefixed: bool = True

    @property
    def tokenizer(self) -> Path:
        """``tokenizer.json``, as the ``tokenizers`` library reads it."""
        return self.folder / "tokenizer.json"

    @property
    def pooling(self) -> Pooling:
        """The known model's, else what sentence-transformers wrote, else its default: the mean."""
        if self.spec is not None:
            return self.spec.pooling
        config = _read_json(self.folder / "1_Pooling" / "config.json")
        return Pooling.CLS if config.get("pooling_mode_cls_token") is True else Pooling.MEAN

    @property
    def query_prefix(self) -> str:
        """What goes in front of a question: the known model's, else the prompt that sentence-transformers wrote."""
        if not self.prefixed:
            return ""
        return self.spec.query_prefix if self.spec is not None else self._prompt("query")

    @property
    def passage_prefix(self) -> str:
        """What goes in front of a passage."""
        if not self.prefixed:
            return ""
        return self.spec.passage_prefix if self.spec is not None else self._prompt("document", "passage")

    @property
    def max_tokens(self) -> int:
        """The window, special tokens included: the least that any of the folder's configurations names."""
        if self.spec is not None:
            return self.spec.max_tokens
        named = (
            _read_json(self.folder / "sentence_bert_config.json").get("max_seq_length"),
            _read_json(self.folder / "tokenizer_config.json").get("model_max_length"),
            _read_json(self.folder / "config.json").get("max_position_embeddings"),
        )
        # Tokenizers without a limit say 1e30.
        return min((int(n) for n in named if isinstance(n, (int, float)) and 8 <= n < 10**6), default=_DEFAULT_MAX_TOKENS)

    def _prompt(self, *names: str) -> str:
        prompts = _read_json(self.folder / _PROMPTS).get("prompts")
        found = [prompts[name] for name in names if name in prompts] if isinstance(prompts, dict) else []
        return next((prompt for prompt in found if isinstance(prompt, str)), "")


def open_folder(folder: Path, name: str, digests: Mapping[str, str]) -> ModelFiles:
    """The model in ``folder``; a known model is recognised by its bytes, whatever the folder is called.

    ``digests`` (relative name to sha256) are the ones already known, so that a cached model is not read twice.

    Raises:
        ModelNotFound: weights or ``tokenizer.json`` are missing.
    """
    weights = _weights(folder)
    if not (folder / "tokenizer.json").is_file():
        raise ModelNotFound(f"{folder} has no tokenizer.json; a model folder needs it beside the weights.")
    relevant = {path.relative_to(folder).as_posix(): path for path in (*_shards(weights), *(folder / n for n in _DECISIVE))}
    found = {name: digests.get(name) or sha256_of(path) for name, path in relevant.items() if path.is_file()}
    digest = found[weights.relative_to(folder).as_posix()]
    spec = next((known for known in KNOWN_MODELS.values() if known.files[known.weights] == digest), None)
    lines = [f"{sha256}  {name}" for name, sha256 in sorted(found.items())]
    return ModelFiles(
        name=spec.name if spec is not None else name,
        folder=folder,
        format=WeightsFormat.STATIC if spec is not None and spec.pooling is Pooling.STATIC else format_of(weights),
        weights=weights,
        revision=hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12],
        spec=spec,
    )


def format_of(weights: Path) -> WeightsFormat:
    """By the file's suffix."""
    return WeightsFormat.ONNX if weights.suffix == ".onnx" else WeightsFormat.TORCH


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    tensors = sorted(folder.glob("*.safetensors"))
    if not tensors:
        raise ModelNotFound(f"{folder} holds no model: neither model.onnx nor *.safetensors.")
    return tensors[0]


def _shards(weights: Path) -> list[Path]:
    """The weights and the files they are spread over."""
    if format_of(weights) is WeightsFormat.TORCH:
        return sorted(weights.parent.glob("*.safetensors"))
    return [weights, weights.with_name(f"{weights.name}_data")]


def _read_json(path: Path) -> Mapping[str, object]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
