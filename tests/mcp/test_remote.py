"""``memoryd mcp`` before a server elsewhere that is busy, or behind a proxy that lost it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import cast

import httpx2
import pytest
from fastapi import FastAPI
from mcp.server import ServerRequestContext
from mcp.types import CallToolRequestParams, CallToolResult
from starlette.types import Receive, Scope, Send

from memoryd.mcp import remote
from memoryd.mcp.installation import Address, Given
from memoryd.mcp.remote import Remote
from tests.http.conftest import Tenant
from tests.mcp.conftest import text

UNUSED = cast("ServerRequestContext", None)
PAGE = (b"<html><h1>Bad gateway</h1></html>", "text/html")
PROBLEM = (b'{"code": "inference_overloaded", "detail": "too many tokens are queued"}', "application/problem+json")


@dataclass
class Proxy:
    """Hands requests on; the first ``failures`` of them are answered with a page of its own, after they were handed on or not."""

    app: FastAPI
    failures: int
    status: int = 502
    page: tuple[bytes, str] = PAGE
    headers: Mapping[str, str] = field(default_factory=dict)
    handed_on: bool = False
    between: Callable[[], Awaitable[None]] | None = None
    asked: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        if self.asked > self.failures:
            await self.app(scope, receive, send)
            return
        if self.handed_on:
            await self.app(scope, receive, _nobody)
        if self.between is not None:
            await self.between()
        body, kind = self.page
        headers = [(name.encode(), value.encode()) for name, value in {"content-type": kind, **self.headers}.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _nobody(message: object) -> None:
    """Where an answer goes that is lost."""


Ask = Callable[..., Awaitable[CallToolResult]]


@asynccontextmanager
async def through(proxy: Proxy, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ask]:
    """Calls a tool as stdio does for its client, with the server behind the proxy."""
    client = partial(httpx2.AsyncClient, transport=httpx2.ASGITransport(proxy))
    monkeypatch.setattr(remote, "httpx2", SimpleNamespace(AsyncClient=client, TransportError=httpx2.TransportError))
    side = Remote(Given(Address("http://memoryd.test", tenant.key)))

    async def ask(tool: str, **arguments: object) -> CallToolResult:
        return await side.call(UNUSED, CallToolRequestParams(name=tool, arguments=arguments))

    try:
        yield ask
    finally:
        await side.close()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_call_is_repeated_whatever_page_says_later(
    app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    proxy = Proxy(app, failures=2, status=status)
    async with through(proxy, tenant, monkeypatch) as ask:
        told = await ask("remember", text="The red boat leaves at six.")
    assert told.structured_content["status"] == "created"
    assert proxy.asked == 3  # one request a call


@pytest.mark.parametrize("action", ["append", "checkpoint", "restore"])
async def test_what_was_done_though_the_answer_was_lost_is_done_once(
    app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    said: dict[str, object] = {"messages": [{"role": "user", "content": "once"}]}
    await tenant.http.post("/v1/sessions/s/messages", json=said)
    made = (await tenant.http.post("/v1/sessions/s/checkpoints", json={})).json()["id"]
    await tenant.http.post("/v1/sessions/s/messages", json={"messages": [{"role": "user", "content": "later"}]})
    of_action: dict[str, dict[str, object]] = {
        "append": said, "checkpoint": {"label": "here"}, "restore": {"checkpoint_id": made},
    }  # fmt: skip
    async with through(Proxy(app, failures=1, handed_on=True), tenant, monkeypatch) as ask:
        done = await ask("session", action=action, session_id="s", **of_action[action])
    assert not done.is_error, text(done)
    messages = (await tenant.http.get("/v1/sessions/s/messages")).json()["messages"]
    checkpoints = (await tenant.http.get("/v1/sessions/s/checkpoints")).json()["checkpoints"]
    assert (len(messages), len(checkpoints)) == {"append": (3, 1), "checkpoint": (2, 2), "restore": (1, 2)}[action]
    if action == "restore":
        assert done.structured_content["set_aside"] == 1


async def test_an_append_whose_answer_was_lost_is_not_appended_again_after_others(
    app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def meanwhile() -> None:
        await tenant.http.post("/v1/sessions/s/messages", json={"messages": [{"role": "user", "content": "meanwhile"}]})

    said = [{"role": "user", "content": "known", "id": "m1"}, {"role": "user", "content": "once"}]
    async with through(Proxy(app, failures=1, handed_on=True, between=meanwhile), tenant, monkeypatch) as ask:
        done = await ask("session", action="append", session_id="s", messages=said)
        assert done.structured_content["appended"] == 2, text(done)
        # The model's own repetition is another call.
        assert (await ask("session", action="append", session_id="t", messages=said[1:])).structured_content["appended"] == 1
        assert (await ask("session", action="append", session_id="t", messages=said[1:])).structured_content["known"] == 1
    messages = (await tenant.http.get("/v1/sessions/s/messages")).json()["messages"]
    assert [one["content"] for one in messages] == ["known", "once", "meanwhile"]


async def test_retry_after_is_kept_to_and_the_models_to_decide_when_it_is_long(
    app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with through(Proxy(app, 1, 429, PROBLEM, {"retry-after": "2"}), tenant, monkeypatch) as ask:
        began = time.monotonic()
        assert not (await ask("recall", query="x")).is_error
        assert time.monotonic() - began >= 2
    proxy = Proxy(app, 9, 429, PROBLEM, {"retry-after": "60"})
    async with through(proxy, tenant, monkeypatch) as ask:
        busy = await ask("recall", query="x")
    assert busy.structured_content == {
        "code": "inference_overloaded", "detail": "too many tokens are queued. Try again in 60 s; repeating is safe.",
        "retry_after_s": 60.0,
    }  # fmt: skip
    assert proxy.asked == 1


async def test_a_page_that_is_not_memoryds_is_told_to_the_model(
    app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for status, code in ((404, "internal"), (403, "forbidden"), (401, "unauthenticated")):
        proxy = Proxy(app, 9, status)
        async with through(proxy, tenant, monkeypatch) as ask:
            answer = await ask("recall", query="x")
        assert answer.structured_content["code"] == code
        assert str(status) in text(answer)
        assert proxy.asked == 1
