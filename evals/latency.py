"""How long a recall takes, by stage, beside the floor: in one tenant of growing size, and across many tenants."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from evals.client import Client, Recall, open_pool
from evals.floor import Floor
from evals.populate import populate
from evals.report import Cell, Table
from evals.synthetic import SyntheticMemory
from evals.timing import summarise

WALL = "client wall"
FLOOR = "floor"
FLOOR_EMBED = "floor: embed"
COLUMNS = ("memories", "tenants", "mode", "stage", "n", "p50 ms", "p95 ms", "p99 ms")

Samples = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. ``settle_s``: the pause after loading, in which the worker indexes."""

    queries: int = 300
    warm_up: int = 20
    reranked: int = 40
    concurrency: int = 8
    settle_s: float = 45.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where one question goes."""

    client: Client
    space: str


async def one_tenant(
    target: Target,
    memories: Sequence[SyntheticMemory],
    sizes: Sequence[int],
    questions: Iterator[str],
    plan: Plan,
    floor: Floor | None,
) -> Table:
    """Grows one space through ``sizes`` and measures at each: one at a time, concurrently, and reranked."""
    rows: list[tuple[Cell, ...]] = []
    loaded = 0
    await target.client.create_space(target.space)
    for size in sizes:
        await populate(target.client, target.space, memories[loaded:size])
        loaded = size
        await asyncio.sleep(plan.settle_s)
        await sequential([target], take(questions, plan.warm_up), floor=floor)
        samples = await sequential([target], take(questions, plan.queries), floor=floor)
        rows += _rows(size, 1, "one at a time", samples)
        rows += _ratio(size, samples)
        samples = await concurrent(target, take(questions, plan.queries), plan.concurrency)
        rows += _rows(size, 1, f"{plan.concurrency} at once", samples)
        samples = await sequential([target], take(questions, plan.reranked), rerank="on")
        rows += _rows(size, 1, "one at a time, rerank on", samples)
    return Table("Recall latency: one tenant", COLUMNS, tuple(rows), note=_NOTE)


async def many_tenants(
    operator: Client,
    url: str,
    memories: Sequence[SyntheticMemory],
    tenants: int,
    questions: Iterator[str],
    plan: Plan,
    *,
    prefix: str,
) -> Table:
    """Deals the memories out to ``tenants`` new tenants; each question goes to another one."""
    each = len(memories) // tenants
    async with open_pool() as pool:
        targets: list[Target] = []
        for number in range(tenants):
            key = await operator.create_tenant(f"{prefix}-{number:04d}")
            target = Target(Client(url, key, pool=pool), "default")
            await populate(target.client, target.space, memories[number * each : (number + 1) * each])
            targets.append(target)
        await asyncio.sleep(plan.settle_s)
        random.Random(2).shuffle(targets)
        await sequential(targets[-plan.warm_up :], take(questions, plan.warm_up))
        samples = await sequential(targets, take(questions, plan.queries))
    rows = _rows(each * tenants, tenants, "one at a time", samples)
    return Table("Recall latency: many tenants", COLUMNS, tuple(rows), note=_NOTE)


async def sequential(
    targets: Sequence[Target], questions: Sequence[str], *, floor: Floor | None = None, rerank: str = "off"
) -> Samples:
    """One question after another; the floor answers each right after the service, so noise hits both."""
    samples: Samples = defaultdict(list)
    for number, question in enumerate(questions):
        await _ask(targets[number % len(targets)], question, rerank, samples)
        if floor is not None:
            timing = await floor.recall(question)
            samples[FLOOR].append(timing.total)
            samples[FLOOR_EMBED].append(timing.embed)
    return samples


async def concurrent(target: Target, questions: Sequence[str], concurrency: int) -> Samples:
    """``concurrency`` callers, each asking its next question as soon as it is answered."""
    samples: Samples = defaultdict(list)
    waiting = iter(questions)

    async def caller() -> None:
        for question in waiting:
            await _ask(target, question, "off", samples)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(caller())
    return samples


def take(questions: Iterator[str], count: int) -> list[str]:
    """The next ``count`` questions; each is used once in a run, so that no cache is measured."""
    taken = list(islice(questions, count))
    if len(taken) < count:
        raise ValueError("the question pool is used up; measure fewer sizes or fewer queries")
    return taken


async def _ask(target: Target, question: str, rerank: str, samples: Samples) -> None:
    started = time.perf_counter()
    answer = await target.client.recall(Recall(question, target.space, rerank=rerank))
    samples[WALL].append((time.perf_counter() - started) * 1000)
    for stage, milliseconds in answer.timings_ms.items():
        samples[stage].append(milliseconds)


def _rows(memories: int, tenants: int, mode: str, samples: Samples) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    for stage, values in samples.items():
        summary = summarise(values)
        rows.append((memories, tenants, mode, stage, summary.count, summary.p50, summary.p95, summary.p99))
    return rows


def _ratio(memories: int, samples: Samples) -> list[tuple[Cell, ...]]:
    """Wall clock over floor, percentile by percentile."""
    if not samples.get(FLOOR):
        return []
    wall, floor = summarise(samples[WALL]), summarise(samples[FLOOR])
    ratios = (wall.p50 / floor.p50, wall.p95 / floor.p95, wall.p99 / floor.p99)
    return [(memories, 1, "one at a time", f"{WALL} / {FLOOR}", wall.count, *ratios)]


_NOTE = (
    "'client wall' is seen by the caller over HTTP; the other stages are the service's own timings_ms. "
    "The floor is the same embedding call and the same SQL in one process (evals/floor.py)."
)
