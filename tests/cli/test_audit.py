"""``memoryd audit``."""

import json
from typing import Any
from uuid import UUID

import httpx

from tests.cli.conftest import Command
from tests.client.service import NOW, Service, problem

IDS = [str(UUID(int=number)) for number in (7, 8)]


def entry(number: int, *ids: str) -> dict[str, Any]:
    made = {"id": number, "at": NOW, "principal": "key:1", "action": "memory.create", "object_type": "memory"}
    return made | {"object_ids": ids, "request_id": f"r-{number}\x1b[2J", "detail": {}}


def page(*entries: dict[str, Any], then: str | None = None) -> httpx.Response:
    return httpx.Response(200, json={"entries": entries, "next_cursor": then})


def test_entries_are_rows_up_to_the_limit(command: Command, service: Service) -> None:
    service.answers = [page(entry(3, IDS[0]), then="c"), page(entry(2, *IDS), entry(1))]
    said = command("audit", "--action", "memory.create", "--object", IDS[0], "--since", "2025-05-08T00:00:00Z", "--limit", "2")
    assert said.exit_code == 0
    head, first, second = said.stdout.splitlines()
    assert head.split() == ["WHEN", "WHO", "WHAT", "TO", "REQUEST"]
    assert f"key:1  memory.create  {IDS[0]}" in first
    assert first.endswith("r-3�[2J")
    assert "2 objects" in second
    asked = dict(service.asked[0].url.params)
    assert asked["action"] == "memory.create"
    assert asked["object_id"] == IDS[0]
    assert asked["since"].startswith("2025-05-08T00:00:00")


def test_entries_are_lines_of_json(command: Command, service: Service) -> None:
    service.answers = [page(entry(1, *IDS))]
    (line,) = command("audit", "--json").stdout.splitlines()
    assert json.loads(line)["object_ids"] == IDS


def test_a_key_without_the_right_is_told(command: Command, service: Service) -> None:
    service.answers = [problem(403, "forbidden")]
    assert command("audit").exit_code == 4
