"""The REST application as a whole: its document, its problems, its limits."""

import asyncio
import json
import re

import httpx
import psycopg
import pytest
from blockbuster import BlockBuster
from fastapi import FastAPI

from retrieval.inference import InferenceRuntime
from tests.http.conftest import Tenant
from tests.stack import Stack


async def test_health(anonymous: httpx.AsyncClient) -> None:
    assert (await anonymous.get("/livez")).json() == {"status": "live"}
    ready = await anonymous.get("/readyz")
    assert ready.status_code == 200, ready.text
    checks = ready.json()["checks"]
    assert {name for name, check in checks.items() if check["ok"]} == {"postgresql", "schema", "redis", "embedder", "reranker"}
    assert {key for check in checks.values() for key in check} == {"ok", "required"}, "no versions, no addresses"


async def test_the_page_to_click_through_runs_no_script_that_is_not_checked(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    loaded = re.findall(r'<(?:script|link)[^>]*(?:src|href)="(https?:[^"]+)"([^>]*)>', answer.text)
    assert len(loaded) == answer.text.count("https:") == 2
    for where, how in loaded:
        assert re.search(r"@\d+\.\d+\.\d+/", where)
        assert re.search(r'integrity="sha384-[A-Za-z0-9+/]{64}" crossorigin="anonymous"', how)
    assert 'url: "openapi.json"' in answer.text
    assert (await anonymous.get("/openapi.json")).status_code == 200


async def test_ready_without_a_reranker_that_computes_and_not_without_an_embedder(
    anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recalls go on without a reranker."""
    for broken, status in (("reranks", 200), ("embeds", 503)):
        with monkeypatch.context() as patch:
            patch.setattr(InferenceRuntime, broken, property(lambda runtime: False))
            await asyncio.sleep(1.1)  # what is known is a second old at most
            found = await anonymous.get("/readyz")
        assert found.status_code == status, found.text
        if broken == "reranks":
            assert found.json()["checks"]["reranker"] == {"ok": False, "required": False}
        else:
            assert "embedder" in found.json()["detail"]
    await asyncio.sleep(1.1)


async def test_not_ready_without_a_migration(anonymous: httpx.AsyncClient, stack: Stack) -> None:
    """As after a restore of an older copy. A newer database is served: a release may be rolled back."""
    with psycopg.connect(stack.owner_url, autocommit=True) as owner:
        row = owner.execute("SELECT * FROM memoryd.migrations ORDER BY name DESC LIMIT 1").fetchone()
        assert row is not None
        owner.execute("DELETE FROM memoryd.migrations WHERE name = %s", row[:1])
        await asyncio.sleep(1.1)  # what is known is a second old at most
        try:
            lacking = await anonymous.get("/readyz")
        finally:
            owner.execute("INSERT INTO memoryd.migrations VALUES (%s, %s, %s)", row)
        owner.execute("INSERT INTO memoryd.migrations (name, sha256) VALUES ('9999_later.sql', '')")
        await asyncio.sleep(1.1)
        try:
            newer = await anonymous.get("/readyz")
        finally:
            owner.execute("DELETE FROM memoryd.migrations WHERE name = '9999_later.sql'")
    assert (lacking.status_code, lacking.json()["code"]) == (503, "not_ready")
    assert "schema" in lacking.json()["detail"]
    assert newer.status_code == 200, newer.text


async def test_request_ids(anonymous: httpx.AsyncClient) -> None:
    mine = await anonymous.get("/v1/memories", headers={"X-Request-ID": "abc-1"})
    assert mine.headers["x-request-id"] == mine.json()["request_id"] == "abc-1"
    hostile = await anonymous.get("/v1/memories", headers={"X-Request-ID": 'a b"<script>'})
    assert hostile.headers["x-request-id"] == hostile.json()["request_id"] != 'a b"<script>'


async def test_problems_of_the_framework_are_ours(tenant: Tenant, anonymous: httpx.AsyncClient) -> None:
    missing = await tenant.http.get("/v1/nothing")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    method = await tenant.http.put("/v1/memories")
    assert (method.status_code, method.json()["code"]) == (405, "method_not_allowed")
    assert method.headers["allow"] == "GET, HEAD, POST, OPTIONS"
    assert (await anonymous.get("/nothing")).headers["content-type"] == "application/problem+json"
    bad_id = await tenant.http.get("/v1/memories/not-a-uuid")
    assert (bad_id.status_code, bad_id.json()["code"]) == (422, "invalid_request")


async def test_an_unexpected_error_tells_nothing(
    app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    content = " ".join(["secret", "content"])  # not literally in the source line that a traceback shows

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError(content)

    monkeypatch.setattr(type(app.state.services.reader), "page", broken)
    answer = await tenant.http.get("/v1/memories")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret content" not in answer.text
    assert "secret content" not in caplog.text
    assert "RuntimeError" in caplog.text


async def test_a_request_that_takes_too_long_is_ended(app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    from memoryd.http.middleware import Bounds, Envelope

    async def slow(*_: object, **__: object) -> None:
        await asyncio.sleep(30)

    monkeypatch.setattr(type(app.state.services.reader), "page", slow)
    layer = app.middleware_stack
    while not isinstance(layer, Envelope):
        layer = layer.app  # type: ignore[union-attr]
    monkeypatch.setattr(layer, "_bounds", Bounds(2**20, 0.2, 2**20, 0.2))
    answer = await tenant.http.get("/v1/memories")
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")


async def test_nothing_blocks_the_event_loop(tenant: Tenant) -> None:
    """Every blocking call that asyncio code makes in the paths of write, recall, context and change raises."""
    blocker = BlockBuster()
    blocker.activate()
    try:
        (memory,) = await tenant.remember("the ferry leaves at nine", session_id="s")
        await tenant.recall("ferry", rerank="on", explain=True)
        for path, body in (
            ("/v1/context", {"query": "ferry", "budget_tokens": 200}),
            (f"/v1/memories/{memory}/revert", {"revision": 1}),
        ):
            assert (await tenant.http.post(path, json=body)).status_code == 200
        assert (await tenant.http.patch(f"/v1/memories/{memory}", json={"text": "the ferry leaves at ten"})).status_code == 200
        assert (await tenant.http.get("/v1/memories")).status_code == 200
        assert (await tenant.http.get("/readyz")).status_code == 200
        assert (await tenant.http.delete(f"/v1/memories/{memory}", params={"purge": True})).status_code == 204
    finally:
        blocker.deactivate()


def test_the_document_is_openapi_3_1_with_examples(app: FastAPI) -> None:
    document = app.openapi()
    assert document["openapi"].startswith("3.1")
    text = json.dumps(document)
    assert '"examples"' in text
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["operationId"], (method, path)
            assert operation.get("description"), (method, path)
            if path.startswith("/v1/"):
                assert operation["security"], (method, path)
                assert {"401", "422", "503"} <= set(operation["responses"]), (method, path)
