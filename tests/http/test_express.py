"""Appending and reading a context past the framework answers as the framework does."""

import json
import logging
import re
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from memoryd.http import express
from memoryd.http.express import Express, _Again
from memoryd.http.schemas.sessions import AppendIn
from memoryd.http.session_views import appended_json, appended_out, new_messages
from memoryd.sessions.model import Appended, Placed, Restored
from tests.http.conftest import Tenant

NOWHERE = re.compile("(?!)")
MESSAGE = {"role": "user", "content": "hello"}
HEADERS = {"X-Request-ID": "the-same", "Content-Type": "application/json"}
BODIES: list[bytes | str] = [
    json.dumps({"messages": [MESSAGE]}),
    json.dumps({"messages": [MESSAGE], "user_id": "u", "agent_id": "a", "ttl_s": 60.0, "space": "default"}),
    json.dumps({"messages": [{**MESSAGE, "id": "m", "pinned": True, "metadata": {"é": [1, 1.5e300, None]}}] * 2}),
    json.dumps({"messages": [{**MESSAGE, "event_time": "2024-05-01T10:00:00+02:00", "name": "n", "agent_id": "b"}]}),
    json.dumps({"messages": [MESSAGE] * 500}),
    json.dumps({"messages": [{"role": "user", "content": "x" * 150_000}]}),
    json.dumps({"messages": [{"role": "user", "content": "x" * 300_000}]}),
    json.dumps({"messages": []}),
    json.dumps({"messages": [MESSAGE] * 501}),
    json.dumps({"messages": [MESSAGE], "surprise": 1}),
    json.dumps({"messages": [{**MESSAGE, "role": "wizard"}]}),
    json.dumps({"messages": [MESSAGE], "space": "no such space"}),
    '{"messages": [{"role": "user", "content": "x", "content": "y"}]}',
    '{"messages": [{"role": "user", "content": "\\u0000"}]}',
    '{"messages": [{"role": "user", "content": "\\ud800"}]}',
    '{"messages": [{"role": "tool", "tool_call_id": "\\ud800", "content": "x"}]}',
    '{"messages": [{"role": "user", "content": "x", "metadata": {"a": NaN}}]}',
    '{"messages": [{"role": "user", "content": "x", "metadata": {"a": 1e999}}]}',
    b"\xff",
    "",
    "[]",
    "{",
    "null",
]
NAMES = ["s", "user:7", "é ü", ".", "..", "%2F", "x" * 200, "x" * 201, "a\u200bb", " ", "a b", "a?b", "a#b", "{x}", "%00"]
QUERIES = [
    "",
    "budget_tokens=0",
    "budget_tokens=200000",
    "budget_tokens=200001",
    "budget_tokens=-1",
    "budget_tokens=%2B7",
    "budget_tokens=7.0",
    "budget_tokens=٣",
    "budget_tokens=",
    "budget_tokens=9&budget_tokens=9",
    "budget_tokens=50&tokenizer=cl100k_base",
    "tokenizer=gpt-4o",
    "tokenizer=",
    "tokenizer=none-such",
    "tokenizer=" + "t" * 257,
    "tokenizer=a%00b",
    "budget_tokens=9;tokenizer=o200k_base",
    "surprise=1",
    "=1",
    "&",
]


async def _both(
    tenant: Tenant, other: Tenant, monkeypatch: pytest.MonkeyPatch, method: str, path: str, **request: object
) -> tuple[httpx.Response, httpx.Response]:
    """The answers to one request: past the framework, and of the framework to another tenant of the same past."""
    quick = await tenant.http.request(method, path, **request)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr(express, "_PATH", NOWHERE)
        plain = await other.http.request(method, path, **request)  # type: ignore[arg-type]
    return quick, plain


def _shown(answer: httpx.Response) -> tuple[int, dict[str, str], str]:
    """All of an answer but the times in it."""
    return answer.status_code, dict(answer.headers), re.sub(r'"recorded_at":"[^"]*"', "", answer.text)


