"""The command lines of ``python -m evals`` (a service that runs already) and ``python -m evals.bench`` (one of its own)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from evals.datasets import DEFAULT_ROOT
from evals.report import FOLDER

PARTS = ("quality", "context", "latency", "writes", "filtered", "sessions", "knowledge", "parsing")


@dataclass(frozen=True, slots=True)
class Service:
    """Where a running service answers, and the keys to use."""

    url: str
    key: str
    operator_key: str | None


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and how much of it. Counts are of questions unless said otherwise.

    ``name`` is appended to the names of the reports.
    """

    parts: tuple[str, ...]
    data: Path
    out: Path
    prefix: str
    name: str
    corpora: tuple[str, ...]
    queries: int | None
    reranked: int
    context_reranked: int
    curve: int
    timed: int
    sizes: tuple[int, ...]
    tenants: int
    bulk: int
    filtered: int
    sessions: int
    paced_s: int
    documents: int | None
    chunks: int


def parse(arguments: Sequence[str] | None = None) -> tuple[Options, Service]:
    """Of ``python -m evals``. Exits with a usage message on a mistake, as argparse does."""
    parser = argparse.ArgumentParser(prog="python -m evals", description="Measure a memoryd that runs already.")
    parser.add_argument("--url", required=True, help="where memoryd answers")
    parser.add_argument("--key", required=True, help="a tenant's key that may write and create spaces")
    parser.add_argument("--operator-key", help="gives each part a tenant of its own, and many tenants to measure")
    given = _common(parser).parse_args(arguments)
    return _options(given), Service(given.url, given.key, given.operator_key)


def parse_bench(arguments: Sequence[str] | None = None) -> tuple[Options, dict[str, str]]:
    """Of ``python -m evals.bench``, with the settings of the stack as environment variables."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.bench", description="Start memoryd in a temporary folder, measure it, and stop it."
    )
    parser.add_argument(
        "--rerank-budget-ms", type=float, help="let the reranker take longer than by default; use --name to keep both reports"
    )
    given = _common(parser).parse_args(arguments)
    budget = given.rerank_budget_ms
    return _options(given), {} if budget is None else {"MEMORYD_RERANK_BUDGET_MS": str(budget)}


def _common(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder of the evaluation sets")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the reports")
    parser.add_argument("--prefix", help="starts the names of spaces and tenants; default: the time, so runs are apart")
    parser.add_argument("--name", default="", help="appended to the names of the reports")
    parser.add_argument(
        "--corpora",
        default="locomo-dev:rich,locomo-dev:neutral,scifact-train:rich",
        help="SET:FIELDS,… of the quality part; neutral tells the service texts only",
    )
    counts = (
        ("--queries", None, "questions a set, evenly spread; default: all"),
        ("--reranked", 100, "questions a set for the reranker, which is slow"),
        ("--context-reranked", 40, "questions of the context part with the reranker"),
        ("--curve", 200, "questions a set for recall at depths up to 100"),
        ("--timed", 250, "questions of each latency measurement"),
        ("--tenants", 1000, "tenants of the many, 20 memories each"),
        ("--bulk", 4000, "memories of each bulk write"),
        ("--filtered", 60, "questions a filter"),
        ("--sessions", 1000, "sessions of working memory"),
        ("--documents", None, "documents of SciFact that are ingested; default: all"),
        ("--chunks", 20_000, "chunks of the ingest that runs beside recalls"),
        ("--paced-s", 30, "seconds of each paced measurement of sessions"),
    )
    for name, default, described in counts:
        parser.add_argument(name, type=int, default=default, help=described + (f"; {default}" if default else ""))
    parser.add_argument("--sizes", default="10000,100000", help="memories of the one tenant, growing")
    return parser


def _options(given: argparse.Namespace) -> Options:
    unknown = sorted(set(given.parts) - set(PARTS))
    if unknown:
        raise SystemExit(f"no part named {unknown[0]!r}: choose from {', '.join(PARTS)}")
    return Options(
        parts=tuple(part for part in PARTS if not given.parts or part in given.parts),
        data=given.data,
        out=given.out,
        prefix=given.prefix or f"bench-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        name=given.name,
        corpora=tuple(given.corpora.split(",")),
        queries=given.queries,
        reranked=given.reranked,
        context_reranked=given.context_reranked,
        curve=given.curve,
        timed=given.timed,
        sizes=tuple(sorted(int(size) for size in given.sizes.split(","))),
        tenants=given.tenants,
        bulk=given.bulk,
        filtered=given.filtered,
        sessions=given.sessions,
        paced_s=given.paced_s,
        documents=given.documents,
        chunks=given.chunks,
    )
