"""What sessions and contexts answer when Redis is gone, or hangs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from memoryd.http.app import create_app
from memoryd.settings import Settings
from memoryd.wiring import open_services
from tests.http.conftest import Tenant, client
from tests.http.talking import user


@pytest.fixture
async def lame(settings: Settings, tenant: Tenant) -> AsyncIterator[Tenant]:
    """The same tenant at an API whose Redis is gone."""
    broken = Settings.model_validate(settings.model_dump() | {"redis_url": "redis://127.0.0.1:1/0", "redis_timeout_s": 0.5})
    app = create_app(lambda: open_services(broken), max_body_bytes=2**20, request_timeout_s=30)
    async with app.router.lifespan_context(app), client(app, tenant.key) as http:
        yield replace(tenant, http=http)


async def test_without_redis_sessions_wait_and_recall_goes_on(tenant: Tenant, lame: Tenant) -> None:
    await tenant.remember("The lighthouse is white.")
    started = datetime.now(UTC)
    for answer in (
        await lame.http.post("/v1/sessions/s/messages", json={"messages": [user("x")]}),
        await lame.http.get("/v1/sessions/s/messages"),
        await lame.http.get("/v1/sessions/s/context"),
        await lame.http.get("/v1/sessions/s/events"),
        await lame.http.put("/v1/sessions/s/state/k", json={"value": 1}),
        await lame.http.get("/v1/sessions"),
        await lame.http.delete("/v1/sessions/s"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "working_memory_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    body = {"query": "lighthouse", "session_id": "s"}
    context = (await lame.http.post("/v1/context", json=body)).json()
    assert (context["degraded"], context["session"]) == (["session"], None)
    assert "lighthouse" in context["text"]
    assert (datetime.now(UTC) - started).total_seconds() < 10
    assert (await lame.recall("What colour is the lighthouse?"))["hits"]


async def test_a_redis_that_hangs_takes_its_share_of_the_deadline_only(settings: Settings, tenant: Tenant) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    await tenant.remember("The lighthouse is white.")
    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    broken = Settings.model_validate(settings.model_dump() | {"redis_url": url, "redis_timeout_s": 20})
    app = create_app(lambda: open_services(broken), max_body_bytes=2**20, request_timeout_s=30)
    async with server, app.router.lifespan_context(app), client(app, tenant.key) as http:
        started = datetime.now(UTC)
        answer = await http.post("/v1/context", json={"query": "lighthouse", "session_id": "s", "deadline_ms": 4_000})
        assert answer.status_code == 200, answer.text
        assert answer.json()["degraded"] == ["session"]
        assert "lighthouse" in answer.json()["text"]
        assert (datetime.now(UTC) - started).total_seconds() < 8
