import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import InferenceUnavailable, ModelNotFound
from retrieval.inference import ModelStore, ModelTokenizer
from retrieval.inference.model_files import open_folder
from retrieval.inference.onnx_embedder import OnnxEmbedder
from retrieval.inference.onnx_reranker import OnnxReranker
from retrieval.inference.registry import BGE_SMALL, MS_MARCO_MINILM, Pooling

TEXTS = [
    "Caroline adopted a puppy from the shelter last week.",
    "hi",
    "The lease ends in August, and the landlord wants to raise the rent by ten percent if we sign again.",
    "¿Dónde está la biblioteca? 图书馆在哪里？ 😀",
    "",
    "notes " * 90,
]

# Run apart: it may have no more memory than it has taken already, until it may again.
_STARVED = """
import resource, sys
from pathlib import Path
from retrieval.inference import ModelStore, load_embedder

model = load_embedder(ModelStore(Path(sys.argv[1])).locate(sys.argv[2]), threads=1)
model.embed(["short"])
pages = int(Path("/proc/self/statm").read_text().split()[0])
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 4 * 2**20, before[1]))
try:
    model.embed(["word " * 510])
except BaseException as error:
    print(type(error).__name__, type(error.__cause__).__name__)
resource.setrlimit(resource.RLIMIT_AS, before)
print(model.embed(["word " * 510]).shape)
"""


def test_vectors_are_unit_float32(embedder: OnnxEmbedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert embedder.embed([]).shape == (0, 384)


@pytest.mark.parametrize(
    ("text", "paraphrase", "unrelated"),
    [
        ("She adopted a puppy.", "She got a young dog from the shelter.", "The interest rate rose again."),
        ("How do I reset my password?", "I forgot my login secret.", "A recipe for lentil soup"),
        ("They married in June.", "Their wedding was at the start of summer.", "The server ran out of memory."),
    ],
)
def test_a_paraphrase_is_nearer_than_something_else(embedder: OnnxEmbedder, text: str, paraphrase: str, unrelated: str) -> None:
    vectors = embedder.embed([text, paraphrase, unrelated])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1


def test_a_vector_does_not_depend_on_its_company_or_order(embedder: OnnxEmbedder) -> None:
    together = embedder.embed(TEXTS)
    backwards = embedder.embed(TEXTS[::-1])[::-1]
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together, backwards, atol=1e-6)


def test_a_vector_does_not_depend_on_the_number_of_threads(embedder: OnnxEmbedder, model_store: ModelStore) -> None:
    other = OnnxEmbedder(model_store.locate(BGE_SMALL.name), threads=1)
    np.testing.assert_allclose(other.embed(TEXTS), embedder.embed(TEXTS), atol=1e-5)
    other.close()


def test_text_beyond_the_window_is_cut_at_the_window(embedder: OnnxEmbedder) -> None:
    window = "word " * 510  # 512 with the special tokens
    vectors = embedder.embed([window, window + "and something entirely different " * 50])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_what_is_far_beyond_the_window_is_not_read(model_store: ModelStore) -> None:
    tokenizer = ModelTokenizer(model_store.locate(BGE_SMALL.name).tokenizer, max_tokens=16)
    blank, far = " " * (64 * 16 - 4), " " * 64 * 16
    assert [len(row) for row in tokenizer.encode([blank + "word", far + "word"])] == [3, 2]
    pairs = [("word", blank + "word"), ("word", far + "word"), (far + "word", "word")]
    assert [len(row) for row in tokenizer.encode_pairs(pairs)] == [5, 4, 4]
    assert len(tokenizer.encode(["word " * 10_000])[0]) == 16


def test_a_known_model_is_recognised_in_any_folder(model_store: ModelStore, tmp_path: Path) -> None:
    files = model_store.locate(BGE_SMALL.name)
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("model.onnx", "tokenizer.json", "config.json"):
        shutil.copy(files.folder / name, folder / name)
    found = model_store.locate(str(folder))
    assert found.name == BGE_SMALL.name
    assert found.revision == files.revision
    assert found.pooling is Pooling.CLS


