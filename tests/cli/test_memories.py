"""``memoryd memories``, ``expand``, ``kb documents``, ``original`` and ``collect``, ``session snapshot`` and ``snapshots``."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from tests.cli.conftest import Command
from tests.client.service import NOW, Service, problem

ID = str(UUID(int=7))


def memory(**fields: object) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": ID,
        "space": "default",
        "kind": "episodic",
        "text": "Oat milk.",
        "topics": [],
        "confidence": 1.0,
    }
    made |= {"source": {"type": "note"}, "metadata": {}, "revision": 1, "created_at": NOW, "updated_at": NOW}
    return made | fields


def page(name: str, *items: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={name: items, "next_cursor": None})


def test_memories_are_rows(command: Command, service: Service) -> None:
    service.answers = [page("memories", memory(text="two\nlines\x1b[2J " + "x" * 200, speaker="Maya"), memory(), memory())]
    said = command("memories", "list", "--space", "team", "--user", "maya", "--topic", "food", "--limit", "2")
    assert said.exit_code == 0
    head, first, second = said.stdout.splitlines()
    assert head.split() == ["MEMORY", "KIND", "WHEN", "WHO", "SPACE", "TEXT"]
    assert first.startswith(ID)
    assert "Maya" in first
    assert "two lines�[2J xxx" in first
    assert first.endswith(" …")
    assert second.endswith("Oat milk.")
    asked = dict(service.asked[0].url.params)
    assert (asked["space"], asked["user_id"], asked["topics_any"]) == ("team", "maya", "food")
    service.answers = [page("memories", memory())]
    assert json.loads(command("memories", "list", "--json").stdout)["text"] == "Oat milk."


def test_one_memory_and_its_history(command: Command, service: Service) -> None:
    service.answers = [httpx.Response(200, json=memory(text="One\x07\ntwo", valid_from="2025-05-08T12:00:00Z"))]
    said = command("memories", "show", ID, "--as-of", "2025-05-08T12:00:00Z")
    assert said.exit_code == 0
    assert said.stdout.splitlines()[-2:] == ["    One�", "    two"]
    assert dict(service.asked[0].url.params) == {"as_of": "2025-05-08T12:00:00+00:00"}
    states = ({"revision": 2, "action": "deleted", "reason": "asked\x1b for"}, {"revision": 1, "action": "created"})
    service.answers = [page("revisions", *(memory(actor="key:1", **state) for state in states))]
    said = command("memories", "history", ID)
    assert [row.split()[:2] for row in said.stdout.splitlines()[1:]] == [["2", "deleted"], ["1", "created"]]
    assert "asked� for" in said.stdout


def test_what_was_forgotten_comes_back(command: Command, service: Service) -> None:
    service.answers = [httpx.Response(200, json=memory(revision=3)), problem(404, "not_found", "no such memory")]
    said = command("memories", "revert", ID, "1", "--reason", "a mistake")
    assert said.stdout == f"{ID} is as in revision 1 again, which is now revision 3\n"
    assert json.loads(service.asked[0].content) == {"revision": 1, "reason": "a mistake"}
    assert command("memories", "revert", ID, "1").exit_code == 1
    assert command("memories", "revert", ID, "0").exit_code == 2


def test_more_of_an_item(command: Command, service: Service) -> None:
    body = {"text": "[1] Oat milk.", "used_tokens": 9, "budget_tokens": 50, "tokenizer": "o200k_base"}
    service.answers = [httpx.Response(200, json=body | {"items": [], "dropped": [], "degraded": []})]
    said = command("expand", "h-1", "--budget", "50")
    assert (said.exit_code, said.stdout) == (0, "[1] Oat milk.\n")
    assert json.loads(service.asked[0].content) == {"handle": "h-1", "budget_tokens": 50, "tokenizer": "o200k_base"}


def test_documents_of_a_version(command: Command, service: Service) -> None:
    service.staged, service.versions = {"a.md": "0", "b.md": "1"}, 7
    said = command("kb", "documents", "handbook", "--version", "7", "--limit", "1")
    assert said.exit_code == 0
    assert [row.split()[0] for row in said.stdout.splitlines()] == ["DOCUMENT", "a.md"]
    assert service.asked[0].url.params["version"] == "7"


def test_an_original_is_written_to_a_file(command: Command, service: Service, tmp_path: Path) -> None:
    service.answers = [httpx.Response(200, content=b"bytes")] * 2
    said = command("kb", "original", "handbook", "a.md", tmp_path / "a.md", "--json")
    assert json.loads(said.stdout) == {"file": str(tmp_path / "a.md"), "bytes": 5}
    assert (tmp_path / "a.md").read_bytes() == b"bytes"
    said = command("kb", "original", "handbook", "a.md", tmp_path / "none" / "a.md")
    assert said.exit_code == 2
    assert "cannot be written" in said.stderr


def test_what_is_not_retained_is_given_up(command: Command, service: Service) -> None:
    service.answers = [httpx.Response(200, json={"versions": [1, 2], "documents": 3, "chunks": 4})]
    said = command("kb", "collect", "handbook")
    assert said.stdout == "versions given up: 1, 2; 3 documents and 4 chunks went\n"


def test_copies_of_a_session(command: Command, service: Service) -> None:
    copy = {"id": ID, "taken_at": NOW, "reason": "asked", "head": 9, "bytes": 2_000}
    service.answers = [httpx.Response(201, json=copy), httpx.Response(200, json={"snapshots": [copy]})]
    assert command("session", "snapshot", "s").stdout == f"snapshot {ID} of s: up to message 9, 2,000 bytes\n"
    assert command("session", "snapshots", "s").stdout.splitlines()[1].startswith(ID)
