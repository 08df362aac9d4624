"""Writers that meet, and what a write keeps of the request: deadlocks, many supersessions at once, receipts."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import AsyncConnection

from memoryd.clock import SystemClock
from memoryd.memory.identity import identity
from memoryd.memory.model import Content, Draft, Kind
from tests.http.conftest import Tenant
from tests.stack import Stack

_CLAIM = "INSERT INTO memoryd.memories (tenant_id, memory_id, space_id, identity) VALUES (%s, %s, %s, %s)"
_WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"


def draft(text: str, external_id: str) -> Draft:
    content = Content(
        kind=Kind.SEMANTIC, text=text, speaker=None, role=None, user_id=None, agent_id=None, session_id=None, event_time=None,
        valid_from=None, valid_to=None, source_type="api", source_uri=None, confidence=1.0, topics=(), metadata={},
        supersedes=None,
    )  # fmt: skip
    return Draft("default", external_id, content)


async def test_batches_in_different_orders_collide_and_both_are_written(stack: Stack, tenant: Tenant) -> None:
    """Another writer has x and wants y, the request has y and wants x: PostgreSQL ends the request's transaction."""
    x, y = draft("the gate is green", "x"), draft("the fence is blue", "y")
    now = SystemClock().now()
    names = {one.external_id: identity(one.content, one.external_id, now) for one in (x, y)}
    async with await AsyncConnection.connect(stack.superuser_url) as other:
        await other.execute("SET deadlock_timeout = '30s'")  # the request finds the circle first
        row = await (
            await other.execute("SELECT space_id FROM memoryd.spaces WHERE tenant_id = %s", (tenant.tenant_id,))
        ).fetchone()
        assert row is not None
        await other.execute(_CLAIM, (tenant.tenant_id, uuid4(), row[0], names["x"]))
        body = {"memories": [{"text": one.content.text, "external_id": one.external_id} for one in (y, x)]}
        writing = asyncio.create_task(tenant.http.post("/v1/memories", json=body))
        async with await AsyncConnection.connect(stack.superuser_url, autocommit=True) as watch:
            while (await (await watch.execute(_WAITS)).fetchone()) == (0,):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.02)
        await other.execute(_CLAIM, (tenant.tenant_id, uuid4(), row[0], names["y"]))
        await other.rollback()
    answer = await writing
    assert answer.status_code == 201, answer.text
    assert [one["status"] for one in answer.json()["results"]] == ["created", "created"]
    listed = (await tenant.http.get("/v1/memories")).json()["memories"]
    assert [one["external_id"] for one in listed] == ["y", "x"], "in the order sent"


async def test_many_supersessions_lock_once(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    old = await tenant.remember(*(f"house {n} is white" for n in range(40)))
    sent: list[str] = []
    execute = AsyncConnection.execute

    async def counted(self: AsyncConnection[Any], query: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(str(query))
        return await execute(self, query, *args, **kwargs)

    monkeypatch.setattr(AsyncConnection, "execute", counted)
    body = {"memories": [{"text": f"house {n} is red", "supersedes": one} for n, one in enumerate(reversed(old))]}
    answer = await tenant.http.post("/v1/memories", json=body)
    monkeypatch.undo()
    assert answer.status_code == 201, answer.text
    assert sum("FOR UPDATE" in one for one in sent) == 1
    new = [one["id"] for one in answer.json()["results"]]
    for one, by in zip(reversed(old), new, strict=True):
        assert (await tenant.http.get(f"/v1/memories/{one}")).json()["superseded_by"] == by
    assert (await tenant.texts("which house is white or red", limit=100)) != []
    assert all(text.endswith("red") for text in await tenant.texts("which house is white or red", limit=100))
    again = await tenant.http.post("/v1/memories", json=body)
    assert [one["status"] for one in again.json()["results"]] == ["duplicate"] * 40


async def test_one_request_supersedes_a_memory_once(tenant: Tenant) -> None:
    """The second finds the head that the first one made, without asking the database again."""
    (old,) = await tenant.remember("Ida drives a van.")
    body = {"memories": [{"text": f"Ida drives a {what}.", "supersedes": old} for what in ("car", "bus")]}
    answer = await tenant.http.post("/v1/memories", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert await tenant.texts("Ida drives") == ["Ida drives a van."]


async def test_a_receipt_keeps_nothing_of_the_callers(stack: Stack, tenant: Tenant) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    body = {"memories": [{"text": "the password is gorgonzola", "external_id": "maya@example.org"}]}
    first = await tenant.http.post("/v1/memories", json=body, headers=headers)
    memory = first.json()["results"][0]["id"]
    assert (await tenant.http.delete(f"/v1/memories/{memory}", params={"purge": True})).status_code == 204
    select = "SELECT response FROM memoryd.idempotency_keys WHERE tenant_id = %s AND key = %s"
    with psycopg.connect(stack.superuser_url) as connection:
        row = connection.execute(select, (tenant.tenant_id, headers["Idempotency-Key"])).fetchone()
    assert row is not None
    assert row[0] == {"results": [[memory, "created"]]}
    assert "maya" not in json.dumps(row[0])
    again = await tenant.http.post("/v1/memories", json=body, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json()), "the external id is the repeated request's own"


async def test_what_takes_moments_does_not_wait_for_the_deletion_of_a_knowledge_base(stack: Stack, tenant: Tenant) -> None:
    """All under Idempotency-Keys, which wait for their work."""
    bases = "/v1/knowledge-bases"
    for name in ("large", "larger", "small"):
        assert (await tenant.http.post(bases, json={"name": name})).status_code == 201
    async with await AsyncConnection.connect(stack.superuser_url) as other:
        await other.execute(
            "SELECT FROM memoryd.knowledge_bases WHERE tenant_id = %s AND name <> 'small' FOR UPDATE", (tenant.tenant_id,)
        )
        deletions = [
            asyncio.create_task(tenant.http.delete(f"{bases}/{name}", headers={"Idempotency-Key": name}))
            for name in ("large", "larger")
        ]
        async with await AsyncConnection.connect(stack.superuser_url, autocommit=True) as watch:
            while (await (await watch.execute(_WAITS)).fetchone()) == (0,):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.02)
        async with asyncio.timeout(5):
            change = {"description": "new"}
            answer = await tenant.http.patch(f"{bases}/small", json=change, headers={"Idempotency-Key": "change"})
            assert (answer.status_code, answer.json()["description"]) == (200, "new")
            again = await tenant.http.delete(f"{bases}/large", headers={"Idempotency-Key": "large"})
            assert (again.status_code, again.json()["code"]) == (409, "idempotency_in_progress")
        await other.rollback()
    assert [(await one).status_code for one in deletions] == [204, 204]
