"""``python -m evals.inference``: the inference runtime in this process, beside the bare library, with no service around it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from uuid import UUID

from evals.datasets import DEFAULT_ROOT
from evals.environment import describe
from evals.inference_floor import BGE_SMALL, HAS_TORCH, BareOnnx, plain_embedder, random_embedder
from evals.inference_load import mixed_lengths, texts_of
from evals.report import FOLDER, Cell, Report, Table, to_markdown, write
from evals.synthetic import question_pool, sentence_pool
from evals.timing import summarise
from memoryd.settings import Settings
from retrieval.errors import InferenceOverloaded, InferenceTimeout
from retrieval.inference import InferenceRuntime, ModelFiles, ModelStore, ModelTokenizer, load_embedder
from retrieval.ports import Lane

_ASKS, _LOADS = UUID(int=1), UUID(int=2)
_JOB_TEXTS = 50_000
_FEED, _FEEDS = 16, 8  # texts of the job in a call, and calls at once
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. ``seconds`` are of one phase of one round."""

    texts: int
    rounds: int
    seconds: float
    clients: int
    deadline_s: float
    threads: int


@dataclass(frozen=True, slots=True)
class Load:
    """Texts with their tokens, questions, and the model."""

    files: ModelFiles
    texts: Sequence[str]
    tokens: Sequence[int]
    questions: Sequence[str]
    job: Sequence[str]


@asynccontextmanager
async def started(load: Load, plan: Plan) -> AsyncIterator[InferenceRuntime]:
    """A runtime of its own."""
    runtime = InferenceRuntime(lambda: load_embedder(load.files, threads=plan.threads))
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.close()


async def throughput(load: Load, plan: Plan) -> Table:
    """The same texts through everything, in rounds: what the machine does to one it does to all."""
    bare = BareOnnx(load.files, threads=plan.threads or len(os.sched_getaffinity(0)))
    rows = bare.tokenised(load.texts)
    best = await asyncio.to_thread(bare.best_batch, rows)
    total = sum(load.tokens)
    rates: dict[str, list[float]] = {}
    waits: dict[str, list[float]] = {}

    def note(name: str, seconds: float, each: Sequence[float]) -> None:
        rates.setdefault(name, []).append(total / seconds)
        waits.setdefault(name, []).extend(1000 * one for one in each)

    with tempfile.TemporaryDirectory() as folder:
        plain = None
        if HAS_TORCH:
            plain = plain_embedder(random_embedder(Path(folder), BGE_SMALL, load.files.tokenizer), half=False)
        async with started(load, plan) as runtime:
            for _ in range(plan.rounds):
                seconds = await asyncio.to_thread(bare.run, rows, best)
                note(f"bare ONNX Runtime, sorted, tokenised before, batches of {best}", sum(seconds), seconds)
                began = time.perf_counter()
                each = await closed_loop(runtime, load.texts, plan.clients)
                note(f"runtime, {plan.clients} clients, a text a call", time.perf_counter() - began, each)
                began = time.perf_counter()
                await runtime.embed_passages(load.texts)
                note("runtime, one bulk call", time.perf_counter() - began, [time.perf_counter() - began])
                if plain is not None:
                    began = time.perf_counter()
                    await asyncio.to_thread(plain, load.texts)
                    took = time.perf_counter() - began
                    note("SentenceTransformer.encode(batch_size=32), float32", took, [took])
    floor = median(next(iter(rates.values())))
    body: list[tuple[Cell, ...]] = []
    for name, found in rates.items():
        times = summarise(waits[name])
        body.append((name, median(found), median(found) / floor, min(found) / floor, times.p50, times.p99))
    return Table(
        f"Throughput: {len(load.texts)} texts of 8 to 512 tokens",
        ("what", "tokens/s", "of bare", "worst round of bare", "p50 ms", "p99 ms"),
        tuple(body),
        note="Medians of the rounds. Milliseconds are of a call: a batch of the bare library, one text of a client, everything "
        "of a bulk call and of sentence-transformers. The latter has a model of the same shape with random weights, in "
        "float32; the others the int8 one." + ("" if HAS_TORCH else " It is not installed here, and was not measured."),
    )


