"""The inference benchmarks, each in its smallest form: that they measure what they say, not how much it is."""

from pathlib import Path

import pytest

from evals import inference, inference_gpu
from evals.inference_floor import Shape
from evals.inference_load import mixed_lengths, texts_of
from retrieval.inference import ModelTokenizer
from retrieval.inference.registry import BGE_SMALL
from tests.support_models import ready_model_store

POOL = ["The lake was quiet that morning, and the boats lay low.", "She walked to town with her brother.", "It rained!"]


@pytest.fixture(scope="module")
def load() -> inference.Load:
    files = ready_model_store().locate(BGE_SMALL.name)
    tokenizer = ModelTokenizer(files.tokenizer)
    lengths = mixed_lengths(12, seed=1, longest=40)
    texts = texts_of(lengths, POOL, tokenizer, seed=1)
    return inference.Load(files, texts, lengths, POOL, texts)


PLAN = inference.Plan(texts=12, rounds=1, seconds=0.2, clients=4, deadline_s=0.5, threads=1)


def test_texts_have_the_lengths_that_were_asked_for(load: inference.Load) -> None:
    tokenizer = ModelTokenizer(load.files.tokenizer, max_tokens=512)
    assert [len(row) for row in tokenizer.encode(load.texts)] == list(load.tokens)
    assert min(load.tokens) >= 8
    assert load.texts == texts_of(load.tokens, POOL, tokenizer, seed=1)


async def test_throughput_is_compared_with_the_bare_library(load: inference.Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "HAS_TORCH", False)  # a model of the full size would be made
    table = await inference.throughput(load, PLAN)
    assert [str(row[0]).split(",")[0] for row in table.rows] == ["bare ONNX Runtime", "runtime", "runtime"]
    assert table.rows[0][2] == 1.0
    assert all(isinstance(row[1], float) and row[1] > 0 for row in table.rows)
    assert "not installed" in table.note


async def test_questions_are_measured_alone_and_beside_a_job(load: inference.Load) -> None:
    rows = {str(row["what"]): row for row in (await inference.fairness(load, PLAN)).records()}
    assert rows["questions alone"]["p95 of alone"] == 1.0
    counts = [rows[name]["questions"] for name in ("questions alone", "questions beside the job")]
    assert all(isinstance(count, int) and count > 0 for count in counts)
    assert rows["questions alone"]["job, texts/s"] == 0.0


async def test_an_overload_tells_what_became_of_every_request(load: inference.Load) -> None:
    (row,) = (await inference.overload(load, PLAN)).records()
    assert isinstance(row["done"], int)
    assert row["done"] > 0
    assert row["offered"] == pytest.approx(3 * float(row["capacity, tokens/s"] or 0))


async def test_the_gpu_benchmark_on_a_cpu(load: inference.Load) -> None:
    pytest.importorskip("sentence_transformers")
    tiny = Shape(layers=1, width=32, inner=64)
    plan = inference_gpu.Plan(texts=2, pairs=2, requests=3, clients=(1, 2), peak_tflops=1.0, shapes=(tiny, tiny))
    embedding, reranking = await inference_gpu.measure(plan, load.files.tokenizer, POOL)
    for table in (embedding, reranking):
        assert [row[0] for row in table.rows] == [1, 1, 2, 2]
        assert all(isinstance(row[2], float) and row[2] > 0 for row in table.rows)
        assert [row[3] for row in table.rows][::2] == [1.0, 1.0]
        assert "On " in table.note


def test_an_unknown_part_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        inference.main(["--out", str(tmp_path), "nonsense"])
    assert "no part named 'nonsense'" in capsys.readouterr().err
