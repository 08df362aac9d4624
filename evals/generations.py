"""``python -m evals.generations``: a memoryd of its own changes its embedding model and back while questions go on.

Asked: do questions fail, how much slower are they than at rest in the same run, and does search find with the second model, and
with the first again, what a fresh index of that model finds?
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import httpx

from evals import metrics
from evals.client import ApiError, Client, Recall
from evals.datasets import DEFAULT_ROOT, Dataset, Query, load
from evals.environment import describe
from evals.loading import Fields, Loaded, load_into
from evals.quality import CONFIGURATIONS, run
from evals.report import FOLDER, Cell, Report, Table, to_markdown, write
from evals.stack import NotStarted, running_stack
from evals.timing import summarise
from memoryd.client import AsyncMemoryd, Generation

SECOND = "sentence-transformers/all-MiniLM-L6-v2"
SETS = ("locomo-dev", "scifact-train")
_IDLE_S = 20.0
_REST = "at rest on "
_AFTER_S = 10.0
_DENSE = next(one for one in CONFIGURATIONS if one.arms == ("dense",))


@dataclass(slots=True)
class Asked:
    """Questions at a steady rate: milliseconds of each, by phase, and what went wrong."""

    took: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    phase: str = ""

    @asynccontextmanager
    async def asking(self, client: Client, questions: Sequence[Recall], rate: float) -> AsyncIterator[None]:
        """While the context is open. Open loop: a slow answer delays no other question; at the end all have theirs."""
        over = asyncio.Event()
        asking = asyncio.create_task(self._ask(client, questions, rate, over))
        try:
            yield
        finally:
            over.set()
            await asking

    async def _ask(self, client: Client, questions: Sequence[Recall], rate: float, over: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            started = time.perf_counter()
            for number in count():
                if over.is_set():
                    return
                await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
                group.create_task(self._one(client, questions[number % len(questions)]))

    async def _one(self, client: Client, question: Recall) -> None:
        phase, began = self.phase, time.perf_counter()
        try:
            answer = await client.recall(question)
        except (ApiError, httpx.HTTPError) as error:
            self.errors.append(f"{phase}: {type(error).__name__}")
            return
        self.took.setdefault(phase, []).append((time.perf_counter() - began) * 1000)
        if answer.degraded:
            self.errors.append(f"{phase}: degraded {','.join(answer.degraded)}")


async def change(operator: AsyncMemoryd, model: str) -> tuple[Generation, float]:
    """Put a model beside the others, and cut over to it when it is verified; seconds until it was."""
    began = time.perf_counter()
    made = await operator.generations.create(model)
    ready = await operator.generations.wait(made.number)
    seconds = time.perf_counter() - began
    moved = await operator.generations.cut_over(ready.number)
    before = moved.replaced
    if before is not None:
        await operator.generations.retire(before)
    return ready, seconds


async def found(loaded: Sequence[Loaded], limit: int | None) -> dict[str, metrics.Values]:
    """What the dense arm finds, by set."""
    answers: dict[str, metrics.Values] = {}
    for one in loaded:
        queries = _of_loaded(one, limit)
        outcome = await run(one, _DENSE, queries)
        answers[one.dataset.name] = metrics.mean(metrics.per_query(one.dataset.relevant, outcome.rankings).values())
    return answers


def _of_loaded(loaded: Loaded, limit: int | None) -> tuple[Query, ...]:
    there = set(loaded.documents.values())
    kept = [one for one in loaded.dataset.queries if loaded.dataset.relevant[one.id] & there]
    return tuple(kept[:limit])


async def measure(
    url: str, key: str, operator_key: str, sets: Sequence[Dataset], rate: float, queries: int | None
) -> list[Table]:
    """Loads the sets, changes the model and back under load, and compares with what is loaded afresh: by the second model behind
    the change to it, by the first at the start."""
    async with Client(url, key) as client, AsyncMemoryd(url, operator_key) as operator:
        loaded = [await load_into(client, one, fields=Fields.RICH, prefix="old") for one in sets]
        first = (await operator.generations.get(1)).model
        _say(f"loaded with {first}")
        questions = [Recall(query.text, one.spaces[query.namespace]) for one in loaded for query in _of_loaded(one, queries)]
        asked, rows = Asked(), list[tuple[Cell, ...]]()
        quality = {f"{first}, before": await found(loaded, queries)}
        for before, model in ((first, SECOND), (SECOND, first)):
            asked.phase = f"{_REST}{before}"
            async with asked.asking(client, questions, rate):
                await asyncio.sleep(_IDLE_S)
            asked.phase = f"to {model}"
            async with asked.asking(client, questions, rate):
                generation, seconds = await change(operator, model)
                asked.phase = f"on {model}"
                await asyncio.sleep(_AFTER_S)
            progress = generation.progress
            rows.append((model, progress.done, progress.embedded, progress.tokens, seconds, progress.items_per_second))
            _say(f"{progress.done} items are on {model} after {seconds:.0f} s")
            quality[f"{model}, after the change"] = await found(loaded, queries)
            if model == SECOND:
                quality[f"{model}, fresh index"] = await afresh(url, operator, sets, queries)
    return [_work(rows), _latency(asked, rate), _quality(quality)]


async def afresh(url: str, operator: AsyncMemoryd, sets: Sequence[Dataset], queries: int | None) -> dict[str, metrics.Values]:
    """What is found in an index that the live model alone has made: of another tenant, which goes again, so that the change back
    re-embeds what the change there did."""
    tenant = await operator.tenants.create("fresh")
    async with Client(url, str(tenant.key.key)) as client:
        loaded = [await load_into(client, one, fields=Fields.RICH, prefix="fresh") for one in sets]
        quality = await found(loaded, queries)
    await operator.tenants.delete(tenant.id, confirm="fresh")
    return quality


def _say(progress: str) -> None:
    print(f"evals: {progress}", file=sys.stderr, flush=True)


def _work(rows: Sequence[tuple[Cell, ...]]) -> Table:
    return Table(
        "Generations: re-embedding",
        ("to", "items", "embedded by the worker", "tokens", "seconds until verified", "items/s"),
        tuple(rows),
        note="From the order to the end of the verification, while questions were asked.",
    )


def _latency(asked: Asked, rate: float) -> Table:
    rows: list[tuple[Cell, ...]] = []
    at_rest = 0.0
    for phase, took in asked.took.items():
        one = summarise(took)
        if phase.startswith(_REST):
            at_rest = one.p95
        failed = sum(error.startswith(f"{phase}:") for error in asked.errors)
        rows.append((phase, len(took), failed, one.p50, one.p95, one.p95 / at_rest))
    return Table(
        f"Generations: recall at {rate:g} questions a second",
        ("phase", "answered", "errors and degraded", "p50 ms", "p95 ms", "p95 of that at rest"),
        tuple(rows),
        note="Open loop, in one run; at rest: just before each change, for the speed of a machine changes.",
    )


def _quality(quality: dict[str, dict[str, metrics.Values]]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (when, name, *(values[one] for one in metrics.NAMES)) for when, sets in quality.items() for name, values in sets.items()
    ]
    return Table("Generations: quality of the dense arm", ("index", "set", *metrics.NAMES), tuple(rows))


def cut(dataset: Dataset, items: int | None) -> Dataset:
    """The first ``items`` documents."""
    return replace(dataset, documents=dataset.documents[:items])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and writes ``generations.md``; 0 when no question failed."""
    parser = argparse.ArgumentParser(prog="python -m evals.generations", description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder of the evaluation sets")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the reports")
    parser.add_argument("--items", type=int, default=None, help="documents of each set; default all")
    parser.add_argument("--queries", type=int, default=None, help="questions of each set; default all")
    parser.add_argument("--rate", type=float, default=20.0, help="questions a second")
    options = parser.parse_args(arguments)
    environment = describe("python -m evals.generations", sys.argv[1:] if arguments is None else arguments)
    began = time.perf_counter()
    try:
        with running_stack({}) as stack:
            sets = [cut(load(name, options.data), options.items) for name in SETS]
            work = measure(stack.url, stack.key, stack.operator_key, sets, options.rate, options.queries)
            tables = asyncio.run(work)
    except (ApiError, NotStarted, FileNotFoundError) as error:
        print(f"evals: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    hashes = {f"{one.name}/{file}": digest for one in sets for file, digest in one.hashes.items()}
    report = Report("generations", environment, time.perf_counter() - began, hashes, tuple(tables))
    write(report, options.out)
    print(to_markdown(report), flush=True)
    return 1 if any(row[2] for row in tables[1].rows) else 0


if __name__ == "__main__":
    sys.exit(main())
