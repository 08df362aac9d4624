from collections.abc import Iterator

import pytest

from retrieval.inference import ModelStore
from retrieval.inference.onnx_embedder import OnnxEmbedder
from retrieval.inference.onnx_reranker import OnnxReranker
from retrieval.inference.registry import BGE_SMALL, MS_MARCO_MINILM
from tests.support_models import ready_model_store


@pytest.fixture(scope="session")
def model_store() -> ModelStore:
    return ready_model_store()


@pytest.fixture(scope="session")
def embedder(model_store: ModelStore) -> Iterator[OnnxEmbedder]:
    model = OnnxEmbedder(model_store.locate(BGE_SMALL.name), threads=2)
    yield model
    model.close()


@pytest.fixture(scope="session")
def reranker(model_store: ModelStore) -> Iterator[OnnxReranker]:
    model = OnnxReranker(model_store.locate(MS_MARCO_MINILM.name), threads=2)
    yield model
    model.close()
