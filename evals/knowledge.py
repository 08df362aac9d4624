"""Knowledge bases: how fast documents are ingested, what that does to recalls, and whether search finds as much as in-process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

import numpy as np

from evals import metrics
from evals.client import Client, JobAnswer, Recall
from evals.datasets import Dataset, Query
from evals.report import Cell, Table
from evals.synthetic import recombine
from evals.timing import summarise
from retrieval.analysis import Analyzer
from retrieval.bm25 import DEFAULT_PARAMS, CorpusStatistics, query_weights, term_weight
from retrieval.candidates import ARM_DEPTH
from retrieval.fusion import convex_combination
from retrieval.ports import Embedder
from retrieval.vectors import Vectors

_BATCH = 64
_SHARES = 8
_TOGETHER, _PART = 20, 4
_CONCURRENCY = 4
# The service keeps the time; who looks takes some of the machine that is measured.
_POLL_S = 1.0
_DEPTH = 10
_SENTENCES = 40
_WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Ingested:
    """A knowledge base that was filled and published.

    ``vectors``: of all chunks, document after document, by the bare embedder.
    """

    name: str
    chunks: Mapping[str, list[str]]
    vectors: Vectors


def documents(dataset: Dataset, most: int | None) -> list[dict[str, str]]:
    """The documents of a set as the API takes them."""
    rows = dataset.documents[:most]
    return [{"document_id": row.id, "text": row.body} | ({"title": row.title[:256]} if row.title else {}) for row in rows]


def _shares(docs: Sequence[Mapping[str, str]]) -> list[Sequence[Mapping[str, str]]]:
    size = max(1, -(-len(docs) // _SHARES))
    return [docs[start : start + size] for start in range(0, len(docs), size)]


async def ingest(client: Client, name: str, docs: Sequence[Mapping[str, str]]) -> tuple[JobAnswer, float]:
    """One job that ingests and publishes; how it ended, and after how long."""
    started = datetime.now(UTC)
    job = await client.ingest(name, docs, publish=True)
    while not job.ended or job.finished_at is None:
        await asyncio.sleep(_POLL_S)
        job = await client.job(job.id)
    return job, (job.finished_at - started).total_seconds()


@dataclass(slots=True)
class _Turns:
    """What jobs took, and the bare embedder for the same texts."""

    documents: int = 0
    seconds: float = 0.0
    bare: float = 0.0
    failed: int = 0
    chunks: dict[str, list[str]] = field(default_factory=dict)
    vectors: list[Vectors] = field(default_factory=list)

    def rows(self, what: str) -> tuple[tuple[Cell, ...], ...]:
        """The service's, and the floor's."""
        count = sum(map(len, self.vectors))
        rate, alone = count / self.seconds, count / self.bare
        return (
            (what, self.documents, count, self.seconds, rate, rate / alone, self.failed),
            ("bare embedder, the same texts", self.documents, count, self.bare, alone, None, None),
        )


async def throughput(client: Client, name: str, docs: Sequence[Mapping[str, str]], embedder: Embedder) -> tuple[Table, Ingested]:
    """Chunks a second from the order of a job to its publish, beside the embedder alone: of each document by itself, of some of
    them in larger ones, and the same corpus once more."""
    short = await _by_turns(client, name, docs, embedder)
    together = gathered(docs[: max(1, len(docs) // _PART)])
    large = await _by_turns(client, f"{name}-together", together, embedder)
    again, idle = await ingest(client, name, docs)
    rows: tuple[tuple[Cell, ...], ...] = (
        *short.rows("ingest, parse to publish"),
        *large.rows(f"ingest of documents of {_TOGETHER} abstracts"),
        ("the same corpus again", len(docs), again.counters.chunks, idle, None, None, again.counters.failed),
    )
    table = Table(
        "Ingest: throughput",
        ("what", "documents", "chunks embedded", "seconds", "chunks/s", "of the bare embedder", "failed"),
        rows,
        note=f"The ingest is {_SHARES} jobs over HTTP, each from its order to the end of its publish, by one worker at nice 10. "
        "After each the bare embedder gets its texts (prefix and text) in batches of 64, in the benchmark's process, when the "
        "service is idle: by turns, for the speed of a machine changes. An abstract is a document of one or two chunks; "
        f"a part of them, {_TOGETHER} to a document, each under a heading, shows what a document costs beside its chunks. "
        f"The second time every document was unchanged: {again.counters.unchanged} of {len(docs)}.",
    )
    return table, Ingested(name, short.chunks, np.concatenate(short.vectors))


async def _by_turns(client: Client, name: str, docs: Sequence[Mapping[str, str]], embedder: Embedder) -> _Turns:
    await client.create_base(name)
    turns = _Turns(len(docs))
    for some in _shares(docs):
        job, took = await ingest(client, name, some)
        turns.seconds, turns.failed = turns.seconds + took, turns.failed + job.counters.failed
        turns.chunks |= (new := await client.chunk_texts(name, [one["document_id"] for one in some]))
        texts = [text for one in new.values() for text in one]
        began = time.perf_counter()
        turns.vectors += [await embedder.embed_passages(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        turns.bare += time.perf_counter() - began
    return turns


def gathered(docs: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The same texts in larger documents, each text under its title."""
    found = []
    for start in range(0, len(docs), _TOGETHER):
        text = "\n\n".join(f"## {one.get('title', 'Untitled')}\n\n{one['text']}" for one in docs[start : start + _TOGETHER])
        found.append({"document_id": f"together-{start:05d}", "title": f"Abstracts from {start}", "text": text})
    return found


