"""``memoryd ingest``."""

import json
from pathlib import Path

import httpx
import pytest

from memoryd.cli.bars import Bars
from memoryd.client import Job, bulk
from tests.cli.conftest import Command
from tests.client.service import STREAM, Service, base, job, problem


def test_a_folder(command: Command, service: Service, docs: Path) -> None:
    said = command("ingest", docs, "--kb", "handbook", "--prefix", "a/")
    assert said.exit_code == 0, said.output
    assert "handbook: 2 sent, 0 unchanged, 0 removed, 0 failed" in said.stdout
    assert "memoryd kb publish handbook" in said.stdout
    assert said.stderr == ""
    assert set(service.staged) == {"a/readme.md", "a/leave.md"}
    assert "0 sent, 2 unchanged" in command("ingest", docs, "--kb", "handbook", "--prefix", "a/").stdout


def test_a_glob_that_is_not_understood_or_matched_nothing(command: Command, service: Service, docs: Path) -> None:
    said = command("ingest", docs, "--kb", "handbook", "--exclude", "{leave,readme}.md", "--publish")
    assert said.exit_code == 2
    assert "--exclude" in said.stderr
    assert "{ is not understood" in said.stderr
    assert service.asked == []
    said = command("ingest", docs, docs / "leave.md", "--kb", "handbook", "--exclude", "[k-m]*.md", "--exclude", "payrol.md")
    assert said.exit_code == 0
    assert said.stderr == "memoryd: warning: --exclude payrol.md matched nothing\n"
    assert set(service.staged) == {"readme.md"}, "also a file that is named itself stays out"


def test_for_pipes(command: Command, docs: Path) -> None:
    said = command("ingest", docs, "--kb", "handbook", "--publish", "--json")
    assert said.exit_code == 0
    found = json.loads(said.stdout)
    assert (found["sent"], found["live"], found["failed"]) == (2, 1, [])
    assert [one["state"] for one in found["jobs"]] == ["succeeded"]


def test_documents_that_fail_are_shown_and_end_with_1(command: Command, service: Service, docs: Path) -> None:
    failed = job("partial", items=2, succeeded=1, failed=1)
    item = {"item": 0, "document_id": "leave\x1b[2J.md", "state": "failed", "attempts": 1, "reason": "encrypted", "dead": False}
    item |= {"detail": "needs [bold]a password", "chunks": 0, "tokens": 0, "bytes": 9}
    service.answers = [
        httpx.Response(200, json={"unchanged": [], "changed": ["leave.md"], "new": ["readme.md"]}),
        httpx.Response(
            201,
            json={
                "uploads": [
                    {"upload": "0" * 64, "file_name": None, "bytes": 1},
                    {"upload": "1" * 64, "file_name": None, "bytes": 1},
                ]
            },
        ),
        httpx.Response(202, json=job()),
        httpx.Response(200, text=f"id: 2\nevent: state\ndata: {json.dumps(failed)}\n\n", headers=STREAM),
        httpx.Response(200, json={"items": [item], "next_cursor": None}),
    ]
    said = command("ingest", docs, "--kb", "handbook", "--publish")
    assert said.exit_code == 1
    assert "encrypted" in said.stdout
    assert "needs [bold]a password" in said.stdout
    assert "\x1b" not in said.stdout
    assert "partial" in said.stdout
    assert "@live" not in said.stdout


def test_not_waiting(command: Command, service: Service, docs: Path) -> None:
    said = command("ingest", docs, "--kb", "handbook", "--no-wait")
    assert said.exit_code == 0
    assert "memoryd jobs show --watch" in said.stdout
    assert not service.of("GET", ".*/events")


def test_what_is_said_of_a_publish_that_is_to_come(
    command: Command, service: Service, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = command("ingest", docs, "--kb", "handbook", "--no-wait", "--publish").stdout
    assert "the job publishes by itself" in said
    assert "kb publish" not in said
    service.staged.clear()
    assert "when all is through" in command("ingest", docs, "--kb", "handbook", "--no-wait").stdout

    def interrupted(self: Bars, job: Job) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Bars, "job", interrupted)
    service.staged.clear()
    assert "publishes by itself" in command("ingest", docs, "--kb", "handbook", "--publish").stderr
    service.staged.clear()
    assert "publishes" not in command("ingest", docs, "--kb", "handbook").stderr
    monkeypatch.setattr(bulk, "MOST_ITEMS", 1)
    service.staged.clear()
    assert "memoryd kb publish handbook" in command("ingest", docs, "--kb", "handbook", "--publish").stderr


