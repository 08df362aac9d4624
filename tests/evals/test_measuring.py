"""The pure parts of the speed measurements, and the client's patience, without a service."""

from itertools import islice

import httpx
import numpy as np
import pytest

from evals.client import ApiError, Client, Recall, retry_after
from evals.datasets import Document
from evals.filtered import TOLERANCE, overlap
from evals.latency import take
from evals.loading import Fields, memory, space_name
from evals.populate import batches, body
from evals.synthetic import BUCKETS, recombine, sentences
from evals.timing import summarise


def test_percentiles_interpolate() -> None:
    summary = summarise([float(value) for value in range(1, 102)])
    assert (summary.count, summary.p50, summary.p95, summary.p99) == (101, 51.0, 96.0, 100.0)
    with pytest.raises(ValueError, match="nothing was measured"):
        summarise([])


def test_synthetic_memories_are_distinct_reproducible_and_evenly_labelled() -> None:
    pool = [f"Sentence number {number} says something of its own." for number in range(400)]
    made = list(islice(recombine(pool, seed=3), 20_000))
    assert len({one.text for one in made}) == len({one.id for one in made}) == 20_000
    assert made[:50] == list(islice(recombine(pool, seed=3), 50))
    assert made[:50] != list(islice(recombine(pool, seed=4), 50))
    counts = [sum(one.bucket == f"b{number:02d}" for one in made) for number in range(BUCKETS)]
    assert 130 < min(counts) <= max(counts) < 270


def test_sentences_are_cut_at_their_ends_and_kept_once() -> None:
    text = "This first sentence is long enough. Short. Is this second sentence long enough?"
    assert sentences([text, text]) == ["This first sentence is long enough.", "Is this second sentence long enough?"]


def test_overlap_forgives_only_near_ties() -> None:
    cosines = {"a": 0.9, "b": 0.8, "c": 0.8 - TOLERANCE / 2, "d": 0.1}
    exact = overlap(["a", "b"], cosines, k=2)
    assert (exact.strict, exact.tolerant, exact.returned) == (1.0, 1.0, 2)
    near = overlap(["a", "c"], cosines, k=2)
    assert (near.strict, near.tolerant) == (0.5, 1.0)
    wrong = overlap(["a", "d"], cosines, k=2)
    assert (wrong.strict, wrong.tolerant) == (0.5, 0.5)
    foreign = overlap(["a", "outside the filter"], cosines, k=2)
    assert (foreign.strict, foreign.tolerant) == (0.5, 0.5)
    assert overlap(["a", "a"], cosines, k=2).tolerant == 0.5


def test_overlap_of_the_exact_answer_is_one() -> None:
    values = np.random.default_rng(0).normal(size=300)
    cosines = {f"m{number}": float(value) for number, value in enumerate(values)}
    best = [f"m{number}" for number in np.argsort(-values)[:10]]
    assert overlap(best, cosines).strict == 1.0


def test_questions_are_never_used_twice() -> None:
    questions = iter(["a", "b", "c"])
    assert take(questions, 2) == ["a", "b"]
    with pytest.raises(ValueError, match="used up"):
        take(questions, 2)


def test_documents_as_requests() -> None:
    document = Document("conv-1|D1:1", "Hi", "conv-1", "conv-1|S1", None)
    rich = {"text": "Hi", "space": "s", "external_id": "conv-1|D1:1", "session_id": "conv-1|S1"}
    assert memory(document, "s", Fields.RICH) == rich
    assert memory(document, "s", Fields.NEUTRAL) == {"text": "Hi", "space": "s", "external_id": "conv-1|D1:1"}
    assert space_name("bench", "locomo-dev", "conv-1") == "bench-locomo-dev-conv-1"
    assert space_name("bench", "scifact-train", "") == "bench-scifact-train"


def test_batches_are_complete() -> None:
    made = list(islice(recombine(["One sentence.", "Another one.", "A third."], seed=0), 7))
    assert [len(batch) for batch in batches(made, 3)] == [3, 3, 1]
    assert body(made[0], "s")["metadata"] == {"bucket": made[0].bucket}


@pytest.mark.parametrize(("value", "seconds"), [("2", 2.0), ("0.5", 0.5), ("600", 30.0), ("-1", 0.0), ("soon", 1.0)])
def test_how_long_to_wait(value: str, seconds: float) -> None:
    assert retry_after(httpx.Response(503, headers={"Retry-After": value})) == seconds


async def test_the_client_waits_and_asks_again() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) < 3:
            return httpx.Response(429 if len(asked) == 1 else 503, headers={"Retry-After": "0"})
        return httpx.Response(200, json={"hits": [{"id": "1", "text": "t", "score": 1.0}], "timings_ms": {"total": 3}})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as pool:
        found = await Client("http://memoryd/", "k", pool=pool).recall(Recall("q", "s", arms=("dense",)))
    assert [hit.id for hit in found.hits] == ["1"]
    assert found.timings_ms == {"total": 3.0}
    assert len(asked) == 3
    assert asked[0].headers["Authorization"] == "Bearer k"
    assert str(asked[0].url) == "http://memoryd/v1/recall"


async def test_a_refusal_carries_the_problem_and_a_conflict_on_a_space_is_fine() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        status = 409 if request.url.path == "/v1/spaces" else 422
        return httpx.Response(status, json={"code": "invalid"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as pool:
        client = Client("http://memoryd", "k", pool=pool)
        await client.create_space("there already")
        with pytest.raises(ApiError, match="422"):
            await client.write([{"text": ""}])