async def quality(client: Client, made: Ingested, dataset: Dataset, queries: Sequence[Query], embedder: Embedder) -> Table:
    """The same questions through ``/search`` and in-process, over the same chunks: dense, lexical, and both fused."""
    kept = [query for query in queries if dataset.relevant[query.id] & made.chunks.keys()]
    harness = Harness.over(made.chunks, made.vectors, embedder)
    rows: list[tuple[Cell, ...]] = []
    for label, arms in (("dense", ("dense",)), ("lexical", ("lexical",)), ("fused (convex)", ("dense", "lexical"))):
        through, inside = await asyncio.gather(_searched(client, made.name, kept, arms), _in_process(harness, kept, arms))
        for where, rankings in (("through the API", through), ("in-process", inside)):
            values = metrics.per_query(dataset.relevant, rankings)
            means = metrics.mean(values.values())
            rows.append((label, where, len(kept), *(means[name] for name in metrics.NAMES)))
        same = sum(through[one.id] == inside[one.id] for one in kept)
        rows.append((label, "equal rankings", same, *(None for _ in metrics.NAMES)))
    return Table(
        "Knowledge: quality on SciFact",
        ("configuration", "where", "queries", *metrics.NAMES),
        tuple(rows),
        note="In-process: numpy inner products and BM25 of the reference scorer over the same chunk texts, fused by the same "
        "pure function; no store, no HTTP. Stored vectors are half precision, so near-ties may change places.",
    )


@dataclass(slots=True)
class Harness:
    """Search over chunks in memory: what the service should find."""

    owners: list[str]
    vectors: Vectors
    statistics: CorpusStatistics[str]
    frequencies: list[dict[str, int]]
    lengths: list[int]
    embedder: Embedder

    @classmethod
    def over(cls, chunks: Mapping[str, list[str]], vectors: Vectors, embedder: Embedder) -> Harness:
        """Analyses every chunk; ``vectors`` are theirs, in order."""
        owners = [document for document, texts in chunks.items() for _ in texts]
        texts = [text for some in chunks.values() for text in some]
        analyser = Analyzer()
        tokens = [analyser.tokens(text) for text in texts]
        counted = [{one: some.count(one) for one in set(some)} for some in tokens]
        return cls(owners, vectors, CorpusStatistics.of(tokens), counted, [len(some) for some in tokens], embedder)

    async def search(self, text: str, arms: Sequence[str]) -> list[str]:
        """Documents, best first, at most ten: each by its best chunk."""
        lists: dict[str, list[tuple[int, float]]] = {}
        if "dense" in arms:
            vector = (await self.embedder.embed_queries([text]))[0]
            lists["dense"] = self._best(dict(enumerate((self.vectors @ vector).tolist())))
        if "lexical" in arms:
            weights = query_weights(Analyzer().tokens(text), self.statistics, DEFAULT_PARAMS)
            average = self.statistics.average_length
            scores = {
                number: sum(
                    weight * term_weight(found[term], self.lengths[number], average, DEFAULT_PARAMS)
                    for term, weight in weights.items()
                    if term in found
                )
                for number, found in enumerate(self.frequencies)
                if not weights.keys().isdisjoint(found)
            }
            lists["lexical"] = self._best(scores)
        fused = convex_combination(lists)
        return list(dict.fromkeys(self.owners[one.key] for one in fused))[:_DEPTH]

    @staticmethod
    def _best(scores: Mapping[int, float]) -> list[tuple[int, float]]:
        return sorted(scores.items(), key=lambda one: (-one[1], one[0]))[:ARM_DEPTH]


