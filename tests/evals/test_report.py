"""Reports: complete, readable, and without keys, hosts or paths."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from evals.environment import Environment, describe, redact
from evals.report import Report, Table, to_json, to_markdown, write
from memoryd.settings import Settings

ENVIRONMENT = Environment(
    "python -m evals quality", "2025-09-08T09:00:00+00:00", "abc", "2 cores", "0.10", {"python": "3.11"}, {"exact_limit": "12000"}
)
TABLE = Table("Quality: tiny", ("configuration", "queries", "ndcg@10"), (("fused", 3, 0.61234), ("a|b", 2, None)), "Why.")
REPORT = Report("quality", ENVIRONMENT, 61.26, {"tiny/corpus.jsonl": "00ff"}, (TABLE,))


def test_markdown_has_the_table_the_provenance_and_the_hashes() -> None:
    text = to_markdown(REPORT)
    assert "| configuration | queries | ndcg@10 |\n| --- | --- | --- |\n| fused | 3 | 0.612 |\n" in text
    assert "| a\\|b | 2 | – |" in text
    assert "- command: `python -m evals quality`" in text
    assert "commit abc" in text
    assert "- took: 61 s" in text
    assert "- settings: exact_limit 12000" in text
    assert "| tiny/corpus.jsonl | `00ff` |" in text


def test_json_keeps_full_precision(tmp_path: Path) -> None:
    path, _ = write(REPORT, tmp_path / "reports")
    document = json.loads(path.read_text())
    assert path.read_text() == to_json(REPORT)
    assert document["tables"][0]["rows"][0] == {"configuration": "fused", "queries": 3, "ndcg@10": 0.61234}
    assert document["environment"]["versions"] == {"python": "3.11"}


def test_a_ragged_table_is_refused() -> None:
    with pytest.raises(ValueError, match="does not match"):
        Table("T", ("a", "b"), ((1,),))


def test_keys_and_places_are_not_in_the_command() -> None:
    given = ["all", "--url", "http://h:1", "--key=mk_secret", "--operator-key", "op", "--queries", "5", "--data=/x"]
    assert redact(given) == ["all", "--url", "…", "--key=…", "--operator-key", "…", "--queries", "5", "--data=…"]


def test_the_description_names_no_host_and_no_path() -> None:
    import platform

    settings = Settings(embedding_model="/home/somebody/models/mine", database_url=SecretStr("postgresql://u:secret@h/d"))
    environment = describe("python -m evals", ["quality"], settings=settings, now=datetime(2025, 1, 2, tzinfo=UTC))
    assert environment.command == "python -m evals quality"
    assert environment.started_at == "2025-01-02T00:00:00+00:00"
    assert "cores" in environment.machine
    assert "numpy" in environment.versions
    shown = json.dumps(environment.as_dict())
    assert environment.settings["embedding_model"] == "mine"
    assert not any(hidden in shown for hidden in (str(Path.cwd()), "somebody", "secret"))
    assert not platform.node() or platform.node() not in environment.machine
