"""The five parts of the benchmark: each loads what it needs and returns its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from evals import context, filtered, latency, quality, writes
from evals.client import Client
from evals.datasets import load
from evals.floor import Floor
from evals.loading import Fields, Loaded, load_into
from evals.options import Options
from evals.populate import populate
from evals.report import Table
from evals.synthetic import SETS, question_pool, recombine, sentence_pool
from retrieval.packing.tokens import counter as token_counter
from retrieval.ports import Embedder

# Conversations are told in two ways: with session and time, and with the text alone.
CORPORA = (("locomo-dev", Fields.RICH), ("locomo-dev", Fields.NEUTRAL), ("scifact-train", Fields.RICH))
_MEMORIES, _SINGLE, _BULK, _TENANTS = range(4)  # seeds: no text is measured twice
_TENANT_MEMORIES = 20
_SINGLE_WRITES = 210
_FILTER_QUESTIONS, _FILTER_BUCKETS = 20, ("b03", "b41", "b77")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tables, and the SHA-256 of every data file behind them by ``set/file``."""

    tables: tuple[Table, ...]
    hashes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Bench:
    """One run: the service over HTTP, and beside it the floor and the bare embedder (``None``: not measured).

    ``recall_floor`` reads the space :attr:`crowd`; ``write_floor`` writes into a space that nothing else uses.
    """

    options: Options
    client: Client
    operator: Client | None
    embedder: Embedder | None = None
    recall_floor: Floor | None = None
    write_floor: Floor | None = None

    @property
    def crowd(self) -> str:
        """The space of the latency and filter measurements."""
        return crowd_space(self.options)

    async def quality(self) -> Outcome:
        """Every configuration on every corpus."""
        tables: list[Table] = []
        hashes: dict[str, str] = {}
        for name, fields in CORPORA:
            loaded = await self._load(name, fields, "quality")
            queries = loaded.dataset.sample(self.options.queries)
            label = f"{name}, {fields} fields"
            tables.append(await quality.measure(loaded, queries, label=label, reranked=self.options.reranked))
            if fields is Fields.RICH:
                tables.append(await quality.measure_curve(loaded, queries, label=label))
            hashes |= {f"{name}/{file}": digest for file, digest in loaded.dataset.hashes.items()}
        return Outcome(tuple(tables), hashes)

    async def context(self) -> Outcome:
        """LoCoMo at every budget, with and without the reranker."""
        loaded = await self._load("locomo-dev", Fields.RICH, "context")
        counter = token_counter("o200k_base")
        queries = loaded.dataset.sample(self.options.queries)
        tables = [await context.measure(loaded, queries, counter, label="locomo-dev", rerank="off")]
        hashes = {f"locomo-dev/{file}": digest for file, digest in loaded.dataset.hashes.items()}
        return Outcome(tuple(tables), hashes)

    async def latency(self) -> Outcome:
        """One tenant that grows, then many small ones."""
        pool = sentence_pool(self.options.data)
        questions = iter(question_pool(self.options.data))
        plan = latency.Plan()
        sizes = self.options.sizes
        memories = list(islice(recombine(pool, seed=_MEMORIES), sizes[-1]))
        target = latency.Target(self.client, self.crowd)
        tables = [await latency.one_tenant(target, memories, sizes, questions, plan, self.recall_floor)]
        if self.operator is not None:
            dealt = list(islice(recombine(pool, seed=_TENANTS), self.options.tenants * _TENANT_MEMORIES))
            tables.append(
                await latency.many_tenants(
                    self.operator,
                    self.options.url,
                    dealt,
                    self.options.tenants,
                    questions,
                    plan,
                    prefix=self.options.prefix,
                )
            )
        return Outcome(tuple(tables), self._synthetic_hashes())

    async def writes(self) -> Outcome:
        """Single writes, then bulk."""
        pool = sentence_pool(self.options.data)
        space = f"{self.options.prefix}-writes"
        await self.client.create_space(space)
        alone = list(islice(recombine(pool, seed=_SINGLE), _SINGLE_WRITES))
        together = list(islice(recombine(pool, seed=_BULK), self.options.bulk))
        tables = [
            await writes.single(self.client, space, alone, self.write_floor),
            await writes.bulk(self.client, space, together, self.embedder),
        ]
        return Outcome(tuple(tables), self._synthetic_hashes())

    async def filtered(self) -> Outcome:
        """One percent of the largest size; needs the embedder for the exact answer."""
        if self.embedder is None:
            raise ValueError("the exact answer needs the embedding model on this machine: run `memoryd models pull`")
        pool = sentence_pool(self.options.data)
        memories = list(islice(recombine(pool, seed=_MEMORIES), self.options.sizes[-1]))
        await self.client.create_space(self.crowd)
        # After the latency part in the same run these are all duplicates, recognised before they are embedded.
        await populate(self.client, self.crowd, memories)
        questions = question_pool(self.options.data)[-_FILTER_QUESTIONS:]
        table = await filtered.measure(self.client, self.crowd, memories, questions, _FILTER_BUCKETS, self.embedder)
        return Outcome((table,), self._synthetic_hashes())

    async def _load(self, name: str, fields: Fields, part: str) -> Loaded:
        dataset = load(name, self.options.data)
        prefix = f"{self.options.prefix}-{part}-{fields}"
        return await load_into(self.client, dataset, fields=fields, prefix=prefix)

    def _synthetic_hashes(self) -> dict[str, str]:
        return {f"{name}/{file}": digest for name in SETS for file, digest in load(name, self.options.data).hashes.items()}


def crowd_space(options: Options) -> str:
    """The space that the latency part fills; the floor has to look into the same one."""
    return f"{options.prefix}-crowd"
