"""Working memory as a section of a packed context, over HTTP: real stores and a real model."""

from pathlib import Path

import pytest

from memoryd.settings import Settings
from retrieval.packing import TokenizerRegistry
from tests.http.conftest import Tenant
from tests.http.talking import append, lose_redis, user
from tests.sessions.whole import files


@pytest.mark.parametrize("shape", ["text", "messages", "json"])
async def test_a_context_has_the_session_beside_long_term_memory(tenant: Tenant, shape: str) -> None:
    await tenant.remember(*(f"The lighthouse number {n} is at the harbour of Skagen." for n in range(20)))
    await append(tenant, "s", *(user(f"I asked about the lighthouse and the weather, turn {n}.") for n in range(40)))
    counter = TokenizerRegistry().counter("o200k_base")
    for budget in (60, 200, 600):
        body = {"query": "lighthouse harbour", "budget_tokens": budget, "session_id": "s", "format": shape}
        answer = await tenant.http.post("/v1/context", json=body)
        assert answer.status_code == 200, answer.text
        context = answer.json()
        section = context["session"]
        assert context["used_tokens"] <= budget
        assert section["messages"][-1]["content"].endswith("turn 39.")
        assert section["used_tokens"] == counter.count(section["text"])
        if shape == "text":
            assert context["text"].endswith("Current session:\n" + section["text"])
            assert counter.count(context["text"]) == context["used_tokens"]
        assert budget == 60 or context["items"]
    for budget in (0, 1, 7, 15, 30):
        body = {"query": "lighthouse harbour", "budget_tokens": budget, "session_id": "s", "format": shape}
        context = (await tenant.http.post("/v1/context", json=body)).json()
        assert context["used_tokens"] <= budget
        apart = 0 if shape == "text" else context["session"]["used_tokens"]
        assert counter.count(context["text"]) <= budget - apart or shape == "messages"
    few = {"query": "lighthouse", "budget_tokens": 600, "session_id": "s", "session_tokens": 50}
    assert (await tenant.http.post("/v1/context", json=few)).json()["session"]["used_tokens"] <= 50
    assert (await tenant.http.post("/v1/context", json=few | {"session_id": "none"})).status_code == 404


async def test_pinned_messages_may_take_more_than_half_of_a_context_where_nothing_else_is_said(tenant: Tenant) -> None:
    await append(tenant, "s", {**user("Always answer in French. " * 20), "pinned": True}, user("hello"))
    body = {"query": "lighthouse", "budget_tokens": 140, "session_id": "s"}
    context = (await tenant.http.post("/v1/context", json=body)).json()
    assert 70 < context["session"]["used_tokens"] <= context["used_tokens"] <= 140
    for extra, says in (({"session_tokens": 70}, "session_tokens"), ({"budget_tokens": 70}, "budget_tokens")):
        refused = await tenant.http.post("/v1/context", json=body | extra)
        assert (refused.status_code, refused.json()["code"]) == (422, "budget_too_small")
        assert says in refused.json()["detail"]
    alone = await tenant.http.post("/v1/context", json={"query": "lighthouse", "session_tokens": 70})
    assert alone.status_code == 422
    assert "session_id" in alone.text


async def test_pinned_messages_that_need_more_than_half_of_a_context_leave_half_of_the_rest(tenant: Tenant) -> None:
    await tenant.remember(*(f"The lighthouse number {n} is at the harbour of Skagen." for n in range(20)))
    await append(tenant, "s", {**user("rule " * 510), "pinned": True}, *(user(f"turn {n} " + "word " * 15) for n in range(100)))
    for shape in ("text", "json"):
        body = {"query": "lighthouse", "budget_tokens": 1_000, "session_id": "s", "format": shape}
        context = (await tenant.http.post("/v1/context", json=body)).json()
        assert 600 < context["session"]["used_tokens"] < 770
        assert "turn 99" in context["session"]["text"]
        assert context["items"]
        assert context["used_tokens"] <= 1_000


async def test_a_session_that_cannot_be_read_any_more_takes_no_context_away(tenant: Tenant, settings: Settings) -> None:
    await tenant.remember("The lighthouse is at the harbour of Skagen.")
    await append(tenant, "s", user("Where was the lighthouse?"))
    (await tenant.http.post("/v1/sessions/s/snapshots")).raise_for_status()
    for one in files(Path(settings.object_store or "") / str(tenant.tenant_id)):
        one.write_bytes(b"damaged")
    await lose_redis(settings)
    answer = await tenant.http.post("/v1/context", json={"query": "lighthouse", "session_id": "s"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["degraded"] == ["session"]
    assert "Skagen" in answer.json()["text"]


async def test_what_the_session_shows_is_not_shown_again_as_a_memory(tenant: Tenant) -> None:
    await append(tenant, "s", *(user(f"The lighthouse keeper counted {n} ships in the harbour.") for n in range(12)))
    assert (await tenant.http.post("/v1/sessions/s/commit")).json()["created"] == 12
    body = {"query": "lighthouse keeper ships", "budget_tokens": 400, "session_id": "s", "session_tokens": 100}
    context = (await tenant.http.post("/v1/context", json=body)).json()
    shown = {one["content"] for one in context["session"]["messages"]}
    again = [one["external_id"] for one in context["dropped"] if one["reason"] == "shown_already"]
    assert 0 < len(shown) == len(again) < 12
    for text in shown:
        assert context["text"].count(text) == 1
    assert len(context["items"]) + len(shown) == 12
