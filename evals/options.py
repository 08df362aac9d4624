"""The command line of ``python -m evals``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from evals.datasets import DEFAULT_ROOT
from evals.report import FOLDER

PARTS = ("quality", "context", "latency", "writes", "filtered")


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, where, and how much of it."""

    parts: tuple[str, ...]
    url: str
    key: str
    operator_key: str | None
    data: Path
    out: Path
    prefix: str
    queries: int | None
    reranked: int | None
    sizes: tuple[int, ...]
    tenants: int
    bulk: int


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Exits with a usage message on a mistake, as argparse does."""
    parser = argparse.ArgumentParser(prog="python -m evals", description=__doc__)
    parser.add_argument("part", choices=[*PARTS, "all"])
    parser.add_argument("--url", required=True, help="where memoryd answers")
    parser.add_argument("--key", required=True, help="a tenant's key that may write and create spaces")
    parser.add_argument("--operator-key", help="needed to measure many tenants; that table is left out without it")
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder of the evaluation sets")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the reports")
    parser.add_argument("--prefix", help="starts the names of spaces and tenants; default: the time, so runs are apart")
    parser.add_argument("--queries", type=int, help="questions a set, evenly spread; default: all")
    parser.add_argument("--reranked", type=int, help="questions a set for the reranker, which is slow; default: all")
    parser.add_argument("--sizes", default="10000,100000", help="memories of the one tenant, growing")
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--bulk", type=int, default=5000, help="memories of the bulk write")
    given = parser.parse_args(arguments)
    return Options(
        parts=PARTS if given.part == "all" else (given.part,),
        url=given.url,
        key=given.key,
        operator_key=given.operator_key,
        data=given.data,
        out=given.out,
        prefix=given.prefix or f"bench-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        queries=given.queries,
        reranked=given.reranked,
        sizes=tuple(sorted(int(size) for size in given.sizes.split(","))),
        tenants=given.tenants,
        bulk=given.bulk,
    )
