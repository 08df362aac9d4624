"""``memoryd session``, and ``memoryd completion``."""

import io
import json
from typing import Any
from uuid import UUID

import httpx
import pytest
from click.testing import CliRunner

from memoryd.cli.main import cli
from tests.cli.conftest import Command
from tests.client.service import NOW, STREAM, Pieces, Service, problem

ID = str(UUID(int=7))


def message(position: int, **fields: object) -> dict[str, Any]:
    return {"position": position, "role": "user", "content": "hello", "recorded_at": NOW} | fields


def page(*messages: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"messages": messages, "head": 9, "next_after": None})


def sent(service: Service) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(service.asked[-1].content)
    return body


def test_messages_are_blocks_that_move_no_cursor(command: Command, service: Service) -> None:
    call = {"id": "c", "name": "search\x1b[2J", "arguments": {}}
    calling = message(2, role="assistant", tool_calls=[call], content=None, pinned=True)
    service.answers = [page(message(1, name="Maya", content="two\nlines\x07"), calling)]
    said = command("session", "messages", "s", "--limit", "2")
    head, *text, last_head, last = (line.strip() for line in said.stdout.splitlines())
    assert head.split()[:2] == ["1", "Maya"]
    assert text == ["two", "lines�"]
    assert last_head.endswith("pinned")
    assert last == "calls search�[2J"
    assert dict(service.asked[0].url.params) == {"newest": "true", "limit": "2"}


def test_following_ends_with_the_session(command: Command, service: Service) -> None:
    new = f"id: 2\nevent: message\ndata: {json.dumps(message(2, content='second'))}\n\n".encode()
    service.answers = [
        page(message(1)),
        httpx.Response(200, stream=Pieces(b"retry: 0\n\n", new, b"event: gone\ndata: {}\n\n"), headers=STREAM),
    ]
    said = command("session", "messages", "s", "--after", "0", "--follow", "--json")
    assert said.exit_code == 0
    assert [json.loads(line)["content"] for line in said.stdout.splitlines()] == ["hello", "second"]
    assert service.asked[1].headers["last-event-id"] == "1"


def test_following_ends_when_the_session_goes_between_two_connections(command: Command, service: Service) -> None:
    service.answers = [
        page(message(1)),
        httpx.Response(200, stream=Pieces(b"retry: 0\n\n"), headers=STREAM),
        problem(404, "not_found", "no such session"),
    ]
    said = command("session", "messages", "s", "--follow", "--json")
    assert (said.exit_code, said.stderr) == (0, "")


def test_appending(command: Command, service: Service) -> None:
    service.answers = [httpx.Response(201, json={"results": [{"position": 4, "status": "duplicate"}], "head": 4})]
    options = "--role assistant --name Cook --agent cook --id m-1 --pinned --space team --user maya --ttl 600"
    assert command("session", "append", "s", "Two", "words.", *options.split()).stdout == "s: message 4 duplicate\n"
    assert sent(service) == {
        "messages": [
            {"role": "assistant", "name": "Cook", "agent_id": "cook", "id": "m-1", "pinned": True, "content": "Two words."}
        ],
        "space": "team",
        "user_id": "maya",
        "ttl_s": 600,
    }


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("3", 3),
        ('{"a": [1]}', {"a": [1]}),
        ("words", "words"),
        ("null", None),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        ('{"a": -1e999}', '{"a": -1e999}'),
        pytest.param("[" * 9_000, "[" * 9_000, id="deep"),
    ],
)
def test_a_value_is_json_or_a_text(command: Command, service: Service, given: str, value: object) -> None:
    service.answers = [httpx.Response(200, json={"key": "k", "version": 2})]
    assert command("session", "set", "s", "k", given, "--version", "1").stdout == "s: k has version 2\n"
    assert sent(service) == {"value": value}
    assert service.asked[0].headers["if-match"] == '"1"'


def test_erasing_is_asked_about(command: Command, service: Service) -> None:
    assert command("session", "delete", "s").exit_code == 1
    assert service.asked == []
    service.answers = [httpx.Response(204), problem(404, "session_not_found", "no such session")]
    assert command("session", "delete", "s", "--yes").stdout == "session s is gone\n"
    said = command("session", "commit", "s")
    assert (said.exit_code, said.stderr) == (1, "memoryd: no such session [session_not_found]\n")


class CtrlC(io.RawIOBase):
    """A terminal at which somebody interrupts instead of answering."""

    def readable(self) -> bool:
        return True

    def readinto(self, _: object) -> int:
        raise KeyboardInterrupt


@pytest.mark.parametrize("arguments", [("session", "delete", "s"), ("kb", "delete", "handbook"), ("tenants", "delete", "acme")])
def test_ctrl_c_at_a_question_is_an_interruption(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(cli, arguments, input=io.BufferedReader(CtrlC())).exit_code == 130


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(command: Command, shell: str) -> None:
    said = command("completion", shell)
    assert said.exit_code == 0
    assert "_MEMORYD_COMPLETE" in said.stdout
    assert f"{shell}_complete" in said.stdout


def test_settings_are_shown_and_what_is_given_is_changed(command: Command, service: Service) -> None:
    settings = {"auto_commit": "off", "idle_s": 900}
    service.answers = [httpx.Response(200, json=settings)]
    shown = " ".join(command("session", "settings").stdout.split())
    assert shown == "commit themselves off idle after 15 min 0 s without a new message"
    service.answers = [httpx.Response(200, json=settings), httpx.Response(200, json={"auto_commit": "idle", "idle_s": 900})]
    said = command("session", "settings", "--auto-commit", "idle", "--json")
    assert json.loads(said.stdout) == {"auto_commit": "idle", "idle_s": 900}
    assert sent(service) == {"auto_commit": "idle", "idle_s": 900}
    assert [one.method for one in service.asked] == ["GET", "GET", "PUT"]
