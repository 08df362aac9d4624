"""A session's server-sent events over HTTP."""

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI

from memoryd.client.sse import Events
from memoryd.sessions.model import Birth, NewMessage
from retrieval.scope import Action, Scope
from tests.http.conftest import Tenant, client
from tests.http.talking import append, user


async def test_events_come_in_order_and_can_be_resumed(app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.state.services.sessions.events, "_heartbeat_s", 0.5)
    await append(tenant, "s", user("one"), user("two"))

    async def listen(query: dict[str, str], headers: dict[str, str]) -> list[tuple[str, str]]:
        answer = await tenant.http.get("/v1/sessions/s/events", params=query, headers=headers)
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(_events(answer.text))

    async def talk() -> None:
        await asyncio.sleep(0.3)
        await append(tenant, "s", user("three"))
        point = (await tenant.http.post("/v1/sessions/s/checkpoints", json={})).json()["id"]
        await append(tenant, "s", user("four"))
        await tenant.http.post("/v1/sessions/s/restore", json={"checkpoint_id": point})
        await append(tenant, "s", user("five"))
        await asyncio.sleep(0.3)
        await tenant.http.delete("/v1/sessions/s")

    everything, resumed, _ = await asyncio.gather(listen({"after": "0"}, {}), listen({}, {"Last-Event-ID": "2"}), talk())
    assert [text for kind, text in everything if kind == "message"][:3] == ["1 one", "2 two", "3 three"]
    assert next(text for kind, text in resumed if kind == "message") == "3 three"
    for heard in (everything, resumed):
        assert heard[-1][0] == "gone"
        assert ("message", "5 five") in heard


async def test_who_comes_back_after_a_quiet_stream_is_told_what_came_between(
    app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.services.sessions.events, "_lifetime_s", 0.2)
    await append(tenant, "s", user("one"))
    standard = Events()
    assert not list(standard.feed((await tenant.http.get("/v1/sessions/s/events")).content))
    assert standard.last_id == "1"
    await append(tenant, "s", user("two"))
    answer = await tenant.http.get("/v1/sessions/s/events", headers={"Last-Event-ID": standard.last_id})
    assert list(_events(answer.text)) == [("message", "2 two")]


@pytest.mark.parametrize("how", ["revoked", "suspended"])
async def test_a_key_that_ends_is_told_nothing_more(app: FastAPI, tenant: Tenant, operator: httpx.AsyncClient, how: str) -> None:
    await append(tenant, "s", user("one"))
    made = (await tenant.http.post("/v1/keys", json={"name": "listener", "actions": ["read"]})).json()
    async with client(app, made["key"]) as listener:
        listening = asyncio.create_task(listener.get("/v1/sessions/s/events?after=0"))
        await asyncio.sleep(0.5)
        if how == "revoked":
            answer = await tenant.http.delete(f"/v1/keys/{made['id']}")
        else:
            answer = await operator.patch(f"/v1/admin/tenants/{tenant.tenant_id}", json={"suspended": True})
        assert answer.is_success, answer.text
        late = NewMessage(None, None, False, '{"role":"user","content":"two"}')
        scope = Scope(tenant.tenant_id, "tester", frozenset(Action))
        await app.state.services.sessions.working.append(scope, "s", [late], Birth(), None)
        async with asyncio.timeout(5):
            assert list(_events((await listening).text)) == [("message", "1 one")]


async def test_an_event_id_that_was_never_given_out_is_refused(tenant: Tenant) -> None:
    await append(tenant, "s", user("one"))
    for wrong in ("99999999999999999999", str(2**52 + 1), "-1", "one"):
        answer = await tenant.http.get("/v1/sessions/s/events", headers={"Last-Event-ID": wrong})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text


def _events(text: str) -> "list[tuple[str, str]]":
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in fields:
            data = json.loads(fields["data"])
            found.append((fields["event"], f"{fields['id']} {data['content']}" if "content" in data else ""))
    return found
