"""The pure parts of the speed measurements, and the client's patience, without a service."""

import json
import os
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path

import httpx
import numpy as np
import pytest

from evals import quality
from evals.client import ApiError, Client, Recall, retry_after
from evals.datasets import Dataset, Document, Query
from evals.filtered import TOLERANCE, overlap
from evals.floor import FloorTiming
from evals.footprint import disk_mib, memory_mib
from evals.knowledge import warm
from evals.latency import Target, sequential, take
from evals.loading import Fields, Loaded, memory, space_name
from evals.options import PARTS, parse_bench
from evals.populate import batches, body, embedded_text
from evals.synthetic import BUCKETS, DAYS, SyntheticMemory, day, recombine, sentences
from evals.timing import summarise


def test_percentiles_interpolate() -> None:
    summary = summarise([float(value) for value in range(1, 102)])
    assert (summary.count, summary.p50, summary.p95, summary.p99) == (101, 51.0, 96.0, 100.0)
    with pytest.raises(ValueError, match="nothing was measured"):
        summarise([])


def test_a_few_measurements_are_not_all_taken_for_warming_up() -> None:
    assert [len(warm([1.0] * count)) for count in (0, 1, 6, 40, 200)] == [0, 1, 3, 20, 180]


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


def test_what_the_service_embeds_carries_the_date() -> None:
    dated = SyntheticMemory("s0-1", "It rained.", "b00", day(3) + timedelta(hours=12))
    assert embedded_text(dated) == "[12:00 pm on 4 March, 2025] It rained."
    assert embedded_text(replace(dated, event_time=None)) == "It rained."
    assert body(dated, "s")["event_time"] == "2025-03-04T12:00:00+00:00"


def test_a_percent_of_the_memories_happened_on_each_day() -> None:
    made = list(islice(recombine([f"Sentence number {number} here." for number in range(400)], seed=5), 20_000))
    counts = [
        sum(one.event_time is not None and day(number) <= one.event_time < day(number + 1) for one in made)
        for number in range(DAYS)
    ]
    assert 150 < min(counts) <= max(counts) < 250
    assert sum(one.event_time is None for one in made) == len(made) - sum(counts)


class Clocked:
    """A floor that notes when it was asked."""

    def __init__(self, order: list[str]) -> None:
        self.order = order

    async def recall(self, query: str) -> FloorTiming:
        self.order.append(f"floor {query}")
        return FloorTiming(embed=1.0, total=2.0)

    async def write(self, text: str) -> FloorTiming:
        self.order.append(f"floor {text}")
        return FloorTiming(embed=1.0, total=2.0)


async def test_service_and_floor_take_turns_and_what_is_degraded_is_counted() -> None:
    order: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        order.append(f"service {asked['query']}")
        assert (asked["arms"], asked["fusion"], asked["rerank"]) == (["dense", "lexical", "temporal"], "convex", "off")
        degraded = ["dense"] if asked["query"] == "c" else []
        return httpx.Response(200, json={"hits": [], "degraded": degraded, "timings_ms": {"total": 3}})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as pool:
        target = Target(Client("http://memoryd", "k", pool=pool), "s", Clocked(order))
        samples = await sequential([target], ["a", "b", "c"])
    assert order == ["service a", "floor a", "floor b", "service b", "service c", "floor c"]
    assert samples.degraded == 1
    assert samples.stages["floor"] == [2.0, 2.0, 2.0]
    assert samples.stages["total"] == [3.0, 3.0, 3.0]


async def test_a_degraded_answer_counts_as_nothing_found() -> None:
    dataset = Dataset("tiny", (), (Query("q1", "one", "", None), Query("q2", "two", "", None)), {}, {})

    def answer(request: httpx.Request) -> httpx.Response:
        degraded = ["lexical"] if json.loads(request.content)["query"] == "two" else []
        return httpx.Response(200, json={"hits": [{"id": "m", "text": "t", "score": 1.0}], "degraded": degraded})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as pool:
        loaded = Loaded(dataset, Client("http://memoryd", "k", pool=pool), {"": "s"}, {"m": "d"}, {"d": "t"}, {"d": "t"}, 0.0)
        outcome = await quality.run(loaded, quality.FUSED, dataset.queries)
    assert outcome.rankings == {"q1": ["d"], "q2": []}
    assert outcome.degraded == 1


def test_the_footprint_of_this_process_is_not_nothing(tmp_path: Path) -> None:
    (tmp_path / "half").write_bytes(b"x" * 2**19)
    assert disk_mib(tmp_path) == 0.5
    measured = memory_mib({"tests": os.getpid()})
    assert not measured or measured["tests"] > 1
    assert not measured or memory_mib({"gone": 2**30}) == {"gone": 0.0}


def test_the_command_line_of_the_bench() -> None:
    options, environment = parse_bench(["writes", "quality", "--sizes", "300,20", "--rerank-budget-ms", "5000"])
    assert options.parts == ("quality", "writes")
    assert options.sizes == (20, 300)
    assert environment == {"MEMORYD_RERANK_BUDGET_MS": "5000.0"}
    assert parse_bench([])[0].parts == PARTS
    assert parse_bench([])[1] == {}
    with pytest.raises(SystemExit, match="no part named"):
        parse_bench(["everything"])


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
