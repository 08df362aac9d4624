"""Who is let in, who is refused, and whose time is over."""

import asyncio
from uuid import UUID

import pytest

from retrieval.errors import BatchTooLarge, InferenceOverloaded, InferenceTimeout
from retrieval.inference import BatchLimits, RuntimeLimits
from retrieval.ports import Lane
from tests.retrieval.inference.held import HeldEmbedder, TwofoldEmbedder, held, running, spawn


async def test_overload_refuses_whole_calls_and_says_when_to_return() -> None:
    backend = HeldEmbedder()
    limits = RuntimeLimits(bulk_tokens=200, interactive_tokens=100, rerank_tokens=100)
    async with running(backend, limits) as runtime:
        async with held(backend, runtime):
            admitted = spawn(runtime.embed_passages(["x" * 400] * 3))  # 309 tokens, into an empty lane
            await asyncio.sleep(0.01)
            with pytest.raises(InferenceOverloaded) as refused:
                await runtime.embed_passages(["y"])
            assert refused.value.retry_after_s is not None
            assert refused.value.retry_after_s >= 0.1
            waiting = spawn(runtime.embed_queries(["a question still gets in"]))
            await asyncio.sleep(0.01)
        await asyncio.gather(*admitted, *waiting)
        assert all("y" not in text for batch in backend.batches for text in batch)
        assert (await runtime.embed_passages(["y"])).shape == (1, 2)


async def test_a_cancelled_call_is_skipped_and_gives_its_place_back() -> None:
    backend = HeldEmbedder()
    async with running(backend, RuntimeLimits(bulk_tokens=200)) as runtime:
        async with held(backend, runtime):
            (abandoned,) = spawn(runtime.embed_passages(["gone " * 200]))
            await asyncio.sleep(0.01)
            abandoned.cancel()
            with pytest.raises(asyncio.CancelledError):
                await abandoned
            (kept,) = spawn(runtime.embed_passages(["kept " * 100]))
            await asyncio.sleep(0.01)
        assert (await kept).shape == (1, 2)
        assert not any("gone" in text for batch in backend.batches for text in batch)


async def test_a_call_cancelled_halfway_stops_there() -> None:
    backend = HeldEmbedder(pause_s=0.005)
    async with running(backend, RuntimeLimits(batch=BatchLimits(items=1))) as runtime:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await runtime.embed_passages(["text"] * 1000)
        await runtime.embed_queries(["next"])
        assert len(backend.batches) < 200


async def test_owners_take_turns_in_a_lane() -> None:
    """A tenant's burst of questions is in front of another's one question by a batch, not by the burst."""
    burst, other = UUID(int=1), UUID(int=2)
    backend = HeldEmbedder()
    async with running(backend, RuntimeLimits(batch=BatchLimits(items=4, tokens=512))) as runtime:
        async with held(backend, runtime):
            tasks = spawn(*(runtime.embed_queries([f"burst {n}"], owner=burst) for n in range(40)))
            await asyncio.sleep(0.02)
            tasks += spawn(runtime.embed_queries(["the other's"], owner=other))
            await asyncio.sleep(0.02)
        await asyncio.gather(*tasks)
        assert "q:the other's" in backend.batches[1], "the first batch after the one that ran"


async def test_one_owner_cannot_fill_a_lane() -> None:
    greedy, other = UUID(int=1), UUID(int=2)
    backend = HeldEmbedder()
    async with running(backend, RuntimeLimits(interactive_tokens=1000)) as runtime:
        async with held(backend, runtime):
            tasks = spawn(runtime.embed_queries(["x" * 1600], owner=greedy))  # about 400 tokens
            await asyncio.sleep(0.02)
            with pytest.raises(InferenceOverloaded) as refused:
                await runtime.embed_queries(["x" * 1600], owner=greedy)
            assert refused.value.retry_after_s is not None
            tasks += spawn(runtime.embed_queries(["x" * 1600], owner=other))
            await asyncio.sleep(0.02)
            assert not any(task.done() for task in tasks)
        await asyncio.gather(*tasks)
        assert (await runtime.embed_queries(["x" * 1600], owner=greedy)).shape == (1, 2), "what is done is given back"


async def test_a_load_that_can_never_be_done_in_time_is_refused_for_good() -> None:
    backend = HeldEmbedder(pause_s=0.01)
    async with running(backend, RuntimeLimits(longest_s=1.0)) as runtime:
        backend.batches.clear()
        with pytest.raises(BatchTooLarge, match="split") as caught:
            await runtime.embed_passages(["x" * 2_000] * 2_000)
        assert not caught.value.retryable
        assert backend.batches == []
        assert len(await runtime.embed_passages(["x" * 20] * 20)) == 20
        assert len(await runtime.embed_passages(["x" * 200] * 3, lane=Lane.INTERACTIVE)) == 3


async def test_a_call_ends_when_its_time_is_over() -> None:
    backend = HeldEmbedder()
    async with running(backend) as runtime:
        async with held(backend, runtime):
            with pytest.raises(InferenceTimeout) as late:
                await runtime.embed_queries(["late"], timeout_s=0.02)
            assert late.value.retryable
            with pytest.raises(InferenceTimeout):
                await runtime.score("why", ["late"], timeout_s=0.02)
            (waiting,) = spawn(runtime.embed_passages(["kept"], timeout_s=30.0))
            await asyncio.sleep(0.01)
        assert (await waiting).shape == (1, 2)
        assert not any("late" in text for batch in backend.batches for text in batch)


async def test_what_cannot_be_done_in_time_is_refused_before_it_waits() -> None:
    backend = HeldEmbedder(pause_s=0.01)
    async with running(backend) as runtime:
        await asyncio.gather(*(runtime.embed_queries(["x" * 400] * 5) for _ in range(8)))  # about 500 tokens in 10 ms
        async with held(backend, runtime):
            tasks = spawn(runtime.embed_queries(["y" * 2000] * 40))  # 20,000 tokens
            await asyncio.sleep(0.01)
            with pytest.raises(InferenceOverloaded) as refused:
                await runtime.embed_queries(["z"], timeout_s=0.001)
            queued = runtime._questions.queued
            rate = runtime._running().embedding.tokens_per_s
            assert refused.value.retry_after_s == pytest.approx(queued / rate)
            tasks += spawn(runtime.embed_queries(["z"], timeout_s=60.0))
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)


async def test_how_fast_a_model_is_alone_is_told_by_runs_of_the_ordinary_size() -> None:
    """A slow machine has none of the larger: what it does when busy would be taken for all that it can do."""
    backend = TwofoldEmbedder()
    backend.padded = backend.other.padded = False
    backend.limits = backend.other.limits = BatchLimits()
    async with running(backend) as runtime:
        await runtime.embed_queries(["x" * 300])
        await runtime.embed_passages(["x" * 300])
        for throughput in (runtime._running().embedding, runtime._running().bulk_embedding):
            throughput.add(100_000, 10_000.0)
            assert throughput.seconds(1_000) > 50.0
            assert throughput.least_seconds(1_000) < 50.0