def test_an_unknown_model_is_probed(model_store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = model_store.locate(BGE_SMALL.name)
    for name in ("tokenizer.json", "config.json"):
        shutil.copy(files.folder / name, tmp_path / name)
    # Trailing bytes of an unknown protobuf field: other bytes, the same graph.
    (tmp_path / "model.onnx").write_bytes(files.weights.read_bytes() + b"\xfa\x3f\x01x")
    found = model_store.locate(str(tmp_path))
    assert found.spec is None
    assert found.name == tmp_path.name
    assert found.revision != files.revision
    assert found.pooling is Pooling.MEAN
    assert found.max_tokens == 512
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 128}')
    pooled = model_store.locate(str(tmp_path))
    assert pooled.pooling is Pooling.CLS
    assert pooled.max_tokens == 128
    model, mean = OnnxEmbedder(pooled, threads=1), OnnxEmbedder(found, threads=1)
    assert model.card.dimension == mean.card.dimension == 384
    known = OnnxEmbedder(files, threads=1)
    np.testing.assert_allclose(model.embed(["a text"]), known.embed(["a text"]), atol=1e-6)
    for each in (model, mean, known):
        each.close()


LAST = '{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": false, "pooling_mode_lasttoken": true}'
DENSE = (
    '[{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]'
)


@pytest.mark.parametrize(
    ("pooling", "modules", "found"),
    [
        ('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false, "include_prompt": true}', "[]", Pooling.CLS),
        ('{"pooling_mode_mean_tokens": true}', DENSE.replace("Dense", "Normalize"), Pooling.MEAN),
        ('{"pooling_mode_mean_sqrt_len_tokens": true}', "{}", Pooling.MEAN),
        ('{"pooling_mode": "cls"}', '[{"type": "sentence_transformers.sentence_transformer.modules.Pooling"}]', Pooling.CLS),
        ('{"pooling_mode": ["mean"]}', "", Pooling.MEAN),
        ("", "", Pooling.MEAN),
        (LAST, "", "lasttoken"),
        ('{"pooling_mode": ["cls", "max"]}', "", "cls and max"),
        ('{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}', "", "mean and cls"),
        ('{"pooling_mode_mean_tokens": true}', DENSE, "Dense"),
    ],
)
def test_what_a_folder_asks_for_is_computed_or_refused(tmp_path: Path, pooling: str, modules: str, found: Pooling | str) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(pooling)
    (tmp_path / "modules.json").write_text(modules)
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    files = open_folder(tmp_path, "mine", {})
    if isinstance(found, Pooling):
        assert files.pooling is found
    else:
        with pytest.raises(InferenceUnavailable, match=found):
            _ = files.pooling


def test_how_a_folder_pools_counts_only_where_its_graph_does_not(model_store: ModelStore, tmp_path: Path) -> None:
    for known, refused in ((BGE_SMALL, True), (MS_MARCO_MINILM, False)):
        files = model_store.locate(known.name)
        folder = tmp_path / known.role
        (folder / "1_Pooling").mkdir(parents=True)
        (folder / "1_Pooling" / "config.json").write_text(LAST)
        shutil.copy(files.tokenizer, folder)
        (folder / "model.onnx").write_bytes(files.weights.read_bytes() + b"\xfa\x3f\x01x")
        found = model_store.locate(str(folder))
        if refused:
            with pytest.raises(InferenceUnavailable, match="lasttoken"):
                OnnxEmbedder(found, threads=1)
        else:
            OnnxEmbedder(found, threads=1).close()  # one logit: not of use, but a vector


def test_the_wrong_kind_of_model_is_refused(model_store: ModelStore) -> None:
    with pytest.raises(InferenceUnavailable, match="not a cross-encoder"):
        OnnxReranker(model_store.locate(BGE_SMALL.name), threads=1)
    with pytest.raises(InferenceUnavailable):
        OnnxEmbedder(model_store.locate(MS_MARCO_MINILM.name), threads=1)


def test_a_broken_file_is_said_to_be_broken(model_store: ModelStore, tmp_path: Path) -> None:
    shutil.copy(model_store.locate(BGE_SMALL.name).tokenizer, tmp_path / "tokenizer.json")
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(InferenceUnavailable, match="cannot be loaded"):
        OnnxEmbedder(model_store.locate(str(tmp_path)))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelNotFound, match=r"tokenizer\.json"):
        OnnxEmbedder(model_store.locate(str(tmp_path)))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded as Linux does")
def test_what_the_library_says_of_memory_is_understood(model_store: ModelStore) -> None:
    cache = model_store.locate(BGE_SMALL.name).folder.parent
    command = [sys.executable, "-c", _STARVED, str(cache), BGE_SMALL.name]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["MemoryError Fail", "(1, 384)"]
