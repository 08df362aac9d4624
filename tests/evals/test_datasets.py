"""The BEIR loader: on a tiny set always, on the real ones where they are."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.datasets import DEFAULT_ROOT, load, parse_date_time

REPOSITORY = Path(__file__).parents[2]


def write_set(folder: Path) -> None:
    (folder / "qrels").mkdir(parents=True)
    corpus: list[dict[str, str]] = [
        {"_id": "d1", "title": "Salt", "text": "It dissolves."},
        {
            "_id": "d2",
            "title": "",
            "text": "Hello",
            "namespace": "n",
            "session": "s1",
            "date_time": "12:05 am on 3 March, 2023",
        },
    ]
    queries = [
        {"_id": "q1", "text": "Does salt dissolve?", "category": "fact", "answer": 2022},
        {"_id": "q2", "text": "Unjudged?"},
    ]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n")


def test_a_tiny_set(tmp_path: Path) -> None:
    write_set(tmp_path / "tiny")
    dataset = load("tiny", tmp_path)
    assert [document.text for document in dataset.documents] == ["Salt\nIt dissolves.", "Hello"]
    assert dataset.documents[1].event_time == datetime(2023, 3, 3, 0, 5, tzinfo=UTC)
    assert (dataset.documents[1].session, dataset.namespaces) == ("s1", ("", "n"))
    assert [(query.id, query.answer) for query in dataset.queries] == [("q1", "2022")]
    assert dataset.relevant == {"q1": frozenset({"d1"})}
    corpus = (tmp_path / "tiny/corpus.jsonl").read_bytes()
    assert dataset.hashes["corpus.jsonl"] == hashlib.sha256(corpus).hexdigest()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"qrels/test\.tsv"):
        load("absent", tmp_path)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1:56 pm on 8 May, 2023", "2023-05-08T13:56:00+00:00"),
        ("12:09 am on 13 September, 2023", "2023-09-13T00:09:00+00:00"),
        ("12:48 pm on 1 January, 2024", "2024-01-01T12:48:00+00:00"),
    ],
)
def test_times_of_conversations(written: str, meant: str) -> None:
    assert parse_date_time(written).isoformat() == meant


@pytest.mark.parametrize(
    ("name", "documents", "queries"),
    [("locomo-dev", 2760, 760), ("scifact-train", 5183, 809), ("musique-dev", 5021, 150)],
)
def test_the_real_sets(name: str, documents: int, queries: int) -> None:
    root = REPOSITORY / DEFAULT_ROOT
    if not (root / name).is_dir():
        pytest.skip(f"evaluation set {name} is not on this machine; it is never part of the repository")
    dataset = load(name, root)
    assert (len(dataset.documents), len(dataset.queries)) == (documents, queries)
    known = {document.id for document in dataset.documents}
    assert all(evidence and evidence <= known for evidence in dataset.relevant.values())
    if name == "locomo-dev":
        assert len(dataset.namespaces) == 5
        assert all(document.event_time and document.session for document in dataset.documents)


def test_a_sample_is_spread_over_the_set(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    write_set(folder)
    rows = [{"_id": f"q{number}", "text": "?"} for number in range(100)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = "".join(f"q{number}\td1\t1\n" for number in range(100))
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    dataset = load("many", tmp_path)
    assert [query.id for query in dataset.sample(4)] == ["q0", "q25", "q50", "q75"]
    assert dataset.sample(None) == dataset.sample(1000) == dataset.queries
