"""Keys and tenants: no key gives more than it has, none is rotated twice, and a repeated request makes nothing twice."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import psycopg
from fastapi import FastAPI

from memoryd.access.keys import parse
from tests.http.conftest import Tenant, client
from tests.stack import Stack

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


async def test_a_key_in_its_grace_makes_none_that_outlives_it(app: FastAPI, tenant: Tenant) -> None:
    """A rotated key may have leaked: that is a reason to rotate it."""
    old = await _made(tenant.http, actions=EVERYTHING)
    headers = {"Idempotency-Key": uuid4().hex}
    async with client(app, old["key"]) as http:
        path, body = f"/v1/keys/{old['id']}/rotate", {"grace_s": 600}
        first = await http.post(path, json=body, headers=headers)
        assert first.status_code == 201
        for wish in ({}, {"expires_at": _in(11)}):
            assert (await http.post("/v1/keys", json={"name": "k", **wish})).status_code == 403
        assert (await http.post("/v1/keys", json={"name": "k", "expires_at": _in(9)})).status_code == 201
        assert (await http.post(f"/v1/keys/{first.json()['id']}/rotate", json={})).status_code == 403
        # It still hears what its own rotation came to.
        again = await http.post(path, json=body, headers=headers)
        assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])


async def test_a_key_being_revoked_leaves_no_key_behind(stack: Stack, app: FastAPI, tenant: Tenant) -> None:
    """Let in, and revoked before it was done: what it makes would live on."""
    for path in ("/v1/keys", "/v1/keys/{id}/rotate"):
        maker = await _made(tenant.http, actions=EVERYTHING)
        before = len((await tenant.http.get("/v1/keys")).json()["keys"])
        async with await psycopg.AsyncConnection.connect(stack.superuser_url) as revoking, client(app, maker["key"]) as http:
            await revoking.execute("UPDATE memoryd.api_keys SET revoked_at = now() WHERE key_id = %s", (maker["id"],))
            body = {"name": "child"} if path.endswith("keys") else {}
            asked = asyncio.create_task(http.post(path.format(id=maker["id"]), json=body))
            await asyncio.sleep(0.3)
            assert not asked.done(), "it waits for what becomes of its maker"
            await revoking.commit()
            answer = await asked
        assert answer.status_code in {401, 403, 409}, answer.text
        assert len((await tenant.http.get("/v1/keys")).json()["keys"]) == before


async def test_repeated_creations_and_revocations(tenant: Tenant) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    body = {"name": "k"}
    first, again = [await tenant.http.post("/v1/keys", json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json() | {"key": None}
    other = await tenant.http.post("/v1/keys", json={"name": "other"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")

    path, headers = f"/v1/keys/{first.json()['id']}", {"Idempotency-Key": uuid4().hex}
    assert [(await tenant.http.delete(path, headers=headers)).status_code for _ in range(2)] == [204, 204]
    entries = (await tenant.http.get("/v1/audit", params={"action": "key.revoke"})).json()["entries"]
    assert [entry["object_ids"] for entry in entries] == [[first.json()["id"]]]
    other = await tenant.http.delete(f"/v1/keys/{uuid4()}", headers=headers)
    assert other.status_code in {404, 422}


async def test_a_repeated_creation_of_a_space(tenant: Tenant) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    body = {"name": "team", "description": "of the team"}
    first, again = [await tenant.http.post("/v1/spaces", json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    # A refusal is not kept as a success.
    headers = {"Idempotency-Key": uuid4().hex}
    taken = [await tenant.http.post("/v1/spaces", json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in taken] == [409, 409]


async def test_one_idempotency_key_many_times_at_once_makes_one_key(tenant: Tenant) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    answers = await asyncio.gather(*(tenant.http.post("/v1/keys", json={"name": "k"}, headers=headers) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum(answer.json()["key"] is not None for answer in answers) == 1


async def test_last_use_goes_forward_to_the_minute(app: FastAPI, tenant: Tenant) -> None:
    store = app.state.services.authenticator._store  # what several processes write to
    presented = parse(tenant.key)
    assert presented is not None
    now = datetime.now(UTC) + timedelta(days=1)
    for offset, noted in ((0, 0), (30, 0), (-600, 0), (60, 60)):
        await store.touch_key(presented.tenant_id, presented.key_id, now + timedelta(seconds=offset))
        key = await store.find_key(presented.tenant_id, presented.key_id)
        assert key.last_used_at == now + timedelta(seconds=noted)
