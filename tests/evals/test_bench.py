"""The whole benchmark, very small, on a stack of its own: every part measures something and leaves its report."""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from evals.options import PARTS

ROOT = Path(__file__).parents[2]
WORDS = (
    "apple",
    "barn",
    "candle",
    "dune",
    "ember",
    "forest",
    "grain",
    "harbour",
    "island",
    "jacket",
    "kettle",
    "ladder",
    "meadow",
    "needle",
    "orchard",
    "pepper",
)
MEMORIES = 800
CORPORA = "locomo-dev:rich,scifact-train:neutral"
Row = dict[str, Any]  # as JSON has it: names, counts and figures
Reports = dict[str, dict[str, list[Row]]]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def write_sets(root: Path) -> None:
    """Three sets with the names that the benchmark asks for, of sentences that can be told apart, and a document."""
    (root / "documents/expected").mkdir(parents=True)
    (root / "documents/note.html").write_text("<h1>Salt</h1><p>It dissolves.")
    (root / "documents/expected/note.html.md").write_text("# Salt\n\nIt dissolves.")
    (root / "documents/empty.txt").write_text("")
    rng = random.Random(7)
    for number, name in enumerate(("locomo-dev", "scifact-train", "musique-dev")):
        folder = root / name
        (folder / "qrels").mkdir(parents=True)
        documents, queries, judged = [], [], ["query-id\tcorpus-id\tscore"]
        for row in range(60):
            text = f"Note {number}{row:02d} says that the {' and the '.join(rng.sample(WORDS, 3))} were found."
            place = {"session": f"s{row // 10}", "date_time": "1:56 pm on 8 May, 2023"} if number == 0 else {}
            documents.append({"_id": f"d{row}", "title": "", "text": text, **place})
            asked = {"_id": f"q{row}", "text": f"Which things did note {number}{row:02d} find?", "category": "plain"}
            queries.append(asked | {"answer": f"note {number}{row:02d}"})
            judged.append(f"q{row}\td{row}\t1")
        (folder / "corpus.jsonl").write_text("".join(json.dumps(one) + "\n" for one in documents))
        (folder / "queries.jsonl").write_text("".join(json.dumps(one) + "\n" for one in queries))
        (folder / "qrels/test.tsv").write_text("\n".join(judged) + "\n")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """The tables of each report, by part and title."""
    folder = tmp_path_factory.mktemp("bench")
    write_sets(folder / "data")
    counts = "--queries 6 --reranked 2 --context-reranked 2 --curve 4 --timed 6 --tenants 3 --bulk 60 --filtered 6"
    counts += " --sessions 4 --paced-s 1 --documents 30 --chunks 40"
    command = [sys.executable, "-m", "evals.bench", "--data", str(folder / "data"), "--out", str(folder / "reports")]
    # pytest's own folders are closed to the account that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="mb-") as place:
        Path(place).chmod(0o755)
        # So small that the worker has something to index.
        env = os.environ | {"TMPDIR": place, "MEMORYD_EXACT_LIMIT": "300", "MEMORYD_ANN_TAIL": "100"}
        arguments = [*command, *counts.split(), "--sizes", str(MEMORIES), "--rerank-budget-ms", "20000", "--corpora", CORPORA]
        done = subprocess.run(arguments, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        assert not list(Path(place).glob("memoryd-*")), "the stack's folder was left behind"
    found: Reports = {}
    for part in PARTS:
        document = json.loads((folder / "reports" / f"{part}.json").read_text())
        assert document["environment"]["settings"]["exact_limit"] == "300"
        assert document["environment"]["settings"]["rerank_budget_ms"] == "20000.0"
        assert (folder / "reports" / f"{part}.md").read_text().startswith(f"# Benchmark: {part}\n")
        found[part] = {table["title"]: table["rows"] for table in document["tables"]}
    return found


def test_quality_has_every_configuration_and_finds_what_is_named(reports: Reports) -> None:
    rows = reports["quality"]["Quality: locomo-dev, rich fields"]
    overall = {row["configuration"]: row for row in rows if row["category"] == "all"}
    assert {"dense", "lexical", "fused (convex)", "fused (rrf)", "fused (convex) + rerank"} <= set(overall)
    assert overall["lexical"]["recall@5"] == 1.0
    assert overall["fused (convex) + rerank"]["rerank depth"] == 20
    assert all(row["degraded"] == 0 for row in rows)
    assert "Recall curve: locomo-dev, rich fields" in reports["quality"]


def test_context_compares_three_readings_with_the_fills(reports: Reports) -> None:
    rows = reports["context"]["Context: locomo-dev, the same sample, rerank on"]
    shares = {(row["budget"], row["method"]): row["share"] for row in rows}
    assert len(shares) == 4 * 7
    assert shares[2048, "naive hits, stop"] == shares[2048, "memoryd, verbatim"] == 1.0
    assert all(row["max tokens"] <= row["budget"] for row in rows)
    words = {(row["budget"], row["method"]): row["answer words"] for row in rows}
    assert words[2048, "naive bare words, skip"] == words[2048, "memoryd, verbatim"] == 1.0


def test_latency_has_every_stage_the_floor_and_what_the_size_costs(reports: Reports) -> None:
    rows = {(row["mode"], row["stage"]): row for row in reports["latency"]["Recall latency: one tenant"]}
    stages = {"client wall", "embed", "dense", "lexical", "fuse", "total", "floor", "floor: embed", "client wall / floor"}
    assert stages <= {stage for mode, stage in rows if mode == "one at a time"}
    assert rows["one at a time, rerank on", "rerank"]["reranked"] == 20
    assert rows["one at a time", "client wall"]["p50 ms"] > rows["one at a time", "total"]["p50 ms"] > 0
    ways = {row["way"]: row for row in reports["latency"]["Recall over MCP and over REST"]}
    assert ways.keys() == {"REST", "MCP 2025-11-25", "MCP 2026-07-28"}
    assert all(row["p50 ms"] > 0 for row in ways.values())
    size = reports["latency"]["What the sizes cost"][0]
    assert size["memories"] == MEMORIES
    assert size["vectors outside HNSW"] < 100
    assert size["disk MiB"] > 1
    tenants = {row["stage"]: row for row in reports["latency"]["Recall latency: many tenants"]}
    assert (tenants["floor"]["tenants"], tenants["floor"]["memories"]) == (3, 60)


def test_writes_are_compared_with_the_floor_and_the_bare_embedder(reports: Reports) -> None:
    single = reports["writes"]["Writes: one memory a request"]
    assert [row["what"] for row in single] == ["memoryd over HTTP", "floor: embed + one commit", "ratio"]
    bulk = reports["writes"]["Writes: bulk"]
    assert [row["what"] for row in bulk][1::2] == ["memoryd over HTTP, 1 client", "memoryd over HTTP, 2 clients"]
    assert all(row["of the bare embedder"] > 0 for row in bulk[1::2])


def test_parsing_is_compared_with_the_reference(reports: Reports) -> None:
    rows = {row["file"]: row for row in reports["parsing"]["Parsing: similarity to the reference"]}
    assert rows["note.html"]["similarity"] == rows["note.html"]["words F1"] == 1.0
    assert rows["empty.txt"]["outcome"] == "empty"


def test_filters_lose_nothing(reports: Reports) -> None:
    rows = {row["filter"]: row for row in reports["filtered"]["Filtered recall: dense arm"]}
    assert len(rows) == 5
    for kind in ("metadata", "user_id", "a day's events"):
        assert rows[kind]["within tolerance"] == 1.0
        assert 0 < rows[kind]["kept"] < 0.03
    # Above the exact limit: approximate.
    assert rows["nothing"]["within tolerance"] > 0.9
    assert all(row["degraded"] == 0 for row in rows.values())


def test_sessions_are_measured_beside_redis_alone(reports: Reports) -> None:
    tables = reports["sessions"]
    appends = {(row["what"], row["how"]): row for row in tables["Sessions: appends"]}
    assert len(appends) == 10
    counts = [row["requests"] for row in appends.values() if row["how"] == "memoryd over HTTP"]
    assert counts[-1] == sum(counts[:-1])  # all of these
    assert all(row["of the floor"] > 0 for row in appends.values() if row["how"] == "memoryd over HTTP")
    paced = tables["Sessions: paced requests"]
    assert len(paced) == 6
    (closed,) = tables["Sessions: context reads without a pause"]
    assert all(0 < row["p50 ms"] <= row["p99 ms"] for row in (*paced, closed))
    (memory,) = tables["Sessions: memory"]
    assert 50 < memory["messages kB"] < memory["in Redis kB"]


def test_knowledge_is_measured_beside_the_bare_embedder(reports: Reports) -> None:
    tables = reports["knowledge"]
    ingest, bare, large, beside, again = tables["Ingest: throughput"]
    assert ingest["documents"] == 30
    assert ingest["chunks embedded"] == bare["chunks embedded"] >= 30
    assert (large["documents"], large["chunks embedded"]) == (1, beside["chunks embedded"])
    assert ingest["of the bare embedder"] > 0
    assert large["of the bare embedder"] > 0
    assert again["chunks embedded"] == again["failed"] == ingest["failed"] == 0
    quality = {(row["configuration"], row["where"]): row for row in tables["Knowledge: quality on SciFact"]}
    for arms in ("dense", "lexical", "fused (convex)"):
        through, inside = quality[arms, "through the API"], quality[arms, "in-process"]
        assert through["ndcg@10"] == pytest.approx(inside["ndcg@10"], abs=0.02)
    when = {row["when"]: row for row in tables["Recall while an ingest runs"]}
    assert when["idle"]["p50 ms"] > 0
    assert when["while an ingest runs"]["p50 ms"] > 0