async def _in_process(harness: Harness, queries: Sequence[Query], arms: Sequence[str]) -> dict[str, list[str]]:
    return {query.id: await harness.search(query.text, arms) for query in queries}


async def _searched(client: Client, name: str, queries: Sequence[Query], arms: Sequence[str]) -> dict[str, list[str]]:
    slots = asyncio.Semaphore(_CONCURRENCY)

    async def ask(query: Query) -> tuple[str, list[str]]:
        async with slots:
            found = await client.search_base(name, query.text, arms=arms, limit=3 * _DEPTH)
        return query.id, list(dict.fromkeys(hit.external_id or "" for hit in found.hits))[:_DEPTH]

    return dict(await asyncio.gather(*(ask(query) for query in queries)))


async def beside_ingest(
    client: Client, space: str, name: str, pool: Sequence[str], questions: Sequence[str], chunks: int
) -> Table:
    """Recalls in a space while a large ingest of the same tenant runs, beside the same number of recalls before it."""
    half = len(questions) // 2
    idle = await _recalls(client, space, questions[:half])
    await client.create_base(name)
    async with _ingesting(client, name, pool, chunks) as job_id:
        busy = await _recalls(client, space, questions[half:])
        job = await client.job(job_id)
    before, during = summarise(warm(idle)), summarise(warm(busy))
    rows: tuple[tuple[Cell, ...], ...] = (
        ("idle", before.count, before.p50, before.p95, before.p99),
        ("while an ingest runs", during.count, during.p50, during.p95, during.p99),
        ("ratio", during.count, during.p50 / before.p50, during.p95 / before.p95, during.p99 / before.p99),
    )
    return Table(
        "Recall while an ingest runs",
        ("when", "n", "p50 ms", "p95 ms", "p99 ms"),
        rows,
        note=f"One recall after another, rerank off. The ingest is ordered for about {chunks} chunks; it had written "
        f"{job.counters.chunks} when the last recall was answered and was {job.state} then; it is cancelled afterwards.",
    )


@asynccontextmanager
async def _ingesting(client: Client, name: str, pool: Sequence[str], chunks: int) -> AsyncIterator[str]:
    """A job that has begun to write chunks."""
    texts = islice(recombine(pool, seed=9), chunks * 2)
    docs: list[dict[str, str]] = []
    while sentences := list(islice(texts, _SENTENCES)):
        text = "\n\n".join(one.text for one in sentences)
        docs.append({"document_id": f"d{len(docs):05d}", "title": f"Document {len(docs)}", "text": text})
    job = await client.ingest(name, docs, publish=False)
    try:
        while not (job.counters.chunks or job.ended):
            await asyncio.sleep(_POLL_S)
            job = await client.job(job.id)
        yield job.id
    finally:
        await client.cancel_job(job.id)


def warm(walls: Sequence[float]) -> Sequence[float]:
    """Without the first twenty, or of a few without the first half."""
    return walls[min(_WARM_UP, len(walls) // 2) :]


async def _recalls(client: Client, space: str, questions: Sequence[str]) -> list[float]:
    walls = []
    for question in questions:
        started = time.perf_counter()
        await client.recall(Recall(question, space))
        walls.append((time.perf_counter() - started) * 1000)
    return walls
