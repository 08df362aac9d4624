"""``memoryd kb`` and ``memoryd jobs``."""

import json
import re
from uuid import UUID

import httpx
import pytest

from tests.cli.conftest import Command
from tests.client.service import STREAM, Service, base, job, problem, version

ID = str(UUID(int=1))


def test_lists_are_tables_or_lines_of_json(command: Command, service: Service) -> None:
    page = {"knowledge_bases": [base(description="for [all] people"), base("other", live=3, newest=4)], "next_cursor": None}
    service.answers = [httpx.Response(200, json=page), httpx.Response(200, json=page)]
    rows = command("kb", "list").stdout.splitlines()
    assert rows[0].split() == ["NAME", "SPACE", "LIVE", "NEWEST", "DESCRIPTION"]
    assert rows[1].split() == ["handbook", "default", "-", "0", "for", "[all]", "people"]
    assert [json.loads(line)["name"] for line in command("kb", "list", "--json").stdout.splitlines()] == ["handbook", "other"]


def test_creating(command: Command, service: Service) -> None:
    service.answers = [httpx.Response(201, json=base())]
    said = command("kb", "create", "handbook", "--strategy", "fact", "--max-tokens", "300", "--retain", "5")
    assert said.exit_code == 0
    assert "nothing published yet" in said.stdout
    sent = json.loads(service.asked[0].content)
    assert sent == {
        "name": "handbook",
        "space": "default",
        "chunking": {"strategy": "fact", "max_tokens": 300, "overlap_tokens": 32},
        "retain": 5,
    }


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (["--description", "for all", "--retain", "5"], {"description": "for all", "retain": 5}),
        (["--description", "", "--retain-all"], {"description": None, "retain": None}),
        (["--max-tokens", "300"], {"chunking": {"max_tokens": 300}}),
    ],
)
def test_changing_what_is_given(command: Command, service: Service, options: list[str], body: dict[str, object]) -> None:
    service.answers = [httpx.Response(200, json=base(description="for all"))]
    said = command("kb", "set", "handbook", *options)
    assert said.exit_code == 0
    assert "for all" in said.stdout
    assert (service.asked[-1].method, json.loads(service.asked[-1].content)) == ("PATCH", body)


def test_nothing_to_change_is_refused(command: Command, service: Service) -> None:
    for options in ([], ["--retain", "5", "--retain-all"]):
        assert command("kb", "set", "handbook", *options).exit_code == 2
    assert service.asked == []


@pytest.mark.parametrize(("arguments", "body"), [(["publish", "handbook"], {}), (["rollback", "handbook", "2"], {"to": "2"})])
def test_moving_the_pointer(command: Command, service: Service, arguments: list[str], body: dict[str, str]) -> None:
    service.answers = [httpx.Response(201, json=version(2))]
    assert command("kb", *arguments).stdout == "handbook@live is version 2: 1 documents, 2 chunks\n"
    assert json.loads(service.asked[0].content) == body


def test_tags(command: Command, service: Service) -> None:
    service.answers = [httpx.Response(204), httpx.Response(204)]
    assert command("kb", "tag", "handbook", "q3", "7").stdout == "handbook@q3 is handbook@7\n"
    assert command("kb", "tag", "handbook", "q3", "--remove").stdout == "handbook@q3 is gone\n"
    assert [(one.method, one.url.path) for one in service.asked] == [
        ("PUT", "/v1/knowledge-bases/handbook/tags/q3"),
        ("DELETE", "/v1/knowledge-bases/handbook/tags/q3"),
    ]


def test_a_draft_that_changes_nothing_is_not_one_to_publish(command: Command, service: Service) -> None:
    draft = {"versions": [version(2, state="draft", live=False)], "next_cursor": None}
    for added, said in ((0, "changes nothing"), (1, "memoryd kb diff handbook")):
        counts = {"added": added, "removed": 0, "changed": 0, "unchanged": 5}
        diff = {"before": 1, "after": 2, "documents": counts, "chunks": counts, "changes": [], "next_cursor": None}
        service.answers = [httpx.Response(200, json=one) for one in (base(live=1), draft, diff)]
        shown = command("kb", "show", "handbook").stdout
        assert said in shown
        assert ("to publish" in shown) == bool(added)


def test_a_draft_that_is_published_just_now_is_none(command: Command, service: Service) -> None:
    draft = {"versions": [version(2, state="draft", live=False)], "next_cursor": None}
    service.answers = [*(httpx.Response(200, json=one) for one in (base(live=1), draft)), problem(404, "not_found", "no draft")]
    shown = command("kb", "show", "handbook")
    assert shown.exit_code == 0
    assert re.search(r"^draft +-$", shown.stdout, re.MULTILINE)


@pytest.mark.parametrize(("verb", "path"), [("discard", "/draft"), ("delete", "")])
def test_what_cannot_be_undone_is_asked_for(command: Command, service: Service, verb: str, path: str) -> None:
    refused = command("kb", verb, "handbook")
    assert (refused.exit_code, service.asked) == (1, [])
    service.answers = [httpx.Response(204)]
    assert command("kb", verb, "handbook", "--yes").exit_code == 0
    assert [(one.method, one.url.path) for one in service.asked] == [("DELETE", f"/v1/knowledge-bases/handbook{path}")]


