import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import InferenceUnavailable
from retrieval.inference import InferenceRuntime, ModelFiles, load_embedder, load_reranker
from retrieval.inference.backends import StagedEmbedder, StagedReranker
from retrieval.inference.model_files import WeightsFormat, open_folder
from retrieval.inference.torch_backend import TorchEmbedder
from tests.retrieval.inference import tiny_torch
from tests.retrieval.inference.tiny_torch import WORDS


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


TEXTS = [" ".join(WORDS[:n]) for n in (1, 3, 17, 9)] + ["", "lake " * 200]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelFiles, ModelFiles]:
    pytest.importorskip("sentence_transformers")
    folder = tmp_path_factory.mktemp("models")
    made = tiny_torch.embedder_at(folder), tiny_torch.reranker_at(folder)
    embedder, reranker = (open_folder(path, f"tiny/{path.name}", {}) for path in made)
    return embedder, reranker


def test_vectors_are_those_of_sentence_transformers(models: tuple[ModelFiles, ModelFiles]) -> None:
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(models[0].folder), device="cpu", local_files_only=True)
    expected = plain.encode(TEXTS, prompt="", normalize_embeddings=True)
    embedder = load_embedder(models[0], threads=1)
    assert isinstance(embedder, StagedEmbedder)
    assert embedder.padded
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
    assert embedder.embed([]).shape == (0, 32)
    assert (embedder.card.dimension, embedder.card.max_tokens) == (32, 64)
    assert (embedder.card.query_prefix, embedder.card.passage_prefix) == ("the query ", "")
    assert max(len(row) for row in embedder.encode(TEXTS)) == 64
    embedder.close()


def test_scores_are_those_of_the_cross_encoder(models: tuple[ModelFiles, ModelFiles]) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    plain = CrossEncoder(str(models[1].folder), device="cpu", local_files_only=True, max_length=32)
    pairs = [("the lake", text) for text in TEXTS]
    expected = plain.predict(pairs, activation_fn=torch.nn.Sigmoid())
    reranker = load_reranker(models[1], threads=1, max_pair_tokens=32)
    assert isinstance(reranker, StagedReranker)
    assert reranker.max_pair_tokens == 32
    assert reranker.score(pairs) == pytest.approx(list(expected), abs=1e-5)
    assert reranker.score([]) == []
    reranker.close()


async def test_both_through_the_runtime(models: tuple[ModelFiles, ModelFiles]) -> None:
    embedder, reranker = load_embedder(models[0], threads=1), load_reranker(models[1], threads=1)
    runtime = InferenceRuntime(lambda: embedder, lambda: reranker)
    await runtime.start()
    try:
        vectors = await runtime.embed_passages(TEXTS)
        np.testing.assert_allclose(vectors, embedder.embed(TEXTS), atol=1e-5)
        questions = await runtime.embed_queries(TEXTS[:2])
        np.testing.assert_allclose(questions, embedder.embed(["the query " + text for text in TEXTS[:2]]), atol=1e-5)
        scores = await runtime.score("the lake", TEXTS)
        assert scores == pytest.approx(reranker.score([("the lake", text) for text in TEXTS]), abs=1e-5)
    finally:
        await runtime.close()


def test_too_little_memory_on_the_device_is_said_as_python_says_it(
    models: tuple[ModelFiles, ModelFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    embedder = load_embedder(models[0], threads=1)
    assert isinstance(embedder, TorchEmbedder)

    for error, understood in (
        (torch.OutOfMemoryError("CUDA out of memory"), MemoryError),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), MemoryError),
        (RuntimeError("CUDA error: device-side assert triggered"), RuntimeError),
    ):

        def failing(features: object, error: Exception = error) -> object:
            raise error

        monkeypatch.setattr(embedder, "_model", failing)
        with pytest.raises(understood):
            embedder.embed(["the lake"])


def test_weights_that_are_not_safetensors_and_code_of_the_folder_are_refused(
    models: tuple[ModelFiles, ModelFiles], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(models[0].folder, broken)
    (broken / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(InferenceUnavailable, match="cannot be loaded"):
        load_embedder(open_folder(broken, "broken", {}))
    embedder = models[0]
    with pytest.raises(InferenceUnavailable):
        load_reranker(replace(embedder, folder=broken))
