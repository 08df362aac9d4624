"""A model's folder: which files matter, what they say about the model, and what identifies it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from retrieval.errors import InferenceUnavailable, ModelNotFound
from retrieval.inference.registry import KNOWN_MODELS, ModelSpec, Pooling

_DEFAULT_MAX_TOKENS = 512
# With the weights, these decide what a model computes.
_PROMPTS = "config_sentence_transformers.json"
_DECISIVE = ("tokenizer.json", "config.json", "1_Pooling/config.json", _PROMPTS)
# sentence-transformers' modules that are computed here, and its ways to pool, of which two differ only in a vector's length.
_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
_POOLINGS = {"cls": Pooling.CLS, "mean": Pooling.MEAN, "mean_sqrt_len": Pooling.MEAN}
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
        """The known model's, else what sentence-transformers wrote, else its default: the mean.

        Raises ``InferenceUnavailable`` for what it wrote that is not computed here: modules behind, and other ways to pool.
        """
        if self.spec is not None:
            return self.spec.pooling
        if foreign := [kind for kind in _modules(self.folder) if kind not in _MODULES]:
            raise InferenceUnavailable(f"{self.folder} has a module that is not computed behind an ONNX graph: {foreign[0]}.")
        modes = _pooling_modes(self.folder) or ["mean"]
        if len(modes) > 1 or modes[0] not in _POOLINGS:
            raise InferenceUnavailable(
                f"{self.folder} pools an ONNX graph's tokens by {' and '.join(modes)}; cls or mean is known."
            )
        return _POOLINGS[modes[0]]

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


def _modules(folder: Path) -> list[str]:
    """The classes that sentence-transformers would run one after the other, without their modules' names."""
    listed = _read(folder / "modules.json")
    described = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [str(one.get("type")).rpartition(".")[2] for one in described]


def _pooling_modes(folder: Path) -> list[str]:
    """Several are concatenated. sentence-transformers writes a flag for each; newer ones a name, or a list of names."""
    config = _read_json(folder / "1_Pooling" / "config.json")
    named = config.get("pooling_mode")
    if named is not None:
        return [str(one) for one in named] if isinstance(named, list) else [str(named)]
    flag = "pooling_mode_"
    found = [name.removeprefix(flag) for name, value in config.items() if name.startswith(flag) and value is True]
    return [mode.removesuffix("_tokens").removesuffix("_token") for mode in found]


def _read_json(path: Path) -> Mapping[str, object]:
    value = _read(path)
    return value if isinstance(value, dict) else {}


def _read(path: Path) -> object:
    """What a JSON file holds; ``None`` where there is none that can be read."""
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value
