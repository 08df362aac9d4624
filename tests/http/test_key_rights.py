"""What a key may do, where, and until when."""

import httpx
from fastapi import FastAPI

from tests.http.conftest import Tenant, client


async def _confined(app: FastAPI, tenant: Tenant, **wish: object) -> httpx.AsyncClient:
    answer = await tenant.http.post("/v1/keys", json={"name": "confined", **wish})
    assert answer.status_code == 201, answer.text
    return client(app, answer.json()["key"])


async def test_a_read_key_reads_only(app: FastAPI, tenant: Tenant) -> None:
    (memory,) = await tenant.remember("the lighthouse is white")
    async with await _confined(app, tenant, actions=["read"]) as http:
        assert (await http.get(f"/v1/memories/{memory}")).status_code == 200
        assert (await http.post("/v1/recall", json={"query": "lighthouse"})).json()["hits"]
        for answer in (
            await http.post("/v1/memories", json={"memories": [{"text": "x"}]}),
            await http.patch(f"/v1/memories/{memory}", json={"text": "x"}),
            await http.delete(f"/v1/memories/{memory}"),
            await http.post(f"/v1/memories/{memory}/revert", json={"revision": 1}),
            await http.post("/v1/keys", json={"name": "more"}),
            await http.get("/v1/keys"),
            await http.post("/v1/spaces", json={"name": "more"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    async with await _confined(app, tenant, actions=["write"]) as http:
        for answer in (
            await http.get(f"/v1/memories/{memory}"),
            await http.get("/v1/memories"),
            await http.get(f"/v1/memories/{memory}/history"),
            await http.post("/v1/recall", json={"query": "lighthouse"}),
            await http.post("/v1/context", json={"query": "lighthouse"}),
            await http.get("/v1/spaces"),
            await http.delete(f"/v1/memories/{memory}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_write_key_is_answered_with_nothing_that_was_there_before(app: FastAPI, tenant: Tenant) -> None:
    (memory,) = await tenant.remember("the lighthouse is white")
    await tenant.http.patch(f"/v1/memories/{memory}", json={"text": "the lighthouse is red"})
    session = "/v1/sessions/lighthouse"
    await tenant.http.post(f"{session}/messages", json={"messages": [{"role": "user", "content": "the lighthouse"}]})
    await tenant.http.put(f"{session}/state/colour", json={"value": "white lighthouse"})
    await tenant.http.put(f"{session}/effects/painted", json={"value": "the lighthouse"})
    kept = await tenant.http.post(f"{session}/checkpoints", json={"label": "white lighthouse"})
    await tenant.http.post("/v1/knowledge-bases", json={"name": "towers", "description": "of the lighthouse"})
    async with await _confined(app, tenant, actions=["write"]) as http:
        for answer in (
            await http.patch(f"/v1/memories/{memory}", json={}),
            await http.post(f"/v1/memories/{memory}/revert", json={"revision": 1}),
            await http.put(f"{session}/effects/painted", json={"value": "x"}),
            await http.post(f"{session}/restore", json={"checkpoint_id": kept.json()["id"]}),
            await http.patch(session, json={}),
            await http.patch("/v1/knowledge-bases/towers", json={}),
            await http.post("/v1/knowledge-bases", json={"name": "towers"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        for answer in (
            await http.post("/v1/memories", json={"memories": [{"text": "the lighthouse is red"}]}),
            await http.post(f"{session}/messages", json={"messages": [{"role": "user", "content": "x"}]}),
            await http.put(f"{session}/state/colour", json={"value": "x"}),
            await http.post(f"{session}/checkpoints", json={}),
            await http.post(f"{session}/commit", json={}),
        ):
            assert answer.is_success, answer.text
            assert "lighthouse" not in answer.text
    async with await _confined(app, tenant, actions=["read", "write"]) as http:
        assert (await http.patch(f"/v1/memories/{memory}", json={})).json()["text"] == "the lighthouse is red"


async def test_a_write_key_orders_jobs_and_does_nothing_to_those_that_are_there(app: FastAPI, tenant: Tenant) -> None:
    async with await _confined(app, tenant, actions=["write"]) as http:
        made = await http.post("/v1/knowledge-bases", json={"name": "towers"})
        assert (made.status_code, made.json()["code"]) == (403, "forbidden")
        assert (await tenant.http.get("/v1/knowledge-bases/towers")).status_code == 404
        assert (await tenant.http.post("/v1/knowledge-bases", json={"name": "towers"})).status_code == 201
        ingest = {"documents": [{"document_id": "tower", "text": "The tower is white."}]}
        ordered = await http.post("/v1/knowledge-bases/towers/jobs", json=ingest)
        assert (ordered.status_code, ordered.json()["state"]) == (202, "queued")
        job = f"/v1/jobs/{ordered.json()['id']}"
        for answer in (
            *[await http.post(f"{job}/{command}") for command in ("cancel", "pause", "resume", "retry")],
            await http.post("/v1/dead-letters/replay", json={"job_id": ordered.json()["id"]}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await tenant.http.get(job)).json()["state"] == "queued"
    async with await _confined(app, tenant, actions=["read", "write"]) as http:
        assert (await http.post(f"{job}/cancel")).json()["state"] == "cancelled"


async def test_a_confined_key_is_held_to_its_space(app: FastAPI, tenant: Tenant) -> None:
    (inside,) = await tenant.remember("the lighthouse is white", space="inside")
    (outside,) = await tenant.remember("the lighthouse is black", space="outside")
    everything = ["read", "write", "delete", "admin"]
    packed = await tenant.http.post("/v1/context", json={"query": "lighthouse", "spaces": ["outside"]})
    handle = packed.json()["items"][0]["handle"]
    async with await _confined(app, tenant, actions=everything, spaces=["inside"]) as http:
        assert (await http.get(f"/v1/memories/{inside}")).status_code == 200
        hits = (await http.post("/v1/recall", json={"query": "lighthouse"})).json()["hits"]
        assert [hit["id"] for hit in hits] == [inside]
        listed = (await http.get("/v1/memories")).json()["memories"]
        assert [one["id"] for one in listed] == [inside]
        assert [s["name"] for s in (await http.get("/v1/spaces")).json()["spaces"]] == ["inside"]
        for answer in (
            await http.get(f"/v1/memories/{outside}"),
            await http.get(f"/v1/memories/{outside}/history"),
            await http.patch(f"/v1/memories/{outside}", json={"text": "x"}),
            await http.delete(f"/v1/memories/{outside}", params={"purge": True}),
            await http.post(f"/v1/memories/{outside}/revert", json={"revision": 1}),
            await http.get("/v1/memories", params={"space": "outside"}),
            await http.post("/v1/recall", json={"query": "lighthouse", "spaces": ["outside"]}),
            await http.post("/v1/memories", json={"memories": [{"text": "x", "space": "outside"}]}),
            await http.post("/v1/memories", json={"memories": [{"text": "x", "space": "inside", "supersedes": outside}]}),
            await http.post("/v1/context", json={"query": "lighthouse", "must_include": [outside]}),
            await http.post("/v1/context/expand", json={"handle": handle}),
        ):
            assert answer.status_code == 404, answer.text
        for wish in ({"spaces": None}, {"spaces": ["outside"]}, {"spaces": ["inside", "outside"]}):
            assert (await http.post("/v1/keys", json={"name": "wider", **wish})).status_code == 403
    assert (await tenant.http.get(f"/v1/memories/{outside}")).json()["text"] == "the lighthouse is black"


async def test_revoked_expired_rotated_and_suspended_keys_stop_at_once(
    app: FastAPI, tenant: Tenant, operator: httpx.AsyncClient
) -> None:
    async def status(key: str) -> int:
        async with client(app, key) as http:
            return (await http.get("/v1/memories")).status_code

    made = (await tenant.http.post("/v1/keys", json={"name": "k"})).json()
    assert await status(made["key"]) == 200
    rotated = (await tenant.http.post(f"/v1/keys/{made['id']}/rotate", json={})).json()
    assert (await status(made["key"]), await status(rotated["key"])) == (401, 200)
    assert rotated["rotated_from"] == made["id"]
    graced = (await tenant.http.post(f"/v1/keys/{rotated['id']}/rotate", json={"grace_s": 60})).json()
    assert (await status(rotated["key"]), await status(graced["key"])) == (200, 200)
    assert (await tenant.http.delete(f"/v1/keys/{graced['id']}")).status_code == 204
    assert await status(graced["key"]) == 401
    expired = {"name": "k", "expires_at": "2020-01-01T00:00:00Z"}
    assert await status((await tenant.http.post("/v1/keys", json=expired)).json()["key"]) == 401
    path = f"/v1/admin/tenants/{tenant.tenant_id}"
    assert (await operator.patch(path, json={"suspended": True})).status_code == 200
    assert await status(tenant.key) == 401
    assert (await operator.patch(path, json={"suspended": False})).status_code == 200
    assert await status(tenant.key) == 200


async def test_last_use_is_noted(tenant: Tenant) -> None:
    await tenant.http.get("/v1/memories")
    for _ in range(50):
        (key,) = (await tenant.http.get("/v1/keys")).json()["keys"]
        if key["last_used_at"]:
            break
    assert key["last_used_at"]
    assert "key" not in key
