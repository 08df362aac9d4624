"""The runtime's rules on scripted backends that can be held, and its results on the real models."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from retrieval.errors import InferenceError, InferenceUnavailable
from retrieval.inference import BatchLimits, InferenceRuntime, ModelStore, RuntimeLimits, load_embedder, load_reranker
from retrieval.inference.onnx_embedder import OnnxEmbedder
from retrieval.inference.onnx_reranker import OnnxReranker
from retrieval.inference.registry import BGE_SMALL, MS_MARCO_MINILM
from retrieval.inference.tokenizer import Encoding
from retrieval.ports import Embedder, Lane, Reranker
from retrieval.vectors import Vectors
from tests.retrieval.inference.held import HeldEmbedder, LengthReranker, StagedHeldEmbedder, TwofoldEmbedder, held, running, spawn


async def test_prefixes_order_and_one_thread() -> None:
    backend = HeldEmbedder()
    async with running(backend) as runtime:
        texts = ["x" * n for n in (5, 1, 300, 2, 40)]
        passages = await runtime.embed_passages(texts)
        queries = await runtime.embed_queries(texts)
        assert [int(v) for v in passages[:, 0]] == [len(text) + 2 for text in texts]
        assert np.array_equal(passages, queries)
        assert {text[:2] for batch in backend.batches for text in batch} == {"p:", "q:"}
        assert (await runtime.embed_queries([])).shape == (0, 2)
        assert await runtime.score("q", []) == []
        assert runtime.card is backend.card
        assert runtime.healthy
        assert runtime.has_reranker
    assert backend.threads == {"memoryd-inference"}
    assert backend.closed
    assert not runtime.healthy


async def test_concurrent_queries_go_together() -> None:
    backend = HeldEmbedder()
    async with running(backend) as runtime:
        async with held(backend, runtime):
            tasks = spawn(*(runtime.embed_queries([f"text {n}"]) for n in range(10)))
            await asyncio.sleep(0.02)
        await asyncio.gather(*tasks)
        assert [len(batch) for batch in backend.batches] == [1, 10]


async def test_batches_keep_to_items_and_tokens() -> None:
    backend = HeldEmbedder()
    async with running(backend, RuntimeLimits(batch=BatchLimits(items=4, tokens=100))) as runtime:
        await runtime.embed_passages(["short"] * 10)
        await runtime.embed_passages(["x" * 320] * 3)
        assert [len(batch) for batch in backend.batches] == [4, 4, 2, 1, 1, 1]


async def test_a_question_waits_at_most_one_bulk_batch_and_bulk_goes_on() -> None:
    backend = HeldEmbedder()
    async with running(backend, RuntimeLimits(batch=BatchLimits(items=1))) as runtime:
        async with held(backend, runtime):
            bulk = asyncio.ensure_future(runtime.embed_passages([f"bulk {n}" for n in range(20)]))
            await asyncio.sleep(0.01)
            questions = [asyncio.ensure_future(runtime.embed_queries([f"{n}"])) for n in range(40)]
            await asyncio.sleep(0.01)
        await asyncio.gather(bulk, *questions)
        kinds = "".join(text[0] for batch in backend.batches[1:] for text in batch)
        assert kinds.startswith("q" * 6)
        busy = kinds[: kinds.rindex("q") + 1]
        assert busy.count("p") >= len(busy) // 9
        assert busy.count("p") <= len(busy) // 7


async def test_an_interactive_write_does_not_queue_behind_bulk() -> None:
    backend = HeldEmbedder()
    async with running(backend, RuntimeLimits(batch=BatchLimits(items=1))) as runtime:
        async with held(backend, runtime):
            tasks = spawn(runtime.embed_passages(["a", "b", "c"]), runtime.embed_passages(["now"], lane=Lane.INTERACTIVE))
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        assert backend.batches[1] == ["p:now"]


async def test_reranking_is_not_blocked_behind_bulk_nor_questions_behind_reranking() -> None:
    backend = HeldEmbedder()
    async with running(backend, RuntimeLimits(batch=BatchLimits(items=1))) as runtime:
        async with held(backend, runtime):
            bulk = asyncio.ensure_future(runtime.embed_passages(["bulk"] * 30))
            await asyncio.sleep(0.01)
            scores = asyncio.ensure_future(runtime.score("why", ["x" * n for n in range(6)]))
            question = asyncio.ensure_future(runtime.embed_queries(["what"]))
            await asyncio.sleep(0.01)
        assert await scores == pytest.approx([n / 1000 for n in range(6)])
        await asyncio.gather(question, bulk)
        order = [batch[0][:3] for batch in backend.batches[1:]]
        assert order.index("q:w") <= 1
        assert order[:8].count("why") == 6


async def test_one_poisoned_text_fails_alone() -> None:
    backend = HeldEmbedder()
    async with running(backend) as runtime:
        async with held(backend, runtime):
            tasks = spawn(
                *(runtime.embed_queries([f"fine {n}"]) for n in range(6)),
                runtime.embed_queries(["fine", "poison"]),
                *(runtime.embed_queries([f"fine {n}"]) for n in range(6)),
            )
            await asyncio.sleep(0.02)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert len(failed) == 1
        assert isinstance(outcomes[6], InferenceError)
        assert "input 2 of 2" in str(outcomes[6])
        assert isinstance(outcomes[6].__cause__, ValueError)
        assert runtime.healthy


async def test_closing_fails_what_waits_and_refuses_what_comes() -> None:
    backend = HeldEmbedder()
    runtime = InferenceRuntime(lambda: backend)
    await runtime.start()
    async with held(backend, runtime):
        waiting = spawn(*(runtime.embed_passages(["never"] * 50) for _ in range(3)))
        await asyncio.sleep(0.01)
        closing = asyncio.ensure_future(runtime.close())
        await asyncio.sleep(0.01)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    await closing
    assert all(isinstance(outcome, InferenceUnavailable) for outcome in outcomes)
    with pytest.raises(InferenceUnavailable):
        await runtime.embed_queries(["late"])
    await runtime.close()
    await runtime.start()
    assert (await runtime.embed_queries(["again"])).shape == (1, 2)
    assert not runtime.has_reranker
    with pytest.raises(InferenceUnavailable, match="reranker"):
        await runtime.score("q", ["p"])
    await runtime.close()


async def test_when_the_thread_dies_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    died = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda args: died.set())
    backend = HeldEmbedder()
    async with running(backend) as runtime:
        async with held(backend, runtime):
            tasks = spawn(runtime.embed_queries(["deadly"]), runtime.embed_passages(["after"]))
            await asyncio.sleep(0.01)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, InferenceUnavailable) for outcome in outcomes)
        assert not runtime.healthy
        assert await asyncio.to_thread(died.wait, 5)


@pytest.mark.parametrize("error", [InferenceUnavailable("no weights"), MemoryError()])
async def test_what_loading_raises_start_raises(error: Exception) -> None:
    backend = HeldEmbedder()

    def broken() -> LengthReranker:
        raise error

    runtime = InferenceRuntime(lambda: backend, broken)
    with pytest.raises(type(error)):
        await runtime.start()
    assert backend.closed
    assert not runtime.healthy
    with pytest.raises(InferenceUnavailable):
        _ = runtime.card


async def test_the_estimate_grows_with_work_and_with_what_waits() -> None:
    backend = HeldEmbedder(pause_s=0.01)
    async with running(backend) as runtime:
        await runtime.score("q", ["passage " * 20] * 10)
        few, many = (runtime.estimate_ms("q", ["passage " * 20] * n) for n in (5, 50))
        assert 0 < few < many
        assert many == pytest.approx(10 * few)
        assert runtime.estimate_ms("q", []) == 0.0
        async with held(backend, runtime):
            waiting = asyncio.ensure_future(runtime.score("q", ["passage " * 20] * 10))
            await asyncio.sleep(0.01)
            assert runtime.estimate_ms("q", ["passage " * 20] * 5) > 2 * few
        await waiting


async def test_the_event_loop_is_never_blocked() -> None:
    backend = HeldEmbedder(pause_s=0.02)
    async with running(backend) as runtime:
        work = asyncio.ensure_future(runtime.embed_passages(["text " * 50] * 300))
        worst = 0.0
        while not work.done():
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - started)
        assert worst < 0.2


async def test_the_real_models_through_the_runtime(
    model_store: ModelStore, embedder: OnnxEmbedder, reranker: OnnxReranker
) -> None:
    embedding, reranking = model_store.locate(BGE_SMALL.name), model_store.locate(MS_MARCO_MINILM.name)
    runtime = InferenceRuntime(lambda: load_embedder(embedding, threads=2), lambda: load_reranker(reranking, threads=2))
    as_embedder: Embedder = runtime
    as_reranker: Reranker = runtime
    await runtime.start()
    try:
        texts = [f"note {n} about " + "the lake " * (n % 7) for n in range(24)]
        vectors, *singles = await asyncio.gather(
            as_embedder.embed_passages(texts), *(as_embedder.embed_queries([text]) for text in texts[:6])
        )
        np.testing.assert_allclose(vectors, embedder.embed(texts), atol=1e-5)
        questions = [as_embedder.card.query_prefix + text for text in texts[:6]]
        np.testing.assert_allclose(np.concatenate(singles), embedder.embed(questions), atol=1e-5)
        scores = await as_reranker.score("which lake?", texts)
        assert scores == pytest.approx(reranker.score([("which lake?", text) for text in texts]), abs=1e-5)
        assert as_reranker.estimate_ms("which lake?", texts) > 0
        assert as_embedder.card.dimension == 384
    finally:
        await runtime.close()


async def test_the_next_batch_is_tokenised_and_padded_by_another_thread_while_one_runs() -> None:
    backend = StagedHeldEmbedder()
    async with running(backend) as runtime:
        backend.events.clear()
        backend.gate.clear()
        backend.prepared.clear()
        (first,) = spawn(runtime.embed_queries(["x"]))  # three characters with the prefix
        assert await asyncio.to_thread(backend.prepared.wait, 5)
        backend.prepared.clear()
        (second,) = spawn(runtime.embed_queries(["xx"]))
        assert await asyncio.to_thread(backend.prepared.wait, 5)
        assert backend.events == [
            ("encode", "memoryd-inference", (3,)),
            ("prepare", "memoryd-inference", (3,)),
            ("encode", "memoryd-inference-ahead", (4,)),
            ("prepare", "memoryd-inference-ahead", (4,)),
        ]
        backend.gate.set()
        await asyncio.gather(first, second)
        assert backend.events[4:] == [("run", "memoryd-inference", (3,)), ("run", "memoryd-inference", (4,))]


async def test_a_backend_says_how_large_its_batches_may_be() -> None:
    backend = StagedHeldEmbedder()
    async with running(backend) as runtime:
        backend.events.clear()
        await runtime.embed_passages(["x", "y", "z"])
        assert [lengths for what, _, lengths in backend.events if what == "run"] == [(3, 3), (3,)]


async def test_readiness_comes_after_a_run_of_the_largest_shapes_and_with_less_memory_of_smaller_ones() -> None:
    backend = HeldEmbedder()
    runtime = InferenceRuntime(lambda: backend, limits=RuntimeLimits(batch=BatchLimits(items=4, tokens=2048)))
    backend.gate.clear()
    starting = asyncio.ensure_future(runtime.start())
    await asyncio.sleep(0.02)
    ready = [runtime.healthy, starting.done()]
    backend.gate.set()
    await starting
    assert [*ready, runtime.healthy] == [False, False, True]
    shapes = [(len(batch), min(map(len, batch))) for batch in backend.batches]
    assert shapes[0][0] == 4, "as many texts of the window as a batch may hold"
    assert shapes[0][1] >= 4 * 512
    await runtime.close()

    small = StagedHeldEmbedder()
    small.memory = 3_000  # characters, not even two texts of the window
    runtime = InferenceRuntime(lambda: small, limits=RuntimeLimits(batch=BatchLimits(items=4, tokens=2048)))
    await runtime.start()
    small.events.clear()
    await runtime.embed_passages(["x" * 398] * 8)
    assert max(len(lengths) for what, _, lengths in small.events if what == "run") == 1
    await runtime.close()


@pytest.mark.parametrize("padded", [False, True])
async def test_what_memory_sufficed_for_bounds_larger_runs_too(padded: bool) -> None:
    backend = TwofoldEmbedder()
    backend.padded = backend.other.padded = padded
    backend.memory = backend.other.memory = 3_000
    async with running(backend, RuntimeLimits(batch=BatchLimits(items=4, tokens=2048))) as runtime:
        for model in (backend, backend.other):
            model.events.clear()
        await runtime.embed_queries(["x" * 398] * 8)
        await runtime.embed_passages(["x" * 398] * 8)
        for model in (backend, backend.other):
            assert [len(lengths) for what, _, lengths in model.events if what == "run"] == [1] * 8


async def test_bulk_has_a_thread_of_its_own_where_the_model_comes_in_two() -> None:
    backend = TwofoldEmbedder()
    async with running(backend) as runtime:
        backend.other.gate.clear()
        (bulk,) = spawn(runtime.embed_passages(["bulk"] * 20))
        assert (await runtime.embed_queries(["no batch is in front of it"])).shape == (1, 2)
        assert not bulk.done()
        backend.other.gate.set()
        assert (await bulk).shape == (20, 2)
        ran = {name for what, name, _ in backend.other.events if what == "run"}
        assert ran == {"memoryd-inference-bulk"}
        (never,) = spawn(runtime.embed_passages(["never"] * 500))
    with pytest.raises(InferenceUnavailable):
        await never
    assert backend.closed
    assert backend.other.closed
    assert not runtime.healthy


async def test_when_the_thread_of_bulk_dies_nobody_waits_for_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    backend = TwofoldEmbedder()

    def deadly(rows: Sequence[Encoding]) -> Callable[[], Vectors]:
        raise SystemExit

    monkeypatch.setattr(backend.other, "prepare", deadly)
    async with running(backend) as runtime:
        with pytest.raises(InferenceUnavailable):
            await runtime.embed_passages(["deadly"])
        assert not runtime.healthy
        with pytest.raises(InferenceUnavailable):
            await runtime.embed_queries(["after"])


class Rowwise(StagedHeldEmbedder):
    """Computes rows by themselves, on so many threads."""

    padded = False
    limits = BatchLimits(items=8, tokens=512)

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.rows_at_once = threads


@pytest.mark.parametrize(("threads", "most"), [(1, 1), (2, 1), (4, 2), (5, 2)])
async def test_what_is_in_the_background_leaves_half_of_the_threads(threads: int, most: int) -> None:
    backend, texts = TwofoldEmbedder(), ["x" * (n + 1) for n in range(7)]
    backend.other = second = Rowwise(threads)
    async with running(backend) as runtime:
        sizes = {}
        for lane in (Lane.BACKGROUND, Lane.BULK):
            second.events.clear()
            vectors, _ = await asyncio.gather(*(runtime.embed_passages(texts, lane=lane) for _ in range(2)))
            assert [int(row[0]) for row in vectors] == [3, 4, 5, 6, 7, 8, 9], "in order, each behind its prefix"
            sizes[lane] = [len(lengths) for what, _, lengths in second.events if what == "run"]
    assert (max(sizes[Lane.BACKGROUND]), sum(sizes[Lane.BACKGROUND])) == (most, 14)
    assert (max(sizes[Lane.BULK]), sum(sizes[Lane.BULK])) >= (7, 14)


async def test_texts_that_run_together_do_so_in_the_background_too() -> None:
    backend = TwofoldEmbedder()  # pads: a row alone would waste a run
    async with running(backend) as runtime:
        backend.other.events.clear()
        await runtime.embed_passages(["a", "b"], lane=Lane.BACKGROUND)
    assert [lengths for what, _, lengths in backend.other.events if what == "run"] == [(3, 3)]


async def test_in_the_background_it_rests_as_long_as_it_worked_while_others_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, rested = TwofoldEmbedder(), list[float]()
    backend.other = Rowwise(2)
    asked = False

    async def rest(seconds: float) -> None:
        rested.append(seconds)

    async with running(backend) as runtime:
        monkeypatch.setattr("retrieval.inference.rank._asked", lambda: asked)
        monkeypatch.setattr("retrieval.inference.runtime._rest", rest)
        await runtime.embed_passages(["a", "b"], lane=Lane.BACKGROUND)
        assert not rested
        asked = True
        await runtime.embed_passages(["a", "b"], lane=Lane.BULK)
        assert not rested
        await runtime.embed_passages(["a", "b"], lane=Lane.BACKGROUND)
    assert len(rested) == 2
    assert all(seconds > 0 for seconds in rested)
