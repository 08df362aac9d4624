"""``python -m evals.inference_gpu``, which is ``make bench-gpu``: the torch backend through the runtime, beside plain
sentence-transformers in float16. Runs on a CPU too, in sizes that a test can wait for."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evals.datasets import DEFAULT_ROOT
from evals.environment import describe
from evals.inference_floor import (
    BGE_SMALL,
    MINILM_L12,
    Shape,
    device_name,
    plain_embedder,
    plain_reranker,
    random_embedder,
    random_reranker,
)
from evals.inference_load import mixed_lengths, texts_of
from evals.report import FOLDER, Cell, Report, Table, to_markdown, write
from evals.synthetic import sentence_pool
from evals.timing import summarise
from memoryd.settings import Settings
from retrieval.inference import InferenceRuntime, ModelStore, ModelTokenizer, RuntimeLimits, load_embedder, load_reranker
from retrieval.inference.model_files import open_folder
from retrieval.ports import Lane

_PAIR_TOKENS = 256
_QUERY_TOKENS = 16
# Dense half precision of an H200, without sparsity.
_PEAK_TFLOPS = 989.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests of ``texts`` texts of mixed lengths, or of ``pairs`` pairs; ``requests`` of each for every number of clients."""

    texts: int
    pairs: int
    requests: int
    clients: tuple[int, ...]
    peak_tflops: float
    shapes: tuple[Shape, Shape] = (BGE_SMALL, MINILM_L12)


@dataclass(frozen=True, slots=True)
class Request:
    """Texts, or a query's passages, and their tokens as the model reads them."""

    texts: Sequence[str]
    tokens: int


Call = Callable[[Request], Awaitable[object]]


async def measure(plan: Plan, tokenizer: Path, pool: Sequence[str]) -> tuple[Table, Table]:
    """Embedding, then reranking; each size turn about with the plain library."""
    model = ModelTokenizer(tokenizer)
    lengths = [mixed_lengths(plan.texts, seed=number) for number in range(plan.requests)]
    loads = [Request(texts_of(each, pool, model, seed=7), sum(each)) for each in lengths]
    (query,) = texts_of([_QUERY_TOKENS], pool, model, seed=8)
    passage = _PAIR_TOKENS - _QUERY_TOKENS + 1  # one [CLS] less than two texts have
    pairs = [
        Request(texts_of([passage] * plan.pairs, pool, model, seed=9 + number), plan.pairs * _PAIR_TOKENS)
        for number in range(plan.requests)
    ]
    with tempfile.TemporaryDirectory() as made:
        embedder = random_embedder(Path(made) / "e", plan.shapes[0], tokenizer)
        reranker = random_reranker(Path(made) / "r", plan.shapes[1], tokenizer)
        plain_texts = plain_embedder(embedder, half=True)
        plain_pairs = plain_reranker(reranker, half=True, max_tokens=_PAIR_TOKENS)
        files = open_folder(embedder, "embedder", {}), open_folder(reranker, "reranker", {})
        runtime = InferenceRuntime(
            lambda: load_embedder(files[0]),
            lambda: load_reranker(files[1], max_pair_tokens=_PAIR_TOKENS),
            # 64 clients of 50 pairs of 256 tokens are let in at once.
            limits=RuntimeLimits(interactive_tokens=2**22, rerank_tokens=2**22),
        )
        await runtime.start()
        lock = threading.Lock()  # the plain library serves one caller at a time

        def alone(run: Callable[[], object]) -> object:
            with lock:
                return run()

        async def embed(request: Request) -> object:
            return await runtime.embed_passages(request.texts, lane=Lane.INTERACTIVE)

        async def score(request: Request) -> object:
            return await runtime.score(query, request.texts)

        async def encode(request: Request) -> object:
            return await asyncio.to_thread(alone, lambda: plain_texts(request.texts))

        async def predict(request: Request) -> object:
            return await asyncio.to_thread(alone, lambda: plain_pairs([(query, text) for text in request.texts]))

        # What attention sees: a token of a long text has more to look at, and there are more of them.
        mean = sum(length**2 for each in lengths for length in each) / sum(map(sum, lengths))
        try:
            embedding = await _compared(plan, loads, embed, encode, plan.shapes[0], mean)
            reranking = await _compared(plan, pairs, score, predict, plan.shapes[1], _PAIR_TOKENS)
        finally:
            await runtime.close()
    return (
        _table(f"Embedding: requests of {plan.texts} texts of 8 to 512 tokens", embedding),
        _table(f"Reranking: requests of {plan.pairs} pairs of {_PAIR_TOKENS} tokens", reranking),
    )


