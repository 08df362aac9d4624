"""What is sent of questions, memories and sessions, and what becomes of the answers."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import JsonValue

from memoryd.client import (
    Conflict,
    Filters,
    InvalidRequest,
    KbSource,
    NewMemory,
    NewMessage,
    NewTurn,
    NotFound,
    Question,
    SpaceSource,
    Unavailable,
    Unsayable,
)
from tests.client.conftest import Side
from tests.client.service import NOW, STREAM, Pieces, Service, problem

ID = str(UUID(int=7))
NOON = datetime(2025, 5, 8, 12, tzinfo=UTC)
EMPTY = {"hits": [], "degraded": ["dense"], "timings_ms": {"total": 3.0}}


def sent(service: Service) -> object:
    """The body of the last request."""
    return json.loads(service.asked[-1].content)


def message(position: int, text: str = "hello") -> dict[str, object]:
    return {"position": position, "role": "user", "content": text, "recorded_at": NOW}


def test_words_are_a_question(side: Side, service: Service) -> None:
    service.answers = [httpx.Response(200, json=EMPTY)]
    found = side.value(side.client.recall("Where to?", max_text_chars=100))
    assert (found.hits, found.degraded) == ([], ["dense"])
    assert sent(service) == {
        "query": "Where to?",
        "limit": 10,
        "rerank": "auto",
        "explain": False,
        "fusion": "convex",
        "max_text_chars": 100,
    }


def test_a_question_says_where_and_when(side: Side, service: Service) -> None:
    service.answers = [httpx.Response(200, json=EMPTY)]
    question = Question(
        "Where to?",
        sources=[KbSource("handbook@7", limit=3, document_ids=["a.md"]), SpaceSource("team")],
        filters=Filters(user_id="maya", kinds=["semantic"], metadata={"floor": 3}, event_after=NOON),
        limit=4,
        as_of=NOON,
        arms=["lexical"],
    )
    side.value(side.client.recall(question))
    assert sent(service) == {
        "query": "Where to?",
        "sources": [{"kb": "handbook@7", "limit": 3, "filters": {"document_ids": ["a.md"]}}, {"space": "team"}],
        "filters": {
            "user_id": "maya",
            "kinds": ["semantic"],
            "metadata": {"floor": 3},
            "event_after": "2025-05-08T12:00:00+00:00",
        },
        "limit": 4,
        "rerank": "auto",
        "explain": False,
        "as_of": "2025-05-08T12:00:00+00:00",
        "arms": ["lexical"],
        "fusion": "convex",
    }


def test_nowhere_is_not_everywhere(side: Side, service: Service) -> None:
    service.answers = [problem(422, "invalid_request") for _ in range(4)]
    calls: list[Callable[[], Any]] = [
        lambda: side.client.recall(Question("Where to?", spaces=[])),
        lambda: side.client.recall(Question("Where to?", sources=[])),
        lambda: side.client.keys.create("confined", spaces=[]),
        lambda: side.client.tenants.create_key(ID, "confined", actions=[], spaces=[]),
    ]
    for call in calls:
        with pytest.raises(InvalidRequest):
            side.value(call())
    assert [{name: value for name, value in json.loads(one.content).items() if value == []} for one in service.asked] == [
        {"spaces": []},
        {"sources": []},
        {"spaces": []},
        {"actions": [], "spaces": []},
    ]


def test_a_time_without_an_offset_is_not_sent(side: Side, service: Service) -> None:
    with pytest.raises(Unsayable, match="as_of"):
        side.value(side.client.recall(Question("x", as_of=datetime(2025, 5, 8, 12))))  # noqa: DTZ001
    assert service.asked == []


def test_a_context_is_packed(side: Side, service: Service) -> None:
    answer = {"text": "a", "used_tokens": 1, "budget_tokens": 50, "tokenizer": "o200k_base", "items": [], "dropped": []}
    service.answers = [httpx.Response(200, json=answer | {"degraded": []})]
    found = side.value(
        side.client.context("x", budget_tokens=50, sections={"knowledge": 20}, must_include=[UUID(int=7)], session_id="s")
    )
    assert found.used_tokens == 1
    body = sent(service)
    assert isinstance(body, dict)
    assert {name: body[name] for name in ("budget_tokens", "format", "sections", "must_include", "session_id")} == {
        "budget_tokens": 50,
        "format": "text",
        "sections": {"knowledge": 20},
        "must_include": [ID],
        "session_id": "s",
    }


def test_remembering(side: Side, service: Service) -> None:
    written = {"results": [{"id": ID, "status": "created"}, {"id": ID, "status": "duplicate"}]}
    service.answers = [httpx.Response(503, json={}), httpx.ConnectError("down"), httpx.Response(201, json=written)]
    service.answers[0] = problem(503, "store_unavailable")
    new = NewMemory("Tea.", kind="preference", event_time=NOON, topics=["food"], source_type="note", external_id="t-1")
    assert [one.status for one in side.value(side.client.remember("Coffee.", new))] == ["created", "duplicate"]
    assert len({one.headers["idempotency-key"] for one in service.asked}) == 1
    assert sent(service) == {
        "memories": [
            {
                "text": "Coffee.",
                "space": "default",
                "kind": "episodic",
                "confidence": 1.0,
                "source": {"type": "conversation"},
            },
            {
                "text": "Tea.",
                "space": "default",
                "kind": "preference",
                "confidence": 1.0,
                "source": {"type": "note"},
                "event_time": "2025-05-08T12:00:00+00:00",
                "topics": ["food"],
                "external_id": "t-1",
            },
        ]
    }
    service.answers = [httpx.Response(201, json=written)]
    side.value(side.client.remember_turns([NewTurn("Hi.", name="Maya")], session_id="s"))
    assert sent(service) == {
        "messages": [{"role": "user", "name": "Maya", "content": "Hi."}],
        "space": "default",
        "session_id": "s",
    }


def test_forgetting_names_what_was_seen(side: Side, service: Service) -> None:
    service.answers = [httpx.Response(204)]
    side.value(side.client.forget(ID, purge=True, reason="asked for", revision=3))
    request = service.asked[-1]
    assert (request.method, request.url.path, dict(request.url.params)) == (
        "DELETE",
        f"/v1/memories/{ID}",
        {"purge": "true", "reason": "asked for"},
    )
    assert request.headers["if-match"] == '"3"'


def test_a_list_repeats_what_has_several_values(side: Side, service: Service) -> None:
    service.answers = [httpx.Response(200, json={"memories": [], "next_cursor": None})]
    filters = Filters(kinds=["semantic", "preference"], topics_any=["a&b"], metadata={"room": "3", "floor": 3, "on": True})
    assert side.items(side.client.memories.list(space="team", filters=filters)) == []
    assert service.asked[-1].url.params.multi_items() == [
        ("kind", "semantic"),
        ("kind", "preference"),
        ("topics_any", "a&b"),
        ("metadata.room", '"3"'),
        ("metadata.floor", "3"),
        ("metadata.on", "true"),
        ("space", "team"),
        ("limit", "200"),
    ]


def test_messages_of_all_pages(side: Side, service: Service) -> None:
    service.answers = [
        httpx.Response(200, json={"messages": [message(1), message(2)], "head": 3, "next_after": 2}),
        httpx.Response(200, json={"messages": [message(3)], "head": 3, "next_after": None}),
    ]
    assert [one.position for one in side.items(side.client.sessions.messages("s"))] == [1, 2, 3]
    assert [one.url.params["after"] for one in service.asked] == ["0", "2"]


@pytest.mark.parametrize("name", ["a/b", "", "..", "a/../../keys"])
def test_a_session_id_is_one_part_of_the_path(side: Side, service: Service, name: str) -> None:
    with pytest.raises(Unsayable):
        side.value(side.client.sessions.delete(name))
    with pytest.raises(Unsayable):
        side.value(side.client.sessions.put_state("s", name, 1))
    assert service.asked == []


def test_a_session_whose_deletion_was_not_answered_is_gone(side: Side, service: Service) -> None:
    missing = problem(404, "not_found")
    service.answers = [httpx.ReadError("cut"), missing, problem(503, "unavailable"), missing]
    side.value(side.client.sessions.delete("s"))
    assert len(service.asked) == 2
    with pytest.raises(NotFound):
        side.value(side.client.sessions.delete("s"))


def test_appending_and_state(side: Side, service: Service) -> None:
    service.answers = [
        httpx.Response(201, json={"results": [{"position": 1, "status": "created"}], "head": 1}),
        httpx.Response(200, json={"key": "plan", "version": 4}),
        problem(409, "version_conflict"),
    ]
    call: dict[str, JsonValue] = {"id": "c", "name": "search", "arguments": {"q": 1}}
    side.value(side.client.sessions.append("s", NewMessage("assistant", tool_calls=[call], id="m-1"), ttl_s=60))
    assert sent(service) == {
        "messages": [{"role": "assistant", "id": "m-1", "pinned": False, "tool_calls": [call]}],
        "ttl_s": 60,
    }
    assert side.value(side.client.sessions.put_state("s", "plan", [1], version=3)).version == 4
    assert service.asked[-1].headers["if-match"] == '"3"'
    with pytest.raises(Conflict):
        side.value(side.client.sessions.put_state("s", "plan", [1], absent=True))
    assert service.asked[-1].headers["if-none-match"] == "*"


def test_events_go_on_where_they_broke_off(side: Side, service: Service) -> None:
    def event(position: int) -> bytes:
        return f"id: {position}\nevent: message\ndata: {json.dumps(message(position))}\n\n".encode()

    session = {"id": "s", "space": "default", "agents": [], "head": 4, "messages": 4, "bytes": 1, "state_bytes": 0, "ttl_s": 60}
    session |= {"visible": [], "committed": [], "created_at": NOW, "expires_at": NOW}
    restore = b'event: restore\ndata: {"head": 6, "visible": [[1, 3], [7, null]]}\n\n'
    service.answers = [
        httpx.Response(200, json=session),
        httpx.Response(200, stream=Pieces(b"retry: 0\n\n", event(5), event(6)[:20], httpx.ReadError("broken")), headers=STREAM),
        httpx.Response(
            200, stream=Pieces(event(6), b"event: later\ndata: {}\n\n", restore, b"event: gone\ndata: {}\n\n"), headers=STREAM
        ),
    ]
    events = side.items(side.client.sessions.events("s"))
    assert [one.kind for one in events] == ["message", "message", "restore", "gone"]
    assert [one.message.position for one in events[:2]] == [5, 6]
    assert events[2].visible.visible == [(1, 3), (7, None)]
    assert [one.headers["last-event-id"] for one in service.asked[1:]] == ["4", "5"]


def test_a_tenants_administration(side: Side, service: Service) -> None:
    key = {"id": ID, "name": "reader", "prefix": "mdk_1", "actions": ["read"], "created_at": NOW, "key": "mdk_1_secret"}
    service.answers = [
        httpx.Response(201, json=key),
        httpx.Response(201, json=key),
        httpx.Response(201, json={"id": ID, "name": "acme", "created_at": NOW, "key": key}),
        httpx.Response(204),
    ]
    made = side.value(side.client.keys.create("reader", actions=["read"], expires_at=NOON))
    assert (made.key, made.actions) == ("mdk_1_secret", ["read"])
    assert sent(service) == {"name": "reader", "actions": ["read"], "expires_at": "2025-05-08T12:00:00+00:00"}
    side.value(side.client.keys.rotate(ID, grace_s=5))
    assert side.value(side.client.tenants.create("acme")).key.key == "mdk_1_secret"
    side.value(side.client.tenants.delete(ID, confirm="acme"))
    assert str(service.asked[-1].url) == f"http://memoryd.test/v1/admin/tenants/{ID}?confirm=acme"


def test_a_service_that_is_not_ready(side: Side, service: Service) -> None:
    service.answers = [problem(503, "not_ready", "waiting for: redis") for _ in range(6)]
    with pytest.raises(Unavailable, match="waiting for: redis"):
        side.value(side.client.ready())
