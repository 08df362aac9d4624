"""The floors of the inference benchmarks: ONNX Runtime and sentence-transformers by themselves, one caller, no service."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime as ort

from retrieval.inference import ModelFiles, ModelTokenizer
from retrieval.inference.tokenizer import Encoding

BATCHES = (1, 2, 4, 8, 16, 32)

HAS_TORCH = find_spec("sentence_transformers") is not None


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a BERT."""

    layers: int
    width: int
    inner: int
    vocabulary: int = 30_522

    def flops(self, tokens: int, mean_length: float) -> float:
        """Of one pass over ``tokens`` in rows of ``mean_length``: two a weight that multiplies, and attention's two products."""
        weights = self.layers * (4 * self.width**2 + 2 * self.width * self.inner)
        return tokens * (2.0 * weights + 4.0 * self.layers * self.width * mean_length)


BGE_SMALL = Shape(12, 384, 1536)
MINILM_L12 = Shape(12, 384, 1536)


class BareOnnx:
    """A session with every core, fed padded batches of sorted rows that were tokenised before."""

    def __init__(self, files: ModelFiles, *, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(str(files.weights), options, providers=["CPUExecutionProvider"])
        self._inputs = [given.name for given in self._session.get_inputs()]
        self._tokenizer = ModelTokenizer(files.tokenizer, max_tokens=files.max_tokens)

    def tokenised(self, texts: Sequence[str]) -> list[Encoding]:
        """Shortest first."""
        return sorted(self._tokenizer.encode(texts), key=len)

    def run(self, rows: Sequence[Encoding], batch: int) -> list[float]:
        """Seconds of each batch."""
        seconds = []
        for begin in range(0, len(rows), batch):
            feeds = self._padded(rows[begin : begin + batch])
            started = time.perf_counter()
            self._session.run(None, {name: feeds[name] for name in self._inputs})
            seconds.append(time.perf_counter() - started)
        return seconds

    def best_batch(self, rows: Sequence[Encoding]) -> int:
        """The fastest of :data:`BATCHES` on every fourth row."""
        sample = rows[::4]
        return min(BATCHES, key=lambda batch: sum(self.run(sample, batch)))

    def _padded(self, rows: Sequence[Encoding]) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
        shape = len(rows), max(map(len, rows))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)], mask[at, : len(row)] = row.ids, 1
        positions = np.broadcast_to(np.arange(shape[1], dtype=np.int64), shape)
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros(shape, np.int64), "position_ids": positions}


def random_embedder(folder: Path, shape: Shape, tokenizer: Path) -> Path:
    """A sentence-transformers folder of ``shape`` with random weights; speed does not depend on what they are."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertModel

    bare = _tokenizer_folder(folder / "bare", tokenizer)
    BertModel(_config(shape)).save_pretrained(bare)
    saved = folder / "embedder"
    modules = [Transformer(str(bare)), Pooling(shape.width, pooling_mode="cls")]
    SentenceTransformer(modules=modules, device="cpu").save(str(saved))
    shutil.copy(tokenizer, saved / "tokenizer.json")
    return saved


def random_reranker(folder: Path, shape: Shape, tokenizer: Path) -> Path:
    """A cross-encoder's folder, of the same kind."""
    from transformers import BertForSequenceClassification

    saved = _tokenizer_folder(folder / "reranker", tokenizer)
    BertForSequenceClassification(_config(shape, num_labels=1)).save_pretrained(saved)
    return saved


def plain_embedder(folder: Path, *, half: bool) -> Callable[[Sequence[str]], object]:
    """``SentenceTransformer.encode(batch_size=32)``, in float16 on CUDA when ``half``."""
    import torch
    from sentence_transformers import SentenceTransformer

    cuda = torch.cuda.is_available()
    model = SentenceTransformer(str(folder), device="cuda" if cuda else "cpu", local_files_only=True)
    if half and cuda:
        model.half()
    return lambda texts: model.encode(list(texts), batch_size=32, normalize_embeddings=True, show_progress_bar=False)


def plain_reranker(folder: Path, *, half: bool, max_tokens: int) -> Callable[[Sequence[tuple[str, str]]], object]:
    """``CrossEncoder.predict(batch_size=32)``, likewise."""
    import torch
    from sentence_transformers import CrossEncoder

    cuda = torch.cuda.is_available()
    model = CrossEncoder(str(folder), device="cuda" if cuda else "cpu", local_files_only=True, max_length=max_tokens)
    if half and cuda:
        model.half()
    return lambda pairs: model.predict(list(pairs), batch_size=32, show_progress_bar=False)


def device_name() -> str:
    """What torch computes on."""
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "CPU"


def _tokenizer_folder(folder: Path, tokenizer: Path) -> Path:
    folder.mkdir(parents=True)
    shutil.copy(tokenizer, folder / "tokenizer.json")
    vocabulary: dict[str, int] = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    lines = sorted(vocabulary, key=lambda token: vocabulary[token])
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {
        "tokenizer_class": "BertTokenizerFast",
        "model_max_length": 512,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def _config(shape: Shape, **more: int) -> object:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=max(1, shape.width // 32),
        intermediate_size=shape.inner,
        max_position_embeddings=512,
        **more,
    )
