"""The models that other generations are made with: static vectors, and the small transformer."""

import json
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import InferenceUnavailable
from retrieval.inference import ModelStore, load_embedder
from retrieval.inference.model_files import WeightsFormat
from retrieval.inference.registry import MINILM, WORDLLAMA
from retrieval.inference.static_embedder import StaticEmbedder, read_table
from retrieval.inference.tokenizer import ModelTokenizer
from tests.support_models import model_cache

TEXTS = ["We adopted a greyhound called Biscuit.", "What is the dog called?", "The mitochondria produces ATP.", "x", ""]


@pytest.fixture(scope="module")
def store() -> ModelStore:
    store = ModelStore(model_cache())
    for spec in (MINILM, WORDLLAMA):
        store.pull(spec.name)
    return store


def test_a_static_vector_is_the_mean_of_its_tokens_rows(store: ModelStore) -> None:
    files = store.locate(WORDLLAMA.name)
    assert (files.format, files.name) == (WeightsFormat.STATIC, WORDLLAMA.name)
    model = load_embedder(files)
    assert isinstance(model, StaticEmbedder)
    assert (model.card.dimension, model.card.max_tokens) == (256, 1024)
    vectors = model.embed(TEXTS)
    assert vectors.shape == (5, 256)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    table = read_table(files.weights)
    (encoded,) = ModelTokenizer(files.tokenizer, special=False).encode(TEXTS[:1])
    mean = table[encoded.ids].astype(np.float64).mean(axis=0)
    assert np.allclose(vectors[0], mean / np.linalg.norm(mean), atol=1e-3)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert np.array_equal(model.embed(TEXTS[1:2])[0], vectors[1]), "whatever else is asked with it"


def test_what_is_longer_than_the_window_is_cut(store: ModelStore) -> None:
    model = load_embedder(store.locate(WORDLLAMA.name))
    long = "river stone heron " * 2_000
    assert np.allclose(model.embed([long])[0] @ model.embed([long + "mitochondria " * 500])[0], 1, atol=1e-6)


def test_the_small_transformer_knows_meaning_and_needs_no_torch(store: ModelStore) -> None:
    files = store.locate(MINILM.name)
    assert files.format is WeightsFormat.ONNX
    model = load_embedder(files, threads=1)
    vectors = model.embed(TEXTS[:3])
    assert (model.card.dimension, model.card.max_tokens, model.card.query_prefix) == (384, 256, "")
    # In full precision .54 and -.08; see docs/generations.md.
    assert vectors[0] @ vectors[1] == pytest.approx(0.54, abs=0.03)
    assert vectors[0] @ vectors[2] == pytest.approx(-0.08, abs=0.03)
    model.close()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}, "1 axes"),
        ({"a": {"dtype": "I8", "shape": [1, 2], "data_offsets": [0, 2]}}, "does not hold one table"),
        (
            {
                "a": {"dtype": "F16", "shape": [1, 1], "data_offsets": [0, 2]},
                "b": {"dtype": "F16", "shape": [1, 1], "data_offsets": [2, 4]},
            },
            "does not hold one table",
        ),
        ({}, "does not hold one table"),
    ],
)
def test_weights_that_are_no_table_are_refused(tmp_path: Path, header: dict[str, object], said: str) -> None:
    raw = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(8))
    with pytest.raises(InferenceUnavailable, match=said):
        read_table(path)