def test_dead_letters(command: Command, service: Service) -> None:
    item = {"item": 3, "document_id": "a.pdf", "state": "failed", "attempts": 8, "reason": "timeout", "detail": "x", "dead": True}
    letter = item | {"chunks": 0, "tokens": 0, "bytes": 9, "job_id": ID, "kind": "ingest"}
    page = {"dead_letters": [letter], "next_cursor": None}
    service.answers = [httpx.Response(200, json=page), httpx.Response(200, json=page)]
    rows = command("jobs", "dead").stdout.splitlines()
    assert rows[1].split() == [ID, "3", "a.pdf", "8", "timeout", "x"]
    assert json.loads(command("jobs", "dead", "--json").stdout)["job_id"] == ID
    service.answers = [httpx.Response(200, json={"replayed": 1, "job": job("queued")})]
    assert command("jobs", "replay", ID, "--item", "3").stdout.startswith("queued again: 1\n")
    assert json.loads(service.asked[-1].content) == {"job_id": ID, "items": [3]}


def test_a_diff_is_all_of_it(command: Command, service: Service) -> None:
    counts = {"added": 1, "removed": 1, "changed": 0, "unchanged": 5}
    change = {"document_id": "a.md", "change": "added", "chunks_added": 3, "chunks_removed": 0}
    first = {"before": 1, "after": 2, "documents": counts, "chunks": counts, "changes": [change], "next_cursor": "c"}
    second = first | {"changes": [change | {"document_id": "b.md", "change": "removed"}], "next_cursor": None}
    service.answers = [httpx.Response(200, json=one) for one in (first, first, second)]
    said = command("kb", "diff", "handbook", "--before", "1", "--after", "live").stdout.splitlines()
    assert [line.split()[:2] for line in said[1:3]] == [["+", "a.md"], ["-", "b.md"]]
    assert said[3] == "documents: 1 added, 1 removed, 5 unchanged"
    service.answers = [httpx.Response(200, json=one) for one in (first, first, second)]
    shown = json.loads(command("kb", "diff", "handbook", "--json").stdout)
    assert [one["document_id"] for one in shown["changes"]] == ["a.md", "b.md"]


def test_versions_and_a_refusal(command: Command, service: Service) -> None:
    page = {"versions": [version(2, tags=["q3"]), version(1, live=False)], "next_cursor": None}
    service.answers = [httpx.Response(200, json=page), problem(409, "conflict", "there is no draft")]
    assert command("kb", "versions", "handbook").stdout.splitlines()[1].split()[:2] == ["*", "2"]
    said = command("kb", "publish", "handbook")
    assert (said.exit_code, said.stderr) == (1, "memoryd: there is no draft [conflict]\n")


def test_jobs(command: Command, service: Service) -> None:
    running = job("running", succeeded=1) | {"wish": "pause", "publish": True, "note": "nightly", "version": 3}
    service.answers = [
        httpx.Response(200, json={"jobs": [running, job(number=2)], "next_cursor": None}),
        httpx.Response(200, json=running),
        httpx.Response(200, json={"items": [], "next_cursor": None}),
        httpx.Response(200, json=running),
    ]
    names, row = command("jobs", "list", "--limit", "1", "--kb", "handbook").stdout.splitlines()
    assert service.asked[0].url.params["kb"] == "handbook"
    assert (row.split()[1], row.split()[names.split().index("PUBLISHES")]) == ("handbook", "yes")
    shown = command("jobs", "show", ID)
    assert shown.exit_code == 0
    assert "running, pause asked for" in shown.stdout
    assert re.search(r"publishes +when it is through.*\nnote +nightly *\nversion +3", shown.stdout)
    assert "is being paused" in command("jobs", "pause", ID).stdout
    assert command("jobs", "resume", "no-id").exit_code == 2


def test_watching_a_job_that_fails(command: Command, service: Service) -> None:
    failed = job("failed", items=1, failed=1)
    item = {"item": 0, "document_id": "a.pdf", "state": "failed", "attempts": 1, "reason": "no_text", "dead": False}
    item |= {"detail": "scanned", "chunks": 0, "tokens": 0, "bytes": 9}
    service.answers = [
        httpx.Response(200, text=f"id: 2\nevent: state\ndata: {json.dumps(failed)}\n\n", headers=STREAM),
        httpx.Response(200, json={"items": [item], "next_cursor": None}),
    ]
    said = command("jobs", "show", "--watch", ID)
    assert said.exit_code == 1
    assert "a.pdf" in said.stdout
    assert "no_text" in said.stdout


def test_a_version_is_said_as_agents_say_it(command: Command, service: Service) -> None:
    service.answers = [httpx.Response(200, json={"hits": [], "degraded": [], "timings_ms": {}})] * 2
    for name, meant in (("handbook@3", "3"), ("handbook", "live")):
        assert command("kb", "search", name, "How", "--json").exit_code == 0
        assert service.asked[-1].url.path == "/v1/knowledge-bases/handbook/search"
        assert json.loads(service.asked[-1].content)["version"] == meant
    service.answers = [httpx.Response(200, json={"version": 1, "documents": [], "next_cursor": None})]
    assert command("kb", "documents", "handbook@q3").exit_code == 0
    assert service.asked[-1].url.params["version"] == "q3"
    assert command("kb", "search", "handbook@3", "How", "--version", "2").exit_code == 2


def test_searching(command: Command, service: Service) -> None:
    service.answers = [httpx.Response(200, json={"hits": [], "degraded": [], "timings_ms": {}})]
    options = "--version q3 -k 3 --document a.md --document b.md --metadata team=hr --rerank off"
    assert command("kb", "search", "handbook", "How many", "days?", *options.split(), "--json").exit_code == 0
    assert service.asked[0].url.path == "/v1/knowledge-bases/handbook/search"
    assert json.loads(service.asked[0].content) == {
        "query": "How many days?",
        "version": "q3",
        "limit": 3,
        "filters": {"metadata": {"team": "hr"}, "document_ids": ["a.md", "b.md"]},
        "rerank": "off",
        "explain": False,
    }