async def closed_loop(runtime: InferenceRuntime, texts: Sequence[str], clients: int) -> list[float]:
    """Seconds of each text; every client sends its next when it has its last."""
    waiting, seconds = iter(texts), []

    async def client() -> None:
        for text in waiting:
            began = time.perf_counter()
            await runtime.embed_passages([text], lane=Lane.INTERACTIVE)
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*(client() for _ in range(clients)))
    return seconds


async def fairness(load: Load, plan: Plan) -> Table:
    """One tenant's questions, one at a time, alone and beside another tenant's job, turn about."""
    alone: list[float] = []
    beside: list[float] = []
    done = Counter[str]()
    spent: defaultdict[str, float] = defaultdict(float)
    async with started(load, plan) as runtime:
        for _ in range(plan.rounds):
            alone += await asked(runtime, load.questions, plan.seconds)
            async with job(runtime, load.job) as finished:
                await asyncio.sleep(min(1.0, plan.seconds / 4))
                before, began = finished(), time.perf_counter()
                beside += await asked(runtime, load.questions, plan.seconds)
                done["beside"] += finished() - before
                spent["beside"] += time.perf_counter() - began
                before, began = finished(), time.perf_counter()
                await asyncio.sleep(plan.seconds)
                done["job"] += finished() - before
                spent["job"] += time.perf_counter() - began
            async with job(runtime, load.job) as finished:
                before, began = finished(), time.perf_counter()
                stop = time.perf_counter() + plan.seconds
                await flooded(runtime, load.questions, plan.clients, stop)
                done["flooded"] += finished() - before
                spent["flooded"] += time.perf_counter() - began
    idle, busy = summarise(alone), summarise(beside)
    rate = {name: done[name] / spent[name] for name in done}
    rows = (
        ("questions alone", idle.count, idle.p50, idle.p95, idle.p99, 1.0, 0.0),
        ("questions beside the job", busy.count, busy.p50, busy.p95, busy.p99, busy.p95 / idle.p95, rate["beside"]),
        ("the job alone", None, None, None, None, None, rate["job"]),
        (f"{plan.clients} clients that ask without pause", None, None, None, None, None, rate["flooded"]),
    )
    return Table(
        f"Fairness: a job of {_JOB_TEXTS} texts of one tenant, questions of another",
        ("what", "questions", "p50 ms", "p95 ms", "p99 ms", "p95 of alone", "job, texts/s"),
        rows,
        note=f"A question every {1000 * _PAUSE_S:.0f} ms after the last. The job is fed as a worker feeds it, {_FEED} texts a "
        f"call and {_FEEDS} calls at once, and measured while it runs; it is not run to its end. Its texts have 8 to 256 tokens.",
    )


async def asked(runtime: InferenceRuntime, questions: Sequence[str], seconds: float) -> list[float]:
    """Milliseconds of questions, one at a time, with pauses."""
    found, stop = [], time.perf_counter() + seconds
    number = 0
    while time.perf_counter() < stop:
        began = time.perf_counter()
        await runtime.embed_queries([questions[number % len(questions)]], owner=_ASKS)
        found.append(1000 * (time.perf_counter() - began))
        number += 1
        await asyncio.sleep(_PAUSE_S)
    return found


async def flooded(runtime: InferenceRuntime, questions: Sequence[str], clients: int, stop: float) -> None:
    """Questions of many clients, without pauses."""

    async def client(number: int) -> None:
        while time.perf_counter() < stop:
            await runtime.embed_queries([questions[number % len(questions)]], owner=_ASKS)
            number += clients

    await asyncio.gather(*(client(number) for number in range(clients)))


@asynccontextmanager
async def job(runtime: InferenceRuntime, texts: Sequence[str]) -> AsyncIterator[Callable[[], int]]:
    """A job that runs meanwhile; the value tells how many texts are done."""
    done = 0

    async def feed(first: int) -> None:
        nonlocal done
        for begin in range(first, _JOB_TEXTS, _FEEDS * _FEED):
            await runtime.embed_passages([texts[at % len(texts)] for at in range(begin, begin + _FEED)], owner=_LOADS)
            done += _FEED

    feeding = [asyncio.ensure_future(feed(number * _FEED)) for number in range(_FEEDS)]
    try:
        yield lambda: done
    finally:
        for one in feeding:
            one.cancel()
        await asyncio.gather(*feeding, return_exceptions=True)


