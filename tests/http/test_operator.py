"""The operator's routes: each write once, logged where it outlives the tenant, and a deletion that leaves nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from memoryd.access.tenants import TenantService
from memoryd.clock import SystemClock
from memoryd.database_wiring import database
from memoryd.memory.model import Idempotency
from memoryd.settings import Settings
from memoryd.stores import tenants as store
from memoryd.stores.database import Database
from memoryd.stores.generations import live_generation
from memoryd.stores.redis import Redis
from memoryd.stores.tenants import PgTenants
from retrieval.scope import Action, Scope
from tests.http.conftest import Tenant, client
from tests.http.test_contention import draft
from tests.stack import Stack
from tests.stores.knowledge.shelf import Shelf, shelf_of


def _path(tenant: Tenant) -> str:
    return f"/v1/admin/tenants/{tenant.tenant_id}"


def _rows(stack: Stack, tenant_id: UUID) -> dict[str, int]:
    """How many rows each table has of a tenant; tables that are added later are looked into too."""
    with psycopg.connect(stack.superuser_url) as connection:
        tables = connection.execute(
            "SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
            "WHERE c.relnamespace = 'memoryd'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname = 'tenant_id'"
        ).fetchall()
        counts = {}
        for (table,) in tables:
            row = connection.execute(f"SELECT count(*) FROM memoryd.{table} WHERE tenant_id = %s", (tenant_id,)).fetchone()  # noqa: S608
            assert row is not None
            counts[table] = row[0]
    return counts


async def _actions(operator: httpx.AsyncClient, tenant: Tenant) -> list[str]:
    answer = await operator.get("/v1/admin/audit", params={"tenant_id": str(tenant.tenant_id)})
    return [entry["action"] for entry in answer.json()["entries"]]


async def _filled(tenant: Tenant) -> None:
    """Rows in every table that requests write to."""
    headers = {"Idempotency-Key": uuid4().hex}
    body = {"memories": [{"text": f"note {n}", "topics": ["t"], "metadata": {"n": n}} for n in range(25)]}
    assert (await tenant.http.post("/v1/memories", json=body, headers=headers)).status_code == 201
    (memory,) = await tenant.remember("to change")
    assert (await tenant.http.patch(f"/v1/memories/{memory}", json={"text": "changed"})).status_code == 200
    assert (await tenant.http.post("/v1/keys", json={"name": "k"})).status_code == 201
    assert (await tenant.http.post("/v1/knowledge-bases", json={"name": "of-a-job"})).status_code == 201
    wishes = [{"document_id": f"d{n}", "text": f"document {n}"} for n in range(12)]
    assert (await tenant.http.post("/v1/knowledge-bases/of-a-job/jobs", json={"documents": wishes})).status_code == 202


@asynccontextmanager
async def _shelf(settings: Settings, tenant: Tenant) -> AsyncIterator[Shelf]:
    """A knowledge base of the tenant with a version and a draft."""
    opened: Database = database(settings)
    await opened.open()
    generation = await live_generation(opened)
    assert generation is not None
    shelf = await shelf_of(opened, generation, Scope(tenant.tenant_id, "test", frozenset(Action)))
    await shelf.release(a=[f"line {n}" for n in range(25)])
    await shelf.stage("b", ["staged"])
    yield shelf
    await opened.close()


async def test_a_deleted_tenant_leaves_nothing_and_is_logged(
    stack: Stack,
    settings: Settings,
    operator: httpx.AsyncClient,
    tenant: Tenant,
    other: Tenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "_BATCH", 10)  # several transactions a table
    for one in (tenant, other):
        await _filled(one)
        async with _shelf(settings, one):
            pass
    kept, before = _rows(stack, other.tenant_id), _rows(stack, tenant.tenant_id)
    assert all(before[table] for table in store._LARGE)
    for confirm in ("", "?confirm=", "?confirm=yes", f"?confirm={other.name}"):
        assert (await operator.delete(_path(tenant) + confirm)).status_code == 422
    assert (await tenant.http.get("/v1/keys")).status_code == 200, "nothing happened"

    answer = await operator.delete(_path(tenant), params={"confirm": tenant.name})
    assert (answer.status_code, answer.content) == (204, b"")
    assert set(_rows(stack, tenant.tenant_id).values()) == {0}
    assert _rows(stack, other.tenant_id) == kept
    assert (await tenant.http.get("/v1/keys")).status_code == 401
    for again in (await operator.get(_path(tenant)), await operator.delete(_path(tenant), params={"confirm": tenant.name})):
        assert (again.status_code, again.json()["code"]) == (404, "not_found")
    assert await _actions(operator, tenant) == ["tenant.erased", "tenant.delete", "tenant.create"]
    answer = await operator.get("/v1/admin/audit", params={"tenant_id": str(tenant.tenant_id), "limit": 1})
    rows = answer.json()["entries"][0]["detail"]["rows"]
    assert {table: rows[table] for table in store._LARGE} == {table: before[table] for table in store._LARGE}, "in batches"
    assert rows["memories"] == 26
    assert "note" not in answer.text


async def test_an_interrupted_deletion_goes_on_and_never_back(
    stack: Stack, operator: httpx.AsyncClient, tenant: Tenant, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _filled(tenant)
    erase, erased = PgTenants._erase, list[str]()

    async def killed(self: PgTenants, tenant_id: UUID, table: str) -> int:
        if table == "memories":
            raise TimeoutError
        erased.append(table)
        return await erase(self, tenant_id, table)

    headers, confirm = {"Idempotency-Key": uuid4().hex}, {"confirm": tenant.name}
    with monkeypatch.context() as patch:
        patch.setattr(PgTenants, "_erase", killed)
        assert (await operator.delete(_path(tenant), params=confirm, headers=headers)).status_code == 504
    assert erased
    assert (await tenant.http.get("/v1/keys")).status_code == 401
    shown = (await operator.get(_path(tenant))).json()
    assert shown["deleted_at"]
    for answer in (
        await operator.patch(_path(tenant), json={"suspended": False}),
        await operator.post(f"{_path(tenant)}/keys", json={"name": "back"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    for _ in range(2):
        assert (await operator.delete(_path(tenant), params=confirm, headers=headers)).status_code == 204
    assert set(_rows(stack, tenant.tenant_id).values()) == {0}
    assert await _actions(operator, tenant) == ["tenant.erased", "tenant.delete", "tenant.create"]


async def test_a_write_that_was_under_way_leaves_nothing(
    stack: Stack, operator: httpx.AsyncClient, tenant: Tenant, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was let in before its key was stopped, and commits when the postings have been erased."""
    await _filled(tenant)
    erase = PgTenants._erase

    async def interrupted(self: PgTenants, tenant_id: UUID, table: str) -> int:
        erased = await erase(self, tenant_id, table)
        if table == "postings":
            scope = Scope(tenant_id, "test", frozenset(Action))
            await app.state.services.remember(scope, [draft("the late note", "late")], None)
            assert _rows(stack, tenant_id)["postings"]
        return erased

    monkeypatch.setattr(PgTenants, "_erase", interrupted)
    assert (await operator.delete(_path(tenant), params={"confirm": tenant.name})).status_code == 204
    assert set(_rows(stack, tenant.tenant_id).values()) == {0}


