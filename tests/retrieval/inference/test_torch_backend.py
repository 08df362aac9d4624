import sys
from pathlib import Path

import pytest

from retrieval.errors import InferenceUnavailable
from retrieval.inference import ModelFiles, load_embedder, load_reranker
from retrieval.inference.model_files import WeightsFormat, open_folder


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "tokenizer.json").write_text("{}")
    return open_folder(tmp_path, "someone/model", {})


def test_a_model_without_onnx_asks_for_the_extra(files: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.format is WeightsFormat.TORCH
    monkeypatch.setitem(sys.modules, "torch", None)
    for load in (load_embedder, load_reranker):
        with pytest.raises(InferenceUnavailable, match=r"pip install 'memoryd\[torch\]'"):
            load(files)
