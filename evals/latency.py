"""How long a recall takes, by stage, beside the floor: in one tenant of growing size, and across many tenants."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from evals.client import Client, Recall
from evals.floor import DESCRIPTION, Floor
from evals.populate import populate
from evals.report import Cell, Table
from evals.synthetic import SyntheticMemory
from evals.timing import summarise

WALL = "client wall"
FLOOR = "floor"
FLOOR_EMBED = "floor: embed"
COLUMNS = ("memories", "tenants", "mode", "stage", "n", "p50 ms", "p95 ms", "p99 ms", "degraded", "reranked")


@dataclass(frozen=True, slots=True)
class Plan:
    """How many questions each measurement asks, and how many callers ask at once."""

    queries: int = 250
    warm_up: int = 20
    reranked: int = 40
    concurrency: int = 8


@dataclass(frozen=True, slots=True)
class Target:
    """Where one question goes, and the floor in the same space."""

    client: Client
    space: str
    floor: Floor | None = None


@dataclass(slots=True)
class Samples:
    """Milliseconds by stage; how many answers were degraded, and the hits that the reranker read, summed."""

    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    degraded: int = 0
    reranked: int = 0


async def one_tenant(
    target: Target,
    memories: Sequence[SyntheticMemory],
    sizes: Sequence[int],
    questions: Iterator[str],
    plan: Plan,
    loaded: Callable[[int, float], Awaitable[None]],
) -> Table:
    """Grows one space through ``sizes`` and measures at each: one at a time, concurrently, and reranked.

    ``loaded`` is called with each size and the seconds its loading took, and returns when the measuring may begin.
    """
    rows: list[tuple[Cell, ...]] = []
    held = 0
    for size in sizes:
        await loaded(size, await populate(target.client, target.space, memories[held:size]))
        held = size
        await sequential([target], take(questions, plan.warm_up))
        samples = await sequential([target], take(questions, plan.queries))
        rows += _rows(size, 1, "one at a time", samples)
        rows += _ratio(size, 1, samples)
        samples = await concurrent(target, take(questions, plan.queries), plan.concurrency)
        rows += _rows(size, 1, f"{plan.concurrency} at once", samples)
        bare = Target(target.client, target.space)
        samples = await sequential([bare], take(questions, plan.reranked), rerank="on")
        rows += _rows(size, 1, "one at a time, rerank on", samples)
    return Table("Recall latency: one tenant", COLUMNS, tuple(rows), note=_NOTE)


async def many_tenants(targets: Sequence[Target], memories: int, questions: Iterator[str], plan: Plan) -> Table:
    """Each question goes to another tenant, in an order that is not the order of their making."""
    shuffled = random.Random(2).sample(list(targets), len(targets))
    await sequential(shuffled[-plan.warm_up :], take(questions, plan.warm_up))
    samples = await sequential(shuffled, take(questions, plan.queries))
    rows = _rows(memories, len(targets), "one at a time", samples) + _ratio(memories, len(targets), samples)
    return Table("Recall latency: many tenants", COLUMNS, tuple(rows), note=_NOTE)


async def sequential(targets: Sequence[Target], questions: Sequence[str], *, rerank: str = "off") -> Samples:
    """One question after another. The floor answers each too; the two take turns to go first.

    Who goes second finds the question's pages and postings in memory, so neither side may always be second.
    """
    samples = Samples()
    for number, question in enumerate(questions):
        target = targets[number % len(targets)]
        service_first = number % 2 == 0
        if service_first:
            await _ask(target, question, rerank, samples)
        if target.floor is not None:
            timing = await target.floor.recall(question)
            samples.stages[FLOOR].append(timing.total)
            samples.stages[FLOOR_EMBED].append(timing.embed)
        if not service_first:
            await _ask(target, question, rerank, samples)
    return samples


async def concurrent(target: Target, questions: Sequence[str], concurrency: int) -> Samples:
    """``concurrency`` callers, each asking its next question as soon as it is answered."""
    samples = Samples()
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
    samples.stages[WALL].append((time.perf_counter() - started) * 1000)
    for stage, milliseconds in answer.timings_ms.items():
        samples.stages[stage].append(milliseconds)
    samples.degraded += bool(answer.degraded)
    samples.reranked += answer.reranked


def _rows(memories: int, tenants: int, mode: str, samples: Samples) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    asked = len(samples.stages[WALL])
    depth = samples.reranked / asked if "rerank" in samples.stages else None
    for stage, values in samples.stages.items():
        summary = summarise(values)
        figures = (summary.count, summary.p50, summary.p95, summary.p99)
        ours = stage not in (FLOOR, FLOOR_EMBED)
        rows.append((memories, tenants, mode, stage, *figures, samples.degraded if ours else None, depth if ours else None))
    return rows


def _ratio(memories: int, tenants: int, samples: Samples) -> list[tuple[Cell, ...]]:
    """Service over floor, percentile by percentile: as the caller sees it, and as the service times itself."""
    if not samples.stages.get(FLOOR):
        return []
    floor = summarise(samples.stages[FLOOR])
    rows: list[tuple[Cell, ...]] = []
    for stage in (WALL, "total"):
        ours = summarise(samples.stages[stage])
        ratios = (ours.p50 / floor.p50, ours.p95 / floor.p95, ours.p99 / floor.p99)
        rows.append((memories, tenants, "one at a time", f"{stage} / {FLOOR}", ours.count, *ratios, None, None))
    return rows


_NOTE = (
    "'client wall' is seen by the caller over HTTP; the other stages are the service's own timings_ms (the arms run at the "
    "same time, so they do not add up to 'total'). Every question is asked once in a run. 'degraded' counts answers that "
    f"lacked an arm or the reranker: their times stay in. 'reranked' is the mean number of hits that were read. {DESCRIPTION}"
)