async def _compared(
    plan: Plan, requests: Sequence[Request], ours: Call, plain: Call, shape: Shape, mean_length: float
) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    for clients in plan.clients:
        floor = 0.0
        for name, call in (("sentence-transformers, float16", plain), ("runtime", ours)):
            await _closed_loop(requests[:2], call, clients)  # shapes and clocks are warm
            with _busy() as busy:
                began = time.perf_counter()
                waits = await _closed_loop(requests, call, clients)
                took = time.perf_counter() - began
            tokens = sum(request.tokens for request in requests)
            rate = tokens / took
            floor = floor or rate
            reached = shape.flops(tokens, mean_length) / took / 1e12
            times = summarise([1000 * wait for wait in waits])
            share = sum(busy) / len(busy) if busy else None
            rows.append((clients, name, rate, rate / floor, times.p50, times.p99, share, reached, reached / plan.peak_tflops))
    return rows


async def _closed_loop(requests: Sequence[Request], call: Call, clients: int) -> list[float]:
    waiting, seconds = iter(requests), []

    async def client() -> None:
        for request in waiting:
            began = time.perf_counter()
            await call(request)
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*(client() for _ in range(clients)))
    return seconds


@contextmanager
def _busy() -> Iterator[list[float]]:
    """Per cent of the time that the GPU computed, twice a second while the block runs; empty where nobody knows."""
    found: list[float] = []
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=500", "--id=0"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except FileNotFoundError:
        yield found
        return
    try:
        yield found
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=10)
        found += [float(line) for line in output.split() if line.isdigit()]


def _table(title: str, rows: Sequence[tuple[Cell, ...]]) -> Table:
    return Table(
        title,
        ("clients", "what", "tokens/s", "of plain", "p50 ms", "p99 ms", "GPU busy %", "TFLOP/s", "of the peak"),
        tuple(rows),
        note=f"On {device_name()}. Models of the default ones' shapes with random weights: speed does not depend on what they "
        "are. The plain library takes one call at a time. TFLOP/s: those of the model for the tokens sent, without padding.",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and writes ``inference-gpu.md``."""
    parser = argparse.ArgumentParser(prog="python -m evals.inference_gpu", description="Measure the torch backend.")
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder of the evaluation sets")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the reports")
    parser.add_argument("--texts", type=int, default=32, help="of a request to embed")
    parser.add_argument("--pairs", type=int, default=50, help="of a request to rerank")
    parser.add_argument("--requests", type=int, default=512, help="for every number of clients")
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--peak-tflops", type=float, default=_PEAK_TFLOPS, help="of the GPU, dense, in half precision")
    given = parser.parse_args(arguments)
    environment = describe("python -m evals.inference_gpu", sys.argv[1:] if arguments is None else arguments)
    began = time.perf_counter()
    settings = Settings()
    tokenizer = ModelStore(settings.model_cache).locate(settings.embedding_model).tokenizer
    clients = tuple(int(number) for number in given.clients.split(","))
    plan = Plan(given.texts, given.pairs, given.requests, clients, given.peak_tflops)
    tables = asyncio.run(measure(plan, tokenizer, sentence_pool(given.data)))
    report = Report("inference-gpu", environment, time.perf_counter() - began, {}, tables)
    write(report, given.out)
    print(to_markdown(report), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
