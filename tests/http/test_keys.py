"""Keys and tenants: no key gives more than it has, none is rotated twice, and a repeated request makes nothing twice."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
from fastapi import FastAPI

from tests.http.conftest import Tenant, client

EVERYTHING = ["read", "write", "delete", "admin"]


async def _made(http: httpx.AsyncClient, **wish: object) -> dict[str, str]:
    answer = await http.post("/v1/keys", json={"name": "k", **wish})
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()
    return made


def _in(minutes: int) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


async def test_no_key_outlives_its_maker(app: FastAPI, tenant: Tenant) -> None:
    passing = await _made(tenant.http, actions=EVERYTHING, expires_at=_in(60))
    for_ever = await _made(tenant.http, actions=["read"])
    async with client(app, passing["key"]) as http:
        for wish in ({}, {"expires_at": _in(61)}):
            answer = await http.post("/v1/keys", json={"name": "longer", **wish})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
            assert "expires_at" in answer.json()["detail"]
        assert (await http.post("/v1/keys", json={"name": "shorter", "expires_at": _in(59)})).status_code == 201
        assert (await http.post(f"/v1/keys/{for_ever['id']}/rotate", json={})).status_code == 403
        # Itself it may rotate: the successor ends when it would have ended.
        rotated = await http.post(f"/v1/keys/{passing['id']}/rotate", json={"grace_s": 60})
        assert rotated.json()["expires_at"] == passing["expires_at"]


async def test_a_confined_admin_knows_of_no_key_outside_its_spaces(app: FastAPI, tenant: Tenant) -> None:
    await tenant.remember("a", space="inside")
    await tenant.remember("b", space="outside")
    wide = await _made(tenant.http, actions=["read"])
    other = await _made(tenant.http, actions=["read"], spaces=["outside"])
    both = await _made(tenant.http, actions=["read"], spaces=["inside", "outside"])
    within = await _made(tenant.http, actions=["read"], spaces=["inside"])
    confined = await _made(tenant.http, actions=EVERYTHING, spaces=["inside"])
    async with client(app, confined["key"]) as http:
        assert {key["id"] for key in (await http.get("/v1/keys")).json()["keys"]} == {within["id"], confined["id"]}
        never = await http.delete(f"/v1/keys/{uuid4()}")
        for key in (wide, other, both):
            for answer in (await http.delete(f"/v1/keys/{key['id']}"), await http.post(f"/v1/keys/{key['id']}/rotate", json={})):
                assert answer.status_code == never.status_code == 404
                assert answer.json()["detail"] == never.json()["detail"]
        assert (await http.delete(f"/v1/keys/{within['id']}")).status_code == 204
    for key in (wide, other, both):
        async with client(app, key["key"]) as http:
            assert (await http.get("/v1/memories")).status_code == 200


async def test_a_repeated_rotation_is_answered_as_the_first_was(app: FastAPI, tenant: Tenant) -> None:
    old = await _made(tenant.http)
    headers = {"Idempotency-Key": uuid4().hex}
    first = await tenant.http.post(f"/v1/keys/{old['id']}/rotate", json={}, headers=headers)
    again = await tenant.http.post(f"/v1/keys/{old['id']}/rotate", json={}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["key"] is None
    async with client(app, first.json()["key"]) as http:
        assert (await http.get("/v1/memories")).status_code == 200


async def test_of_many_rotations_at_once_one_wins(tenant: Tenant) -> None:
    """Otherwise an old key would leave live successors behind that nobody knows of."""
    old = await _made(tenant.http)
    path = f"/v1/keys/{old['id']}/rotate"
    answers = await asyncio.gather(*(tenant.http.post(path, json={"grace_s": 60}) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    keys = (await tenant.http.get("/v1/keys")).json()["keys"]
    assert [key["rotated_from"] for key in keys].count(old["id"]) == 1


async def test_a_revoked_key_cannot_be_rotated(tenant: Tenant) -> None:
    old = await _made(tenant.http)
    path = f"/v1/keys/{old['id']}"
    rotated, revoked = await asyncio.gather(tenant.http.post(f"{path}/rotate", json={"grace_s": 600}), tenant.http.delete(path))
    assert revoked.status_code == 204
    assert rotated.status_code in {201, 409}
    assert (await tenant.http.post(f"{path}/rotate", json={})).status_code == 409
    (ended,) = [key for key in (await tenant.http.get("/v1/keys")).json()["keys"] if key["id"] == old["id"]]
    # The grace that the rotation gave does not bring a revoked key back.
    assert datetime.fromisoformat(ended["revoked_at"]) <= datetime.now(UTC)


async def test_a_tenant_is_made_once(operator: httpx.AsyncClient, app: FastAPI) -> None:
    body = {"name": f"once-{uuid4().hex[:8]}"}
    headers = {"Idempotency-Key": uuid4().hex}
    first, again = [await operator.post("/v1/admin/tenants", json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["key"]["id"] == first.json()["key"]["id"]
    assert again.json()["key"]["key"] is None
    for other in ({}, {"Idempotency-Key": uuid4().hex}):
        answer = await operator.post("/v1/admin/tenants", json=body, headers=other)
        assert (answer.status_code, answer.json()["code"]) == (409, "already_exists")


async def test_the_operator_lets_a_tenant_back_in(operator: httpx.AsyncClient, app: FastAPI, tenant: Tenant) -> None:
    keys = (await tenant.http.get("/v1/keys")).json()["keys"]
    assert (await tenant.http.delete(f"/v1/keys/{keys[0]['id']}")).status_code == 204
    assert (await tenant.http.get("/v1/keys")).status_code == 401
    path = f"/v1/admin/tenants/{tenant.tenant_id}/keys"
    headers = {"Idempotency-Key": uuid4().hex}
    body = {"name": "way back", "actions": EVERYTHING}
    first, again = [await operator.post(path, json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, again.json()["id"], again.json()["key"]) == (201, first.json()["id"], None)
    async with client(app, first.json()["key"]) as http:
        assert len((await http.get("/v1/keys")).json()["keys"]) == 2
    assert (await operator.post(f"/v1/admin/tenants/{uuid4()}/keys", json=body)).status_code == 404


async def test_a_huge_field_name_is_not_echoed(tenant: Tenant) -> None:
    answer = await tenant.http.post("/v1/recall", json={"query": "x", "f" * 100_000: 1})
    assert answer.status_code == 422
    assert len(answer.text) < 2_000
