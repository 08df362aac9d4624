"""``memoryd generations``."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from memoryd.cli import generations
from memoryd.client import Retries
from tests.cli.conftest import Command
from tests.client.service import Service, problem

CHECKS = {
    "counts": {"passed": True, "of": 200, "vectors": 200, "tenants_that_differ": 0},
    "overlap": {"passed": False, "of": 32, "share": 0.1, "threshold": 0.15},
}


def _made(state: str = "building", **fields: Any) -> dict[str, Any]:
    progress = {"total": 200, "done": 50, "embedded": 40, "tokens": 900, "items_per_second": 25.0, "eta_s": 6.0}
    return {
        "number": 2, "model": "small", "revision": "abc", "dimension": 256, "scope": "installation", "state": state,
        "paused": False, "progress": progress, "incomplete": False, "created_at": "2026-01-01T00:00:00Z", **fields,
    }  # fmt: skip


def _answers(service: Service, *bodies: dict[str, Any]) -> None:
    service.answers = [httpx.Response(200, json=body) for body in bodies]


def test_creating_and_watching_until_it_is_verified(command: Command, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memoryd.client.generations._POLL_S", 0.0)
    passed = {"passed": True, "checks": {"counts": CHECKS["counts"]}}
    _answers(service, _made(), _made(), _made("catching_up"), _made("verifying"), _made("verifying", report=passed))
    said = command("generations", "create", "--model", "small", "--watch")
    assert said.exit_code == 0, said.output
    assert json.loads(service.asked[0].content) == {"model": "small"}
    assert "small (abc, 256-d)" in said.stdout
    assert ["counts", "yes"] in [line.split()[:2] for line in said.stdout.splitlines()]


def test_watching_outlives_a_restart_of_the_service(command: Command, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations, "PATIENT", Retries(first_s=0.0))
    _answers(service, _made("verifying", report={"passed": True, "checks": {}}))
    service.answers[:0] = [problem(503, "unavailable") for _ in range(5)]
    assert command("generations", "show", "2", "--watch").exit_code == 0


def test_what_keeps_it_is_told_off_a_terminal_too(command: Command, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memoryd.client.generations._POLL_S", 0.0)
    failing = _made(failure="inference_unavailable: no small today")
    _answers(service, _made(), _made(), failing, failing, _made(), _made(paused=True))
    said = command("generations", "show", "2", "--watch")
    assert said.exit_code == 1
    assert said.stderr.splitlines() == [
        "generation 2: building",
        "generation 2: building, inference_unavailable: no small today",
        "generation 2: building",
        "generation 2 is paused. Let it go on: memoryd generations resume 2",
    ]


def test_a_verification_that_takes_longer_than_a_request(
    command: Command, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memoryd.client.generations._POLL_S", 0.0)
    owed = _made("live", measuring=True, report={"passed": False, "checks": CHECKS})
    _answers(service, owed, owed, owed, _made("live", report={"passed": True, "checks": {"counts": CHECKS["counts"]}}))
    said = command("generations", "verify", "2")
    assert said.exit_code == 0, said.output
    assert [one.method for one in service.asked] == ["POST", "GET", "GET", "GET"]


def test_a_verification_that_did_not_pass_is_exit_status_1(command: Command, service: Service, tmp_path: Path) -> None:
    questions = tmp_path / "questions.json"
    questions.write_text('{"where is it?": ["id-1", "id-2"]}')
    _answers(service, _made("verifying", report={"passed": False, "checks": CHECKS}))
    said = command("generations", "verify", "2", "--queries", str(questions))
    assert said.exit_code == 1
    assert json.loads(service.asked[0].content) == {"queries": [{"query": "where is it?", "relevant": ["id-1", "id-2"]}]}
    assert ["overlap", "NO"] in [line.split()[:2] for line in said.stdout.splitlines()]
    questions.write_text("[1]")
    assert command("generations", "verify", "2", "--queries", str(questions)).exit_code == 2


@pytest.mark.parametrize(("verb", "force"), [("cutover", None), ("cutover", "a drill"), ("rollback", None)])
def test_moving(command: Command, service: Service, verb: str, force: str | None) -> None:
    _answers(service, _made("live"))
    said = command("generations", verb, "2", *(["--force", force] if force else []))
    assert said.exit_code == 0
    (asked,) = service.asked
    assert (asked.url.path, json.loads(asked.content)) == (f"/v1/generations/2/{verb}", {"force": force})


@pytest.mark.parametrize("verb", ["pause", "resume", "retire"])
def test_telling(command: Command, service: Service, verb: str) -> None:
    _answers(service, _made("building", paused=verb == "pause"))
    said = command("generations", verb, "2", "--json")
    assert json.loads(said.stdout)["number"] == 2
    assert service.asked[0].url.path == f"/v1/generations/2/{verb}"


def test_listing(command: Command, service: Service) -> None:
    _answers(service, {"generations": [_made("live"), _made(paused=True)], "next_cursor": None})
    rows = command("generations", "list").stdout.splitlines()
    assert rows[0].split() == ["NUMBER", "SCOPE", "MODEL", "DIMENSION", "STATE", "DONE"]
    assert rows[2].split() == ["2", "installation", "small", "256", "building,", "paused", "50/200"]


def test_a_refusal_is_one_line(command: Command, service: Service) -> None:
    service.answers = [problem(409, "gate_failed")]
    said = command("generations", "cutover", "2")
    assert said.exit_code == 1
    assert "gate_failed" in said.stderr
