"""A tenant's audit log: who did what to which objects, and nothing of what they say."""

from datetime import UTC, datetime

import httpx
from fastapi import FastAPI

from tests.http.conftest import Tenant, client

SECRET = "xylophone"


async def _entries(tenant: Tenant, **params: object) -> list[dict[str, object]]:
    answer = await tenant.http.get("/v1/audit", params={key: str(value) for key, value in params.items()})
    assert answer.status_code == 200, answer.text
    assert SECRET not in answer.text
    found: list[dict[str, object]] = answer.json()["entries"]
    return found


async def test_every_change_is_there_without_its_content(tenant: Tenant, operator: httpx.AsyncClient) -> None:
    (memory,) = await tenant.remember(f"the code is {SECRET}", metadata={"k": SECRET}, user_id=SECRET)
    path = f"/v1/memories/{memory}"
    assert (await tenant.http.patch(path, json={"text": f"{SECRET} again", "reason": SECRET})).status_code == 200
    assert (await tenant.http.delete(path, params={"reason": SECRET})).status_code == 204
    assert (await tenant.http.delete(path, params={"purge": True})).status_code == 204
    assert (await tenant.http.post("/v1/spaces", json={"name": "team", "description": SECRET})).status_code == 201
    key = (await tenant.http.post("/v1/keys", json={"name": SECRET})).json()
    rotated = (await tenant.http.post(f"/v1/keys/{key['id']}/rotate", json={})).json()
    assert (await tenant.http.delete(f"/v1/keys/{rotated['id']}")).status_code == 204
    for suspended in (True, False):
        await operator.patch(f"/v1/admin/tenants/{tenant.tenant_id}", json={"suspended": suspended})
    entries = await _entries(tenant, limit=200)
    assert [entry["action"] for entry in entries] == [
        *("tenant.resume", "tenant.suspend", "key.revoke", "key.rotate", "key.create", "key.create", "space.create"),
        *("memory.purge", "memory.delete", "memory.update", "memory.create", "key.create", "space.create", "tenant.create"),
    ]
    assert {entry["principal"] for entry in entries if str(entry["action"]).startswith("tenant.")} == {"operator"}
    assert [entry["action"] for entry in await _entries(tenant, object_id=memory)] == [
        *("memory.purge", "memory.delete", "memory.update", "memory.create")
    ]


async def test_filters_and_pages(tenant: Tenant) -> None:
    await tenant.remember("one")
    between = datetime.now(UTC).isoformat()
    await tenant.remember("two")
    whole = await _entries(tenant)
    seen: list[dict[str, object]] = []
    params = {"limit": "2"}
    while True:
        page = (await tenant.http.get("/v1/audit", params=params)).json()
        seen += page["entries"]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == whole
    created = await _entries(tenant, action="memory.create")
    assert len(created) == 2
    assert await _entries(tenant, action="memory.create", since=between) == created[:1]
    assert await _entries(tenant, action="memory.create", until=between) == created[1:]
    assert await _entries(tenant, action="nothing") == []


async def test_it_is_for_admin_keys_of_the_whole_tenant(app: FastAPI, tenant: Tenant) -> None:
    """An entry does not say which spaces its objects are in."""
    for wish in ({"actions": ["read", "write", "delete"]}, {"actions": ["admin"], "spaces": ["default"]}):
        key = (await tenant.http.post("/v1/keys", json={"name": "k", **wish})).json()["key"]
        async with client(app, key) as http:
            answer = await http.get("/v1/audit")
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
