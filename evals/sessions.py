"""Working memory under load: many sessions that append and read their context, beside the same bytes through redis-py alone."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

import redis.asyncio as aioredis
from pydantic import JsonValue

from evals.report import Cell, Table
from evals.timing import summarise
from evals.wire import Wire
from memoryd.stores.sessions.keys import Keys

BUDGET = 2_000
TOKENIZER = "o200k_base"
_CONNECTIONS = 64
_STEPS = 7
_TOOL_SENTENCES = 45
_POLL_S = 3.0
_PATIENCE_S = 420.0
_READ_ROUNDS = 3

Message = dict[str, JsonValue]
# What is asked on one of the connections.
Request = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Plan:
    """``rate``: requests a second of the paced part; ``seconds``: how long each of its measurements takes."""

    sessions: int = 1_000
    rate: int = 200
    seconds: int = 30


@dataclass(frozen=True, slots=True)
class Load:
    """Where the sessions are: a tenant's key, and the tenant, by whose keys Redis is looked into."""

    url: str
    key: str
    tenant: UUID
    redis_url: str


async def measure(load: Load, pool: Sequence[str], plan: Plan) -> tuple[Table, ...]:
    """Four tables: appends beside the floor, paced requests, reads without a pause, and what the sessions take in memory.

    ``pool``: sentences to make messages of.
    """
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire(load.url, load.key)) for _ in range(min(_CONNECTIONS, plan.sessions))]
        redis = await stack.enter_async_context(
            aioredis.Redis(
                connection_pool=aioredis.BlockingConnectionPool.from_url(load.redis_url, max_connections=_CONNECTIONS, timeout=60)
            )
        )
        run = _Run(load, plan, wires, redis, Steps(pool))
        appended = await run.appends()
        memory = await run.memory()
        busy = await run.paced("while the worker summarises and snapshots")
        left = await run.summarised()
        quiet = await run.paced("with the summaries up to date" if not left else f"with {left} sessions still to be summarised")
        closed = await run.closed()
    columns = ("what", "worker", "n", "a second", "p50 ms", "p95 ms", "p99 ms")
    note = (
        f"{plan.rate} requests a second at fixed times, whether or not earlier ones were answered, to sessions drawn at random; "
        f"each is timed from the moment it was due. A context is read within {BUDGET:,} tokens of {TOKENIZER}. "
        "The caller runs on the same cores."
    )
    return (appended, Table("Sessions: paced requests", columns, (*busy, *quiet), note=note), closed, memory)


class Steps:
    """What an agent appends at a time: a question, a call of a tool, its long result, and an answer; about 6 kB."""

    def __init__(self, pool: Sequence[str]) -> None:
        self._pool = pool
        self._random = random.Random(11)

    def step(self, number: int) -> list[Message]:
        """Four messages."""
        call = f"call-{number}"
        return [
            {"role": "user", "content": self.said(2)},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": call, "name": "search", "arguments": {"q": self.said(1)}}],
            },
            {"role": "tool", "tool_call_id": call, "content": self.said(_TOOL_SENTENCES)},
            {"role": "assistant", "content": self.said(3)},
        ]

    def notes(self, count: int) -> list[Message]:
        """Messages of one or two sentences, in a role that nothing summarises."""
        return [{"role": "system", "content": self.said(2)} for _ in range(count)]

    def said(self, sentences: int) -> str:
        """Some sentences."""
        return " ".join(self._random.choice(self._pool) for _ in range(sentences))


@dataclass(slots=True)
class _Side:
    """One way to append: milliseconds of each request, and seconds in all."""

    name: str
    times: list[float] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(slots=True)
class _Kind:
    """Requests of one size to both sides. ``size``: bytes of the messages, of one side."""

    what: str
    size: int = 0
    service: _Side = field(default_factory=lambda: _Side("memoryd over HTTP"))
    floor: _Side = field(default_factory=lambda: _Side("floor: redis-py"))

    def add(self, other: _Kind) -> None:
        """Take its requests along."""
        self.size += other.size
        for side, more in ((self.service, other.service), (self.floor, other.floor)):
            side.times += more.times
            side.seconds += more.seconds

    def rows(self) -> list[tuple[Cell, ...]]:
        """One of each side."""
        rows: list[tuple[Cell, ...]] = []
        for side in (self.service, self.floor):
            times, count = summarise(side.times), len(side.times)
            part = self.floor.seconds / side.seconds if side is self.service else None
            rates = count / side.seconds, self.size / side.seconds / 1e6
            rows.append((self.what, side.name, count, *rates, times.p50, times.p95, times.p99, part))
        return rows