async def overload(load: Load, plan: Plan) -> Table:
    """Requests at their own times, three times as many as can be done, each with a deadline."""
    outcomes = Counter[str]()
    refusals: list[float] = []
    waits: list[float] = []
    good = took = capacity = 0.0
    queued = 0
    async with started(load, plan) as runtime:
        memory = _memory_mib()
        for number in range(plan.rounds):
            began = time.perf_counter()
            await closed_loop(runtime, load.texts, plan.clients)
            now = sum(load.tokens) / (time.perf_counter() - began)
            capacity += now
            interval = sum(load.tokens) / len(load.tokens) / (3 * now)
            began = time.perf_counter()
            calls = []

            async def call(at: int) -> None:
                nonlocal good, queued
                sent = time.perf_counter()
                try:
                    text = load.texts[at % len(load.texts)]
                    await runtime.embed_passages([text], lane=Lane.INTERACTIVE, timeout_s=plan.deadline_s)
                except InferenceOverloaded:
                    outcomes["refused"] += 1
                    refusals.append(1000 * (time.perf_counter() - sent))
                    return
                except InferenceTimeout:
                    outcomes["let in, too late"] += 1
                    return
                outcomes["done"] += 1
                waits.append(1000 * (time.perf_counter() - sent))
                good += load.tokens[at % len(load.texts)]

            at = number
            while (due := began + (at - number) * interval) < began + plan.seconds:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                calls.append(asyncio.ensure_future(call(at)))
                queued = max(queued, len(calls) - sum(one.done() for one in calls[-2000:]))
                at += 1
            await asyncio.gather(*calls)
            took += time.perf_counter() - began
        grown = _memory_mib() - memory
    capacity /= plan.rounds
    done, refused = summarise(waits), summarise(refusals or [0.0])
    row = (
        capacity, 3 * capacity, good / took, good / took / capacity, outcomes["done"], outcomes["let in, too late"],
        outcomes["refused"], done.p50, done.p99, refused.p99, grown,
    )  # fmt: skip
    return Table(
        f"Overload: three times the capacity, deadlines of {plan.deadline_s:g} s",
        ("capacity, tokens/s", "offered", "done in time", "of capacity", "done", "let in, too late", "refused", "p50 ms",
         "p99 ms", "p99 ms of a refusal", "memory grown, MiB"),
        (row,),
        note=f"Capacity is of {plan.clients} clients in a closed loop, before each round; offered is what came at fixed times, "
        "whatever was answered. Time runs until the last answer.",
    )  # fmt: skip


def _memory_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _load(given: argparse.Namespace) -> Load:
    settings = Settings()
    files = ModelStore(settings.model_cache).locate(settings.embedding_model)
    tokenizer, pool = ModelTokenizer(files.tokenizer), sentence_pool(given.data)
    lengths = mixed_lengths(given.texts, seed=1)
    loads = texts_of(mixed_lengths(512, seed=2, longest=256), pool, tokenizer, seed=2)
    return Load(files, texts_of(lengths, pool, tokenizer, seed=1), lengths, question_pool(given.data)[:200], loads)


PARTS = {"throughput": throughput, "fairness": fairness, "overload": overload}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and writes ``inference.md``."""
    parser = argparse.ArgumentParser(prog="python -m evals.inference", description="Measure the inference runtime by itself.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder of the evaluation sets")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the reports")
    parser.add_argument("--texts", type=int, default=384, help="of mixed lengths")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each phase of a round")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--deadline-s", type=float, default=3.0, help="of a call of the overload")
    parser.add_argument("--threads", type=int, default=0, help="of the model; 0: every core")
    given = parser.parse_args(arguments)
    chosen = given.parts or list(PARTS)
    if unknown := sorted(set(chosen) - set(PARTS)):
        parser.error(f"no part named {unknown[0]!r}")
    environment = describe("python -m evals.inference", sys.argv[1:] if arguments is None else arguments)
    began = time.perf_counter()
    plan = Plan(given.texts, given.rounds, given.seconds, given.clients, given.deadline_s, given.threads)
    load = _load(given)
    tables = tuple(asyncio.run(PARTS[part](load, plan)) for part in chosen)
    report = Report("inference", environment, time.perf_counter() - began, {}, tables)
    write(report, given.out)
    print(to_markdown(report), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