@pytest.mark.parametrize(
    ("ended", "advice", "never"),
    [
        (
            job("failed", items=2, succeeded=2) | {"error": {"code": "conflict", "detail": "made live"}},
            "kb discard",
            "kb publish",
        ),
        (job("cancelled", items=2, succeeded=1, cancelled=1), "kb discard", "kb publish"),
        (job("partial", items=2, succeeded=1, failed=1), "publish them, without what failed: memoryd kb publish", "discard"),
    ],
)
def test_what_is_advised_where_nothing_was_published(
    command: Command, service: Service, docs: Path, ended: dict[str, object], advice: str, never: str
) -> None:
    uploads = [{"upload": one * 64, "file_name": None, "bytes": 1} for one in "01"]
    service.answers = [
        httpx.Response(200, json={"unchanged": [], "changed": [], "new": ["leave.md", "readme.md"]}),
        httpx.Response(201, json={"uploads": uploads}),
        httpx.Response(202, json=job()),
        httpx.Response(200, text=f"id: 2\nevent: state\ndata: {json.dumps(ended)}\n\n", headers=STREAM),
        httpx.Response(200, json={"items": [], "next_cursor": None}),
    ]
    said = command("ingest", docs, "--kb", "handbook", "--publish")
    assert said.exit_code == 1
    assert advice in said.stdout
    assert never not in said.stdout


def test_ctrl_c_leaves_the_job_running(command: Command, service: Service, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Bars, job: Job) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Bars, "job", interrupted)
    said = command("ingest", docs, "--kb", "handbook")
    assert said.exit_code == 130
    assert f"memoryd jobs show --watch {service.jobs[0]['id']}" in said.stderr
    assert not service.of("POST", ".*/cancel")


def test_ctrl_c_behind_an_order_does_not_say_that_nothing_changed(
    command: Command, service: Service, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(**given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bulk, "Ingestion", interrupted)
    said = command("ingest", docs, "--kb", "handbook")
    assert said.exit_code == 130
    assert len(service.jobs) == 1
    assert "nothing has changed" not in said.stderr
    assert "memoryd jobs list --kb handbook" in said.stderr


def test_a_base_that_is_missing_is_made_when_asked(command: Command, service: Service, docs: Path) -> None:
    service.answers = [problem(404, "not_found", "no such knowledge base"), httpx.Response(201, json=base())]
    assert command("ingest", docs, "--kb", "handbook", "--create", "--space", "people").exit_code == 0
    made = json.loads(service.asked[1].content)
    assert (made["name"], made["space"]) == ("handbook", "people")
    service.answers = [problem(404, "not_found", "no such knowledge base")]
    said = command("ingest", docs, "--kb", "handbook")
    assert said.exit_code == 2
    assert said.stderr == "memoryd: no such knowledge base [not_found]\n"


def test_what_hinders_it_ends_with_2(command: Command, service: Service, docs: Path, tmp_path: Path) -> None:
    for arguments in (
        ("ingest", docs),
        ("ingest", "--kb", "handbook"),
        ("ingest", tmp_path / "nowhere", "--kb", "handbook"),
        ("ingest", docs, "--kb", "handbook", "--url", "nonsense"),
        ("ingest", docs, "--kb", "handbook", "--data-dir", tmp_path),
    ):
        assert command(*arguments).exit_code == 2, arguments
    assert service.asked == []
    said = command("ingest", docs, "--kb", "handbook", MEMORYD_URL=None, MEMORYD_API_KEY=None, XDG_DATA_HOME=str(tmp_path))
    assert said.exit_code == 2
    service.answers = [problem(401, "unauthenticated", "the key is unknown")]
    said = command("ingest", docs, "--kb", "handbook")
    assert said.exit_code == 2
    assert "MEMORYD_API_KEY" in said.stderr
    (tmp_path / "empty").mkdir()
    said = command("ingest", tmp_path / "empty", "--kb", "handbook", "--prune")
    assert said.exit_code == 2
    assert "remove everything" in said.stderr


def test_one_source_of_several_that_is_empty_is_not_pruned(
    command: Command, service: Service, docs: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "manual.md").write_text("# Manual")
    assert command("ingest", docs, disk, "--kb", "handbook").exit_code == 0
    (disk / "manual.md").unlink()
    said = command("ingest", docs, disk, "--kb", "handbook", "--prune")
    assert said.exit_code == 2
    assert f"no document in {disk}" in said.stderr
    assert "manual.md" in service.staged
    assert command("ingest", docs, disk, "--kb", "handbook").exit_code == 0, "without pruning nothing is lost"