@dataclass(slots=True)
class _Run:
    load: Load
    plan: Plan
    wires: Sequence[Wire]
    redis: aioredis.Redis
    steps: Steps

    async def appends(self) -> Table:
        """Step after step, of all sessions at once; the service and the floor take turns."""
        kinds = [
            await self._appended("a step of 4 messages a request", _STEPS, self.steps.step),
            await self._appended("1 message a request", 8, lambda _: self.steps.notes(1)),
            await self._appended("10 messages a request", 2, lambda _: self.steps.notes(10)),
            await self._appended("100 messages a request", 1, lambda _: self.steps.notes(100)),
        ]
        together = _Kind("all of these, which fill the sessions")
        for kind in kinds:
            together.add(kind)
        rows = [row for kind in (*kinds, together) for row in kind.rows()]
        note = (
            f"{self.plan.sessions:,} sessions, {len(self.wires)} connections to each side, no pause between requests: times "
            "are of waiting for each other. The floor is redis-py alone with hiredis: XADD of the same JSON, several in one "
            "transaction. The service also authenticates, validates, keeps order, receipts, limits and indexes in one script, "
            "and its worker summarises and snapshots meanwhile. The caller of both runs on the same cores."
        )
        columns = ("what", "how", "requests", "requests/s", "MB/s", "p50 ms", "p95 ms", "p99 ms", "of the floor")
        return Table("Sessions: appends", columns, tuple(rows), note=note)

    async def _appended(self, what: str, rounds: int, made: Callable[[int], list[Message]]) -> _Kind:
        kind = _Kind(what)
        for number in range(rounds):
            requests = [made(number) for _ in range(self.plan.sessions)]
            kind.size += sum(len(_stored(message)) for request in requests for message in request)
            ways = [(kind.service, self._append), (kind.floor, self._floor)]
            for side, call in ways if number % 2 == 0 else reversed(ways):
                side.seconds += await _together(len(self.wires), requests, call, side.times)
        return kind

    async def paced(self, worker: str) -> list[tuple[Cell, ...]]:
        """Context reads alone, then reads and appends of one message in turn."""
        chosen = random.Random(12)
        count = self.plan.rate * self.plan.seconds
        reads = [chosen.randrange(self.plan.sessions) for _ in range(count)]
        await self._at_rate([self._reader(session) for session in reads[: self.plan.rate]])  # warm-up
        alone = await self._at_rate([self._reader(session) for session in reads])
        mixed = [self._reader(session) if n % 2 == 0 else self._writer(session) for n, session in enumerate(reads)]
        both = await self._at_rate(mixed)
        return [
            _paced_row("context reads", worker, self.plan.rate, alone),
            _paced_row("context reads, of as many appends", worker, self.plan.rate // 2, both[::2]),
            _paced_row("appends of one message, of as many reads", worker, self.plan.rate // 2, both[1::2]),
        ]

    async def _at_rate(self, requests: Sequence[Request]) -> list[float]:
        return await _at_rate(self.plan.rate, len(self.wires), requests)

    async def memory(self) -> Table:
        """Bytes that Redis takes for the keys of sessions, by its own account."""
        keys, used, held = Keys(self.load.tenant), 0, 0
        sample = range(0, self.plan.sessions, max(1, self.plan.sessions // 100))
        for session in sample:
            name = _name(session)
            found = [
                key async for key in self.redis.scan_iter(match=keys.part(name, "meta").removesuffix("meta") + "*", count=10_000)
            ]
            used += sum([await self.redis.memory_usage(key, samples=0) or 0 for key in found])
            held += int(await cast("Awaitable[str]", self.redis.hget(keys.part(name, "meta"), "bytes")))
        row: tuple[Cell, ...] = (self.plan.sessions, len(sample), held / len(sample) / 1e3, used / len(sample) / 1e3, used / held)
        columns = ("sessions", "looked at", "messages kB", "in Redis kB", "ratio")
        return Table("Sessions: memory", columns, (row,), note="By MEMORY USAGE of every key of the sessions looked at.")

    async def closed(self) -> Table:
        """Context reads without a pause."""
        times: list[float] = []
        sessions: list[list[Message]] = [[] for _ in range(self.plan.sessions)]
        seconds = sum([await _together(len(self.wires), sessions, self._read_by, times) for _ in range(_READ_ROUNDS)])
        summary = summarise(times)
        row = (len(self.wires), len(times), len(times) / seconds, summary.p50, summary.p95, summary.p99)
        columns = ("connections", "n", "a second", "p50 ms", "p95 ms", "p99 ms")
        return Table("Sessions: context reads without a pause", columns, (row,), note="Times are of waiting for each other.")

    async def summarised(self) -> int:
        """Waits for the worker, some minutes at most; how many sessions it has left to summarise."""
        waiting = Keys(self.load.tenant).index("unsummarised")
        clock = asyncio.get_running_loop().time
        until = clock() + _PATIENCE_S
        while True:  # another process does it
            left = int(await self.redis.zcard(waiting))
            if not left or clock() >= until:
                return left
            await asyncio.sleep(_POLL_S)

    async def _append(self, session: int, messages: Sequence[Message], lane: int) -> None:
        await self.wires[lane].post(f"/v1/sessions/{_name(session)}/messages", {"messages": list(messages)})

    async def _floor(self, session: int, messages: Sequence[Message], _: int) -> None:
        if len(messages) == 1:
            await self.redis.xadd(f"floor:{session}", {"m": _stored(messages[0])})
            return
        async with self.redis.pipeline(transaction=True) as pipeline:
            for message in messages:
                pipeline.xadd(f"floor:{session}", {"m": _stored(message)})
            await pipeline.execute()

    async def _read_by(self, session: int, _: Sequence[Message], lane: int) -> None:
        query = {"budget_tokens": str(BUDGET), "tokenizer": TOKENIZER}
        await self.wires[lane].get(f"/v1/sessions/{_name(session)}/context", query)

    def _reader(self, session: int) -> Request:
        return lambda lane: self._read_by(session, (), lane)

    def _writer(self, session: int) -> Request:
        messages = self.steps.notes(1)
        return lambda lane: self._append(session, messages, lane)


async def _together(
    lanes: int,
    requests: Sequence[list[Message]],
    call: Callable[[int, list[Message], int], Awaitable[None]],
    taken: list[float],
) -> float:
    """The request of every session, as many at once as there are lanes, each lane in order; seconds for all."""
    clock = asyncio.get_running_loop().time

    async def lane(first: int) -> None:
        for session in range(first, len(requests), lanes):
            started = clock()
            await call(session, requests[session], first)
            taken.append((clock() - started) * 1000)

    began = clock()
    async with asyncio.TaskGroup() as group:
        for first in range(lanes):
            group.create_task(lane(first))
    return clock() - began


async def _at_rate(rate: int, lanes: int, requests: Sequence[Request]) -> list[float]:
    """Milliseconds from when each request was due until it was answered, in order; all lanes busy, they wait."""
    clock = asyncio.get_running_loop().time
    began = clock() + 0.1
    free: asyncio.Queue[int] = asyncio.Queue()
    for lane in range(lanes):
        free.put_nowait(lane)

    async def one(number: int, request: Request) -> float:
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - clock()))
        lane = await free.get()
        try:
            await request(lane)
        finally:
            free.put_nowait(lane)
        return (clock() - due) * 1000

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number, request)) for number, request in enumerate(requests)]
    return [task.result() for task in tasks]


def _paced_row(what: str, worker: str, rate: int, times: Sequence[float]) -> tuple[Cell, ...]:
    summary = summarise(times)
    return (what, worker, summary.count, rate, summary.p50, summary.p95, summary.p99)


def _stored(message: Message) -> str:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def _name(session: int) -> str:
    return f"session-{session:05d}"