async def test_appends_are_answered_and_stored_alike(tenant: Tenant, other: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, body in enumerate(BODIES):
        for extra in ({}, {"Idempotency-Key": f"k{number}"}, {"Content-Type": "text/plain"}, {"Idempotency-Key": "k" * 256}):
            path = f"/v1/sessions/s-{number}/messages"
            quick, plain = await _both(tenant, other, monkeypatch, "POST", path, content=body, headers=HEADERS | extra)
            assert _shown(quick) == _shown(plain), (body[:80], extra)
        quick, plain = await _both(tenant, other, monkeypatch, "GET", f"/v1/sessions/s-{number}/messages", headers=HEADERS)
        assert _shown(quick) == _shown(plain), body[:80]


def test_an_append_is_written_as_the_framework_writes_it() -> None:
    at = datetime(2026, 5, 1, 10, 0, 0, 120_000, tzinfo=UTC)
    restored = Restored(UUID(int=7), at, at.replace(microsecond=0), (UUID(int=8),))
    messages = new_messages(AppendIn.model_validate({"messages": [MESSAGE, {**MESSAGE, "id": 'm "é" 1'}]}), at)
    for origin in (None, restored):
        appended = Appended(9, (Placed(8, created=False), Placed(9, created=True)), origin)
        assert appended_json(messages, appended) == appended_out(messages, appended).model_dump_json().encode()


async def test_names_queries_and_methods_are_taken_alike(tenant: Tenant, other: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"messages": [MESSAGE, {**MESSAGE, "content": "there", "pinned": True}]})
    for name in NAMES:
        path = f"/v1/sessions/{quote(name, safe='%')}"
        for method, rest in (
            ("POST", "/messages"),
            ("GET", "/context"),
            ("HEAD", "/context"),
            ("PUT", "/messages"),
            ("POST", "/context"),
        ):
            content = body if method == "POST" else None
            quick, plain = await _both(tenant, other, monkeypatch, method, path + rest, content=content, headers=HEADERS)
            assert _shown(quick) == _shown(plain), (name, method, rest)
    for query in QUERIES:
        for method, path in (
            ("GET", "/v1/sessions/s/context"),
            ("POST", "/v1/sessions/s/messages"),
            ("GET", "/v1/sessions/none/context"),
        ):
            content = body if method == "POST" else None
            quick, plain = await _both(tenant, other, monkeypatch, method, f"{path}?{query}", content=content, headers=HEADERS)
            assert _shown(quick) == _shown(plain), (query, method, path)


async def test_a_key_is_told_apart_by_the_whole_request_either_way(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"messages": [MESSAGE]})
    path = "/v1/sessions/user:7 é/messages"
    first = await tenant.http.post(path, content=body, headers=HEADERS | {"Idempotency-Key": "k"})
    monkeypatch.setattr(express, "_PATH", NOWHERE)
    again = await tenant.http.post(path, content=body, headers=HEADERS | {"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code, first.json()) == (201, 201, again.json())
    reused = await tenant.http.post(path, content=body + " ", headers=HEADERS | {"Idempotency-Key": "k"})
    assert reused.json()["code"] == "idempotency_key_reused"


async def test_plain_requests_do_not_reach_the_framework(app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    found: object = app.middleware_stack
    while not isinstance(found, Express):
        found = getattr(found, "app", None) or getattr(found, "_app")  # noqa: B009 - of a class that is not known here
    reached: list[str] = []
    framework = found._app

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["path"])
        await framework(scope, receive, send)

    monkeypatch.setattr(found, "_app", watched)
    body = {"messages": [MESSAGE]}
    assert (await tenant.http.post("/v1/sessions/s/messages", json=body)).status_code == 201
    assert (await tenant.http.post("/v1/sessions/s/messages", json=body, headers={"Idempotency-Key": "k"})).status_code == 201
    assert (await tenant.http.get("/v1/sessions/s/context?budget_tokens=100&tokenizer=cl100k_base")).status_code == 200
    assert (await tenant.http.get("/v1/sessions/none/context")).status_code == 404
    assert reached == []
    assert (await tenant.http.get("/v1/sessions/s/context?budget_tokens=x")).status_code == 422
    assert reached == ["/v1/sessions/s/context"]


async def test_the_log_names_the_route_of_what_is_refused_too(tenant: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "memoryd.access"):
        assert (await tenant.http.get("/v1/sessions/none/context")).status_code == 404
        for space, status in (("default", 201), ("nowhere", 409)):
            body = {"messages": [MESSAGE], "space": space}
            assert (await tenant.http.post("/v1/sessions/s/messages", json=body)).status_code == status
    logged = [record.getMessage() for record in caplog.records if record.name == "memoryd.access"]
    assert [line.rsplit(" ", 2)[0] for line in logged] == [
        "GET /v1/sessions/{session_id}/context 404",
        "POST /v1/sessions/{session_id}/messages 201",
        "POST /v1/sessions/{session_id}/messages 409",
    ]


async def test_no_more_of_a_long_body_is_read_than_shows_that_it_is_long() -> None:
    sent: list[Message] = [{"type": "http.request", "body": b"x" * 6, "more_body": True} for _ in range(4)]
    left = list(sent)

    async def receive() -> Message:
        return left.pop(0)

    again = _Again(receive)
    assert await again.all(most=10) is None
    assert len(left) == 2
    assert [await again() for _ in sent] == sent
    left[:] = [sent[0], {"type": "http.request", "body": b"yyyy"}]
    assert await _Again(receive).all(most=10) == b"xxxxxxyyyy"


async def test_a_key_is_of_a_request_whatever_its_host_header_says(tenant: Tenant) -> None:
    for path, body in (("/v1/sessions/s/messages", {"messages": [MESSAGE]}), ("/v1/memories", {"memories": [{"text": "hello"}]})):
        for host in ("[", "a/b", "memoryd.test"):
            answer = await tenant.http.post(path, json=body, headers={"Idempotency-Key": "k", "Host": host})
            assert answer.status_code == 201, answer.text
    assert (await tenant.http.get("/v1/sessions/s/messages")).json()["head"] == 1
