"""``memoryd recall``, ``context``, ``remember``, ``forget`` and ``spaces``."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from click.testing import CliRunner

from memoryd.cli.main import cli
from tests.cli.conftest import Command
from tests.client.service import NOW, Service, problem

ID = str(UUID(int=7))


def hit(**fields: object) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": ID,
        "space": "default",
        "kind": "episodic",
        "text": "Caroline drinks oat milk.",
        "score": 0.8125,
    }
    made |= {
        "text_span": [0, 25],
        "passage": [0, 25],
        "topics": [],
        "confidence": 1.0,
        "source": {"type": "note"},
        "metadata": {},
    }
    return made | {"revision": 1, "recorded_at": NOW, "event_time": NOW, "speaker": "Caroline"} | fields


def found(*hits: dict[str, Any], **fields: object) -> httpx.Response:
    return httpx.Response(200, json={"hits": list(hits), "degraded": [], "timings_ms": {"total": 4.2}} | fields)


def packed(**fields: object) -> httpx.Response:
    item = {"id": ID, "citation": 1, "rendition": "full", "tokens": 9, "why": "score", "section": "episodic", "handle": "h"}
    item |= {"source": {"type": "note"}, "spans": [[0, 25]]}
    body = {"text": "[1] Caroline drinks oat milk.", "used_tokens": 9, "budget_tokens": 50, "tokenizer": "o200k_base"}
    return httpx.Response(
        200, json=body | {"items": [item], "dropped": [{"id": ID, "reason": "over_budget"}], "degraded": []} | fields
    )


def sent(service: Service) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(service.asked[-1].content)
    return body


def test_recall_shows_hits_as_blocks(command: Command, service: Service) -> None:
    cited = {"kb": "handbook", "version": 7, "document_id": "leave.pdf", "section": ["Leave", "Parents"], "span": [1, 2]}
    chunk = hit(
        kind="knowledge", speaker=None, event_time=None, knowledge=cited | {"pages": [3, 4]}, text="Thirty\x1b[2J days.\nPaid."
    )
    service.answers = [found(hit(), chunk, degraded=["dense"])]
    said = command("recall", "What", "does", "Caroline drink?", "--space", "default", "-k", "2")
    assert said.exit_code == 0
    lines = said.stdout.splitlines()
    when = datetime.fromisoformat(NOW).astimezone()
    assert lines[:3] == [
        f" 1. 0.812  episodic  {when:%Y-%m-%d %H:%M}  Caroline  space default",
        "    Caroline drinks oat milk.",
        f"    {ID}",
    ]
    assert lines[3:6] == [
        " 2. 0.812  knowledge  handbook@7, leave.pdf, Leave › Parents, pages 3–4",
        "    Thirty�[2J days.",
        "    Paid.",
    ]
    assert said.stderr == "incomplete, without: dense\n"
    assert sent(service)["query"] == "What does Caroline drink?"
    assert (sent(service)["spaces"], sent(service)["limit"]) == (["default"], 2)


@pytest.mark.parametrize(
    ("zone", "first"), [("America/New_York", "0001-01-01T00:00:00Z"), ("Asia/Tokyo", "9999-12-31T23:59:59Z")]
)
def test_times_at_the_ends_of_the_calendar_are_shown(
    command: Command, service: Service, monkeypatch: pytest.MonkeyPatch, zone: str, first: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        service.answers = [found(hit(event_time=first))]
        said = command("recall", "x")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert said.exit_code == 0
    assert f"{first[5:10]} {first[11:16]}" in said.stdout


def test_recall_for_pipes_is_one_document(command: Command, service: Service) -> None:
    service.answers = [found(hit())]
    said = command("recall", "x", "--json")
    assert json.loads(said.stdout)["hits"][0]["text"] == "Caroline drinks oat milk."
    assert said.stderr == ""


def test_what_a_terminal_obeys_is_escaped_in_json_and_not_said_of_errors(command: Command, service: Service) -> None:
    text = "fine\x9b2J \u202ednib\x1b[2J"
    message = {"role": "user", "content": text}
    service.answers = [found(hit(text=text)), packed(messages=[message]), problem(409, "conflict", text)]
    recalled, context, refused = (
        command(*one, "x") for one in (("recall", "--json"), ("context", "--format", "messages"), ("recall",))
    )
    assert json.loads(recalled.stdout)["hits"][0]["text"] == text
    assert json.loads(context.stdout) == [message]
    assert refused.stderr == "memoryd: fine�2J �dnib�[2J [conflict]\n"
    assert not {"\x9b", "\u202e", "\x1b"} & set(recalled.output + context.output)


def test_a_question_with_everything(command: Command, service: Service) -> None:
    service.answers = [found()]
    options = "--kb handbook@7 --space team -k 3 --as-of 2025-05-08T12:00:00Z --known-at 2025-06-01T00:00:00+02:00 --rerank on"
    options += " --user maya --agent cook --from-session s-1 --kind semantic --kind preference --topic food --metadata floor=3"
    options += " --metadata room=kitchen --after 2025-01-01T00:00:00Z --before 2025-02-01T00:00:00Z --arm lexical"
    options += " --deadline 500 --explain"
    assert command("recall", "x", *options.split()).exit_code == 0
    assert sent(service) == {
        "query": "x",
        "sources": [{"kb": "handbook@7"}, {"space": "team"}],
        "limit": 3,
        "rerank": "on",
        "explain": True,
        "fusion": "convex",
        "as_of": "2025-05-08T12:00:00+00:00",
        "known_at": "2025-06-01T00:00:00+02:00",
        "deadline_ms": 500,
        "arms": ["lexical"],
        "filters": {
            "user_id": "maya",
            "agent_id": "cook",
            "session_id": "s-1",
            "kinds": ["semantic", "preference"],
            "topics_any": ["food"],
            "metadata": {"floor": 3, "room": "kitchen"},
            "event_after": "2025-01-01T00:00:00+00:00",
            "event_before": "2025-02-01T00:00:00+00:00",
        },
    }


def test_a_day_is_this_machines_day(command: Command, service: Service) -> None:
    service.answers = [found()]
    command("recall", "x", "--as-of", "2025-05-08")
    assert datetime.fromisoformat(sent(service)["as_of"]) == datetime(2025, 5, 8).astimezone()


@pytest.mark.parametrize(
    "arguments",
    [
        ("recall",),
        ("recall", " "),
        ("recall", "bytes \udcff"),
        ("recall", "x", "--rerank", "off", "--rerank-depth", "3"),
        ("spaces", "set", "team"),
        ("recall", "x", "--as-of", "yesterday"),
        ("recall", "x", "--metadata", "floor"),
        ("recall", "x", "--rerank", "maybe"),
        ("context", "x", "--budget", "-1"),
        ("forget", "no-id"),
        ("remember", "x", "--confidence", "2"),
        ("session", "set", "s", "k", "1", "--new", "--version", "2"),
        ("session", "show", "a/b"),
        ("keys", "revoke", "no-id"),
    ],
)
def test_what_cannot_be_is_not_sent(command: Command, service: Service, arguments: tuple[str, ...]) -> None:
    assert command(*arguments).exit_code == 2
    assert service.asked == []


def test_a_context_is_what_is_printed(command: Command, service: Service) -> None:
    service.answers = [packed(), packed(degraded=["dense"]), packed()]
    said = command("context", "x", "--budget", "50", "--tokenizer", "cl100k_base", "--session", "s", "--session-budget", "20")
    assert (said.stdout, said.stderr) == ("[1] Caroline drinks oat milk.\n", "")
    body = sent(service)
    assert [body[name] for name in ("budget_tokens", "tokenizer", "session_id", "session_tokens")] == [50, "cl100k_base", "s", 20]
    said = command("context", "x", "--manifest")
    assert said.stdout == "[1] Caroline drinks oat milk.\n"
    assert [line.split()[:3] for line in said.stderr.splitlines()[1:]] == [
        ["[1]", "full", "9"],
        ["not:", "over_budget", "-"],
        ["incomplete,", "without:", "dense"],
    ]
    assert json.loads(command("context", "x", "--json").stdout)["used_tokens"] == 9


def written(*statuses: str) -> httpx.Response:
    return httpx.Response(201, json={"results": [{"id": ID, "status": one} for one in statuses]})


def test_remembering_one(command: Command, service: Service) -> None:
    service.answers = [written("created"), written("duplicate")]
    options = (
        "--kind preference --user caroline --topic food --event-time 2025-05-08T12:00:00Z --metadata floor=3 --external-id e-1"
    )
    said = command("remember", "Caroline drinks", "oat milk.", *options.split())
    assert said.stdout == f"{ID} created\n"
    (new,) = sent(service)["memories"]
    assert new == {
        "text": "Caroline drinks oat milk.",
        "space": "default",
        "kind": "preference",
        "user_id": "caroline",
        "topics": ["food"],
        "event_time": "2025-05-08T12:00:00+00:00",
        "metadata": {"floor": 3},
        "external_id": "e-1",
        "confidence": 1.0,
        "source": {"type": "conversation"},
    }
    said = command("remember", "x", "--json")
    assert json.loads(said.stdout) == {"id": ID, "external_id": None, "status": "duplicate"}


def piped(url: str, text: bytes, *arguments: str) -> tuple[int, str, str]:
    env = {"MEMORYD_URL": url, "MEMORYD_KEY": "mdk_key"}
    ran = CliRunner().invoke(cli, arguments, env=env, input=text, catch_exceptions=False)
    return ran.exit_code, ran.stdout, ran.stderr


def test_remembering_standard_input(url: str, service: Service) -> None:
    service.answers = [written("created")]
    assert piped(url, b"Zwei\nZeilen.\n", "remember", "-") == (0, f"{ID} created\n", "")
    assert sent(service)["memories"][0]["text"] == "Zwei\nZeilen."
    for text in (b"\xff", b" \n"):
        assert piped(url, text, "remember", "-")[0] == 2
    assert len(service.asked) == 1


def test_remembering_lines(url: str, service: Service) -> None:
    service.answers = [written(*["created"] * 200), written("created", "duplicate")]
    text = "\n\n".join(f"Line {number}." for number in range(202)) + "\n"
    assert piped(url, text.encode(), "remember", "--lines", "-", "--space", "team") == (0, "201 created, 1 duplicates\n", "")
    batches = [json.loads(one.content)["memories"] for one in service.asked]
    assert [len(one) for one in batches] == [200, 2]
    assert batches[1][1] == {
        "text": "Line 201.",
        "space": "team",
        "kind": "episodic",
        "confidence": 1.0,
        "source": {"type": "conversation"},
    }


def test_long_lines_go_in_requests_of_their_own(url: str, service: Service) -> None:
    service.answers = [written("created"), written("created", "created"), written("created")]
    lines = [letter * size for letter, size in (("a", 450_000), ("b", 100_000), ("c", 400_000), ("d", 1))]
    assert piped(url, "\n".join(lines).encode(), "remember", "--lines", "-")[0] == 0
    assert [[one["text"][0] for one in json.loads(asked.content)["memories"]] for asked in service.asked] == [
        ["a"],
        ["b", "c"],
        ["d"],
    ]


def test_remembering_objects(command: Command, service: Service, tmp_path: Path) -> None:
    file = tmp_path / "memories.jsonl"
    one = {"text": "A", "space": "other", "source": {"type": "note", "uri": "u"}, "event_time": "2025-05-08T12:00:00Z"}
    file.write_text(json.dumps(one) + "\n\n" + json.dumps({"text": "B", "topics": ["t"]}) + "\n")
    service.answers = [written("created", "created")]
    said = command("remember", "--jsonl", file, "--space", "team", "--user", "maya", "--json")
    assert len(said.stdout.splitlines()) == 2
    first, second = sent(service)["memories"]
    assert (first["space"], first["user_id"], first["source"]) == ("other", "maya", {"type": "note", "uri": "u"})
    assert first["event_time"] == "2025-05-08T12:00:00+00:00"
    assert (second["space"], second["topics"], second["source"]) == ("team", ["t"], {"type": "conversation"})
    for wrong, where in (
        ('{"text": "A"}\n{"test": "B"}', "line 2: text"),
        ("[]", "line 1"),
        ('{"text": "A", "event_time": 5', "line 1"),
    ):
        file.write_text(wrong)
        said = command("remember", "--jsonl", file)
        assert (said.exit_code, where in said.stderr) == (2, True), said.stderr
    assert len(service.asked) == 1
    assert command("remember", "--jsonl", tmp_path / "none").exit_code == 2
    assert command("remember", "--lines", file, "--external-id", "x").exit_code == 2


def test_forgetting(command: Command, service: Service) -> None:
    service.answers = [httpx.Response(204), problem(404, "not_found", "no such memory"), httpx.Response(204)]
    said = command("forget", ID, ID, ID, "--reason", "asked for")
    assert said.exit_code == 1
    assert said.stdout == f"{ID} forgotten\n" * 2
    assert said.stderr == f"memoryd: {ID}: no such memory [not_found]\n"
    assert all(dict(one.url.params) == {"reason": "asked for"} for one in service.asked)
    service.asked.clear()
    assert command("forget", ID, "--purge").exit_code == 1, "nobody said yes"
    assert service.asked == []
    service.answers = [httpx.Response(204)]
    assert command("forget", ID, "--purge", "--yes").stdout == f"{ID} purged\n"
    assert dict(service.asked[0].url.params) == {"purge": "true"}


def test_how_to_rerank(command: Command, service: Service) -> None:
    space = {"id": ID, "name": "team", "created_at": NOW}
    service.answers = [found(), *[httpx.Response(200, json=space)] * 2]
    assert command("recall", "x", "--rerank-depth", "30", "--rerank-ms", "500").exit_code == 0
    assert sent(service)["rerank"] == {"depth": 30, "budget_ms": 500}
    for options, body in (
        (("--rerank", "installation", "--description", ""), {"description": None, "rerank": None}),
        (("--rerank", "on"), {"rerank": "on"}),
    ):
        assert command("spaces", "set", "team", *options).stdout == f"space team ({ID})\n"
        assert (service.asked[-1].method, sent(service)) == ("PATCH", body)


def test_spaces(command: Command, service: Service) -> None:
    space = {"id": ID, "name": "team", "description": None, "created_at": NOW}
    service.answers = [httpx.Response(200, json={"spaces": [space], "next_cursor": None}), httpx.Response(201, json=space)]
    assert command("spaces", "list").stdout.splitlines()[1].split() == ["team", NOW[:10], "-"]
    assert command("spaces", "create", "team", "--description", "of all").stdout == f"space team ({ID})\n"
    assert sent(service) == {"name": "team", "description": "of all"}