async def test_a_batch_of_a_document_that_was_under_way_leaves_nothing(
    stack: Stack, settings: Settings, operator: httpx.AsyncClient, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase = PgTenants._erase
    async with _shelf(settings, tenant) as shelf:

        async def interrupted(self: PgTenants, tenant_id: UUID, table: str) -> int:
            erased = await erase(self, tenant_id, table)
            if table == "kb_documents":
                await shelf.stage("late", ["the late line"])
                assert _rows(stack, tenant_id)["kb_postings"]
            return erased

        monkeypatch.setattr(PgTenants, "_erase", interrupted)
        assert (await operator.delete(_path(tenant), params={"confirm": tenant.name})).status_code == 204
    assert set(_rows(stack, tenant.tenant_id).values()) == {0}


async def test_two_deletions_at_once(stack: Stack, operator: httpx.AsyncClient, tenant: Tenant) -> None:
    await _filled(tenant)
    answers = await asyncio.gather(*(operator.delete(_path(tenant), params={"confirm": tenant.name}) for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {204, 404}
    assert set(_rows(stack, tenant.tenant_id).values()) == {0}
    assert (await _actions(operator, tenant)).count("tenant.erased") == 1


async def test_a_deleted_tenant_leaves_its_graph(stack: Stack, operator: httpx.AsyncClient, tenant: Tenant) -> None:
    """What a graph holds is shared between tenants: its count must not keep those that went."""

    def vectors() -> int:
        row = connection.execute("SELECT vectors FROM memoryd.hnsw_graphs WHERE graph = 3").fetchone()
        assert row is not None
        return int(row[0])

    with psycopg.connect(stack.superuser_url, autocommit=True) as connection:
        before = vectors()
        connection.execute("UPDATE memoryd.hnsw_graphs SET vectors = vectors + 70 WHERE graph = 3")
        connection.execute("INSERT INTO memoryd.tenant_hnsw_graphs VALUES (%s, 3, 70)", (tenant.tenant_id,))
        assert (await operator.delete(_path(tenant), params={"confirm": tenant.name})).status_code == 204
        assert vectors() == before


async def test_each_write_of_the_operator_happens_once(operator: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    first = await operator.patch(_path(tenant), json={"suspended": True}, headers=headers)
    assert (await operator.patch(_path(tenant), json={"suspended": False})).json()["suspended_at"] is None
    again = await operator.patch(_path(tenant), json={"suspended": True}, headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await operator.get(_path(tenant))).json()["suspended_at"] is None, "a late repetition suspends nobody again"
    assert await _actions(operator, tenant) == ["tenant.resume", "tenant.suspend", "tenant.create"]
    for call in (
        operator.post("/v1/admin/tenants", json={"name": "x"}, headers=headers),
        operator.post(f"{_path(tenant)}/keys", json={"name": "k"}, headers=headers),
        operator.patch(_path(tenant), json={"suspended": False}, headers=headers),
        operator.delete(_path(tenant), params={"confirm": tenant.name}, headers=headers),
    ):
        answer = await call
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_tenant_asked_for_many_times_at_once_is_made_once(operator: httpx.AsyncClient) -> None:
    body, headers = {"name": f"once-{uuid4().hex[:8]}"}, {"Idempotency-Key": uuid4().hex}
    answers = await asyncio.gather(*(operator.post("/v1/admin/tenants", json=body, headers=headers) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum(answer.json()["key"]["key"] is not None for answer in answers) == 1


async def test_a_suspended_tenant_is_administered_still(operator: httpx.AsyncClient, tenant: Tenant, app: FastAPI) -> None:
    headers, body = {"Idempotency-Key": uuid4().hex}, {"name": "later", "actions": ["admin"]}
    await operator.patch(_path(tenant), json={"suspended": True})
    first, again = [await operator.post(f"{_path(tenant)}/keys", json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code, again.json()["id"]) == (201, 201, first.json()["id"])
    async with client(app, first.json()["key"]) as http:
        assert (await http.get("/v1/keys")).status_code == 401
        await operator.patch(_path(tenant), json={"suspended": False})
        assert (await http.get("/v1/keys")).status_code == 200


async def test_old_idempotency_keys_of_the_operator_are_forgotten(settings: Settings) -> None:
    opened: Database = database(settings)
    await opened.open()
    try:
        service = TenantService(PgTenants(opened, idempotency_ttl=timedelta(0)), SystemClock())
        name = f"forget-{uuid4().hex[:8]}"
        given = Idempotency(uuid4().hex, b"fingerprint")
        tenant, _ = await service.create(name, service.operation("test", given))
        later = service.operation("test", given)
        await service.delete(tenant.tenant_id, name, service.operation("test"))
        again, key = await service.create(name, later)
        assert again.tenant_id != tenant.tenant_id
        assert key.text
    finally:
        await opened.close()


async def test_a_deleted_tenants_keys_in_redis_go_too(
    settings: Settings, operator: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    assert settings.redis_url is not None
    redis = Redis(settings.redis_url.get_secret_value(), timeout_s=5)
    try:
        own, foreign = ([f"t:{{{one.tenant_id}}}:s:{n}:meta" for n in range(1_200)] for one in (tenant, other))
        await redis.command("MSET", *(word for key in own + foreign for word in (key, "x")))
        assert (await operator.delete(_path(tenant), params={"confirm": tenant.name})).status_code == 204
        assert await redis.command("EXISTS", *own) == 0
        assert await redis.command("EXISTS", *foreign) == len(foreign)
        await redis.command("DEL", *foreign)
    finally:
        await redis.close()


async def test_a_deleted_tenants_snapshots_go_too(
    settings: Settings, operator: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    assert settings.object_store is not None
    store = Path(settings.object_store)
    for one in (tenant, other):
        for session in ("a", "b"):
            path = f"/v1/sessions/{session}"
            said = {"messages": [{"role": "user", "content": "hello"}]}
            assert (await one.http.post(f"{path}/messages", json=said)).status_code == 201
            assert (await one.http.post(f"{path}/snapshots")).status_code == 201
        assert len(list((store / str(one.tenant_id)).rglob("*.mds"))) == 2
    assert (await operator.delete(_path(tenant), params={"confirm": tenant.name})).status_code == 204
    assert list((store / str(tenant.tenant_id)).rglob("*.mds")) == []
    assert len(list((store / str(other.tenant_id)).rglob("*.mds"))) == 2
