"""The parts of the benchmark: each loads what it needs and returns its tables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

import httpx

from evals import context, filtered, knowledge, latency, mcp, parsing, quality, sessions, writes
from evals.beside import Beside
from evals.client import Client
from evals.datasets import load, spread
from evals.filtered import Crowd
from evals.latency import Target
from evals.loading import Fields, Loaded, load_into
from evals.options import Options, Service
from evals.populate import populate
from evals.report import Cell, Table
from evals.synthetic import SETS, question_pool, recombine, sentence_pool
from retrieval.packing.tokens import counter as token_counter

_MEMORIES, _SINGLE, _BULK_ONE, _BULK_TWO, _TENANTS = range(5)  # seeds: no text is measured twice
_TENANT_MEMORIES = 20
_SINGLE_WRITES = 210
_FILTER_VALUES = (3, 41, 77)
# For the worker, when its progress cannot be seen.
_BLIND_PAUSE_S = 45.0
FOOTPRINT = ("api", "worker", "postgres", "valkey", "disk")

Footprint = Callable[[], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tables, and the SHA-256 of every data file behind them by ``set/file``."""

    tables: tuple[Table, ...]
    hashes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant to work in; its id is unknown when only a key was given."""

    client: Client
    key: str
    tenant: UUID | None


@dataclass(slots=True)
class Bench:
    """One run over HTTP. With :class:`Beside`, the floor, the bare embedder and the exact answers are measured too.

    ``footprint`` tells MiB by process and on disk. With an operator key each part has a tenant of its own, so that what one
    part wrote is not maintained while another is timed.
    """

    options: Options
    service: Service
    pool: httpx.AsyncClient
    beside: Beside | None = None
    footprint: Footprint = dict
    _crowd: Account | None = None
    _filled: int = 0
    _sizes: list[tuple[Cell, ...]] = field(default_factory=list)

    async def part(self, name: str) -> Outcome:
        """The tables of the part of that name."""
        match name:
            case "quality":
                return await self.quality()
            case "context":
                return await self.context()
            case "latency":
                return await self.latency()
            case "writes":
                return await self.writes()
            case "filtered":
                return await self.filtered()
            case "sessions":
                return await self.sessions()
            case "knowledge":
                return await self.knowledge()
            case "parsing":
                return Outcome(*await parsing.measure(self.options.data / "documents"))
            case _:
                raise ValueError(f"no part named {name!r}")

    async def quality(self) -> Outcome:
        """Every configuration on every corpus."""
        account = await self._account("quality")
        tables: list[Table] = []
        hashes: dict[str, str] = {}
        for corpus in self.options.corpora:
            name, _, told = corpus.partition(":")
            fields = Fields(told or "rich")
            loaded = await self._load(account, name, fields, "quality")
            queries = loaded.dataset.sample(self.options.queries)
            label = f"{name}, {fields} fields"
            tables.append(await quality.measure(loaded, queries, label=label, reranked=self.options.reranked))
            if fields is Fields.RICH:
                tables.append(await quality.measure_curve(loaded, spread(queries, self.options.curve), label=label))
            hashes |= {f"{name}/{file}": digest for file, digest in loaded.dataset.hashes.items()}
        return Outcome(tuple(tables), hashes)

    async def context(self) -> Outcome:
        """LoCoMo at every budget, with and without the reranker."""
        loaded = await self._load(await self._account("context"), "locomo-dev", Fields.RICH, "context")
        counter = token_counter("o200k_base")
        queries = loaded.dataset.sample(self.options.queries)
        sample = spread(queries, self.options.context_reranked)
        tables = (
            await context.measure(loaded, queries, counter, label="locomo-dev", rerank="off"),
            await context.measure(loaded, sample, counter, label="locomo-dev, a sample", rerank="off"),
            await context.measure(loaded, sample, counter, label="locomo-dev, the same sample", rerank="on"),
        )
        return Outcome(tables, {f"locomo-dev/{file}": digest for file, digest in loaded.dataset.hashes.items()})

    async def latency(self) -> Outcome:
        """One tenant that grows, then many small ones."""
        pool = sentence_pool(self.options.data)
        questions = iter(question_pool(self.options.data))
        plan = latency.Plan(queries=self.options.timed)
        sizes = self.options.sizes
        memories = list(islice(recombine(pool, seed=_MEMORIES), sizes[-1]))
        target = await self._target(await self._crowded(), self._crowd_space)
        tables = [await latency.one_tenant(target, memories, sizes, questions, plan, self._loaded)]
        tables.append(await mcp.measure(target.client, target.space, question_pool(self.options.data)[: self.options.timed]))
        tables.append(self._size_table())
        if self.service.operator_key is not None:
            count = self.options.tenants * _TENANT_MEMORIES
            dealt = list(islice(recombine(pool, seed=_TENANTS), count))
            targets: list[Target] = []
            for number in range(self.options.tenants):
                account = await self._account(f"{number:04d}")
                own = dealt[number * _TENANT_MEMORIES : (number + 1) * _TENANT_MEMORIES]
                await populate(account.client, "default", own)
                asked = number < self.options.timed + plan.warm_up
                targets.append(await self._target(account, "default") if asked else Target(account.client, "default"))
            tables.append(await latency.many_tenants(targets, count, questions, plan))
        return Outcome(tuple(tables), self._synthetic_hashes())

    async def writes(self) -> Outcome:
        """Single writes, then bulk with one and with two clients."""
        pool = sentence_pool(self.options.data)
        account = await self._account("writes")
        space, beside_it = f"{self.options.prefix}-writes", f"{self.options.prefix}-floor"
        for name in (space, beside_it):
            await account.client.create_space(name)
        alone = list(islice(recombine(pool, seed=_SINGLE), _SINGLE_WRITES))
        together = {
            clients: list(islice(recombine(pool, seed=seed), self.options.bulk))
            for clients, seed in ((1, _BULK_ONE), (2, _BULK_TWO))
        }
        floor = (await self._target(account, beside_it)).floor
        tables = (
            await writes.single(account.client, space, alone, floor),
            await writes.bulk(account.client, space, together, self.beside.embedder if self.beside else None),
        )
        return Outcome(tables, self._synthetic_hashes())

    async def filtered(self) -> Outcome:
        """The largest size under filters; needs the stores and the embedder for the exact answers."""
        account = await self._crowded()
        if self.beside is None or account.tenant is None:
            raise ValueError("exact answers need the stores and the model: run `python -m evals.bench filtered`")
        pool = sentence_pool(self.options.data)
        memories = list(islice(recombine(pool, seed=_MEMORIES), self.options.sizes[-1]))
        if self._filled < len(memories):
            seconds = await populate(account.client, self._crowd_space, memories[self._filled :])
            await self._loaded(len(memories), seconds)
        space_id = await account.client.space_id(self._crowd_space)
        crowd = Crowd(account.client, account.tenant, self._crowd_space, space_id, memories)
        questions = question_pool(self.options.data)[-self.options.filtered :]
        table = await filtered.measure(crowd, questions, _FILTER_VALUES, self.beside)
        return Outcome((table,), self._synthetic_hashes())

    async def sessions(self) -> Outcome:
        """Working memory; needs the Redis beside the service."""
        account = await self._account("sessions")
        if self.beside is None or account.tenant is None or self.beside.settings.redis_url is None:
            raise ValueError("the floor needs the service's Redis: run `python -m evals.bench sessions`")
        load = sessions.Load(self.service.url, account.key, account.tenant, self.beside.settings.redis_url.get_secret_value())
        plan = sessions.Plan(sessions=self.options.sessions, seconds=self.options.paced_s)
        return Outcome(await sessions.measure(load, sentence_pool(self.options.data), plan), self._synthetic_hashes())

    async def knowledge(self) -> Outcome:
        """SciFact as a knowledge base; then recalls beside a larger ingest."""
        if self.beside is None:
            raise ValueError("the bare embedder is needed: run `python -m evals.bench knowledge`")
        account, embedder = await self._account("knowledge"), self.beside.embedder
        dataset = load("scifact-train", self.options.data)
        docs = knowledge.documents(dataset, self.options.documents)
        rate, made = await knowledge.throughput(account.client, "scifact", docs, embedder)
        queries = dataset.sample(self.options.queries)
        found = await knowledge.quality(account.client, made, dataset, queries, embedder)
        space, pool = f"{self.options.prefix}-beside", sentence_pool(self.options.data)
        await account.client.create_space(space)
        await populate(account.client, space, list(islice(recombine(pool, seed=_MEMORIES), min(self.options.sizes))))
        questions = question_pool(self.options.data)[: 2 * self.options.timed]
        busy = await knowledge.beside_ingest(account.client, space, "busy", pool, questions, self.options.chunks)
        hashes = {f"scifact-train/{file}": digest for file, digest in dataset.hashes.items()}
        return Outcome((rate, found, busy), hashes | self._synthetic_hashes())

    @property
    def _crowd_space(self) -> str:
        return f"{self.options.prefix}-crowd"

    async def _account(self, name: str) -> Account:
        """A tenant of its own, or the given key's."""
        if self.service.operator_key is None:
            return self._account_of(self.service.key, None)
        operator = Client(self.service.url, self.service.operator_key, pool=self.pool)
        made = await operator.create_tenant(f"{self.options.prefix}-{name}")
        return self._account_of(made.key.key, made.id)

    def _account_of(self, key: str, tenant: UUID | None) -> Account:
        return Account(Client(self.service.url, key, pool=self.pool), key, tenant)

    async def _crowded(self) -> Account:
        """The tenant that the latency part fills and the filtered part searches."""
        if self._crowd is None:
            self._crowd = await self._account("crowd")
            await self._crowd.client.create_space(self._crowd_space)
        return self._crowd

    async def _target(self, account: Account, space: str) -> Target:
        """A space with the floor in it, where one can be had."""
        if self.beside is None or account.tenant is None:
            return Target(account.client, space)
        floor = self.beside.floor(account.tenant, await account.client.space_id(space))
        return Target(account.client, space, floor)

    async def _loaded(self, size: int, seconds: float) -> None:
        """Waits for the worker, and notes what the size costs."""
        written, self._filled = size - self._filled, size
        started = asyncio.get_running_loop().time()
        outside: int | None = None
        if self.beside is not None and self._crowd is not None and self._crowd.tenant is not None:
            outside = await self.beside.indexed(self._crowd.tenant, size)
        else:
            await asyncio.sleep(_BLIND_PAUSE_S)
        waited = asyncio.get_running_loop().time() - started
        used = self.footprint()
        self._sizes.append((size, written / seconds, waited, outside, *(used.get(name) for name in FOOTPRINT)))

    def _size_table(self) -> Table:
        columns = ("memories", "loaded, texts/s", "indexed after s", "vectors outside HNSW", *(f"{one} MiB" for one in FOOTPRINT))
        return Table(
            "What the sizes cost",
            columns,
            tuple(self._sizes),
            note="Memory is proportional set size, of PostgreSQL with its shared buffers and all its backends; disk is the data "
            "directory with write-ahead log. A tenant of up to MEMORYD_EXACT_LIMIT memories stays outside the HNSW index.",
        )

    async def _load(self, account: Account, name: str, fields: Fields, part: str) -> Loaded:
        dataset = load(name, self.options.data)
        prefix = f"{self.options.prefix}-{part}-{fields}"
        return await load_into(account.client, dataset, fields=fields, prefix=prefix)

    def _synthetic_hashes(self) -> dict[str, str]:
        return {f"{name}/{file}": digest for name in SETS for file, digest in load(name, self.options.data).hashes.items()}
