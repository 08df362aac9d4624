"""Every route, called by tenant B with tenant A's ids: nothing of A is returned, changed or revealed.

A new route fails :func:`test_every_route_is_in_the_matrix` until it is here.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

import httpx
import psycopg
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Route

from memoryd.access.keys import parse
from memoryd.jobs.model import NewItem, NewJob
from retrieval.scope import Action, Scope
from tests.http.conftest import Tenant, client
from tests.http.document import application
from tests.stack import Stack

CANARY = "xylophone-canary-7f3a"
BASE = f"/v1/knowledge-bases/{CANARY}"


@dataclass(frozen=True)
class Victim:
    """Tenant A, with one of everything; all its texts, names and ids hold or are canaries."""

    tenant: Tenant
    memory: str
    handle: str
    key_id: str
    cursor: str | None
    checkpoint: str
    job: str
    generation: int

    @property
    def secrets(self) -> list[str]:
        return [CANARY, self.memory, self.key_id, str(self.tenant.tenant_id), self.checkpoint, self.job]


@pytest.fixture
async def victim(app: FastAPI, stack: Stack, tenant: Tenant) -> Victim:
    ids = await tenant.remember(
        f"The vault code is {CANARY}", f"Backup of {CANARY}", space=f"space-{CANARY}", user_id=CANARY, session_id=CANARY,
        external_id=None, topics=[CANARY], metadata={"k": CANARY},
    )  # fmt: skip
    context = await tenant.http.post("/v1/context", json={"query": "vault code", "budget_tokens": 400})
    key = await tenant.http.post("/v1/keys", json={"name": CANARY, "actions": ["read"]})
    page = await tenant.http.get("/v1/memories", params={"limit": 1})
    handle = context.json()["items"][0]["handle"]
    return Victim(
        tenant,
        ids[0],
        handle,
        key.json()["id"],
        page.json()["next_cursor"],
        await _session(tenant),
        await _job(app, stack, tenant),
        _generation(stack, tenant),
    )


async def _job(app: FastAPI, stack: Stack, tenant: Tenant) -> str:
    """A job of which one document is a dead letter; its id."""
    scope = Scope(tenant.tenant_id, CANARY, frozenset(Action))
    items = [NewItem(CANARY, {"text": CANARY}), NewItem(f"{CANARY}-2", {})]
    made = await app.state.services.jobs.use.create(
        scope, NewJob("no-worker-knows", {"c": CANARY}, items, space=f"space-{CANARY}")
    )
    with psycopg.connect(stack.superuser_url) as connection:
        of = (made.job_id,)
        connection.execute("UPDATE memoryd.job_items SET state = 'failed', dead = true WHERE job_id = %s AND item = 1", of)
        connection.execute("UPDATE memoryd.jobs SET failed = 1 WHERE job_id = %s", of)
    return str(made.job_id)


def _generation(stack: Stack, tenant: Tenant) -> int:
    """One of the tenant's own, given up already so that no write has to reach it; its number."""
    with psycopg.connect(stack.superuser_url) as connection:
        row = connection.execute(
            "INSERT INTO memoryd.generations (model, revision, dimension, state, tenant_id, created_by, purged_at) "
            "VALUES (%(canary)s, '1', 8, 'retired', %(tenant)s, %(canary)s, now()) RETURNING generation",
            {"canary": CANARY, "tenant": tenant.tenant_id},
        ).fetchone()
    assert row is not None
    return int(row[0])


async def _session(tenant: Tenant) -> str:
    """A session with one of everything; the id of its checkpoint."""
    path, turn = f"/v1/sessions/{CANARY}", {"role": "user", "content": CANARY, "id": CANARY}
    body = {"messages": [turn], "user_id": CANARY, "agent_id": CANARY, "space": f"space-{CANARY}"}
    await tenant.http.post(f"{path}/messages", json=body)
    await tenant.http.put(f"{path}/state/k", json={"value": CANARY})
    await tenant.http.put(f"{path}/effects/e", json={"value": CANARY})
    await tenant.http.post(f"{path}/snapshots")
    made: str = (await tenant.http.post(f"{path}/checkpoints", json={"label": CANARY})).json()["id"]
    return made


Call = Callable[[httpx.AsyncClient, Victim], Awaitable[httpx.Response]]

# For each route: how B calls it at A, and what B must be told. 200 means: an answer without anything of A.
MATRIX: dict[tuple[str, str], tuple[Call, set[int]]] = {
    ("POST", "/v1/memories"): (
        lambda b, v: b.post("/v1/memories", json={"memories": [{"text": "x", "supersedes": v.memory}]}), {404},
    ),
    ("GET", "/v1/memories"): (lambda b, v: b.get("/v1/memories", params={"cursor": v.cursor, "user_id": CANARY}), {200}),
    ("GET", "/v1/memories/{memory_id}"): (lambda b, v: b.get(f"/v1/memories/{v.memory}"), {404}),
    ("PATCH", "/v1/memories/{memory_id}"): (lambda b, v: b.patch(f"/v1/memories/{v.memory}", json={"text": "mine"}), {404}),
    ("DELETE", "/v1/memories/{memory_id}"): (lambda b, v: b.delete(f"/v1/memories/{v.memory}", params={"purge": True}), {404}),
    ("GET", "/v1/memories/{memory_id}/history"): (lambda b, v: b.get(f"/v1/memories/{v.memory}/history"), {404}),
    ("POST", "/v1/memories/{memory_id}/revert"): (
        lambda b, v: b.post(f"/v1/memories/{v.memory}/revert", json={"revision": 1}), {404},
    ),
    ("POST", "/v1/recall"): (lambda b, v: b.post("/v1/recall", json={"query": "vault code", "explain": True}), {200}),
    ("POST", "/v1/context"): (
        lambda b, v: b.post("/v1/context", json={"query": "vault code", "budget_tokens": 500, "must_include": [v.memory]}), {404},
    ),
    ("POST", "/v1/knowledge-bases"): (lambda b, v: b.post("/v1/knowledge-bases", json={"name": "mine"}), {201}),
    ("GET", "/v1/knowledge-bases"): (lambda b, v: b.get("/v1/knowledge-bases"), {200}),
    ("GET", "/v1/knowledge-bases/{name}"): (lambda b, v: b.get(BASE), {404}),
    ("PATCH", "/v1/knowledge-bases/{name}"): (lambda b, v: b.patch(BASE, json={"retain": 1}), {404}),
    ("DELETE", "/v1/knowledge-bases/{name}"): (lambda b, v: b.delete(BASE), {404}),
    ("GET", "/v1/knowledge-bases/{name}/versions"): (lambda b, v: b.get(f"{BASE}/versions"), {404}),
    ("POST", "/v1/knowledge-bases/{name}/publish"): (lambda b, v: b.post(f"{BASE}/publish", json={}), {404}),
    ("POST", "/v1/knowledge-bases/{name}/rollback"): (lambda b, v: b.post(f"{BASE}/rollback", json={"to": "1"}), {404}),
    ("PUT", "/v1/knowledge-bases/{name}/tags/{tag}"): (lambda b, v: b.put(f"{BASE}/tags/t", json={"version": "1"}), {404}),
    ("DELETE", "/v1/knowledge-bases/{name}/tags/{tag}"): (lambda b, v: b.delete(f"{BASE}/tags/t"), {404}),
    ("GET", "/v1/knowledge-bases/{name}/diff"): (lambda b, v: b.get(f"{BASE}/diff"), {404}),
    ("DELETE", "/v1/knowledge-bases/{name}/draft"): (lambda b, v: b.delete(f"{BASE}/draft"), {404}),
    ("POST", "/v1/knowledge-bases/{name}/collect"): (lambda b, v: b.post(f"{BASE}/collect"), {404}),
    ("GET", "/v1/knowledge-bases/{name}/documents"): (lambda b, v: b.get(f"{BASE}/documents"), {404}),
    ("GET", "/v1/knowledge-bases/{name}/documents/{document_id}"): (lambda b, v: b.get(f"{BASE}/documents/{CANARY}"), {404}),
    ("DELETE", "/v1/knowledge-bases/{name}/documents/{document_id}"): (
        lambda b, v: b.delete(f"{BASE}/documents/{CANARY}"), {404},
    ),
    ("GET", "/v1/knowledge-bases/{name}/chunks"): (
        lambda b, v: b.get(f"{BASE}/chunks", params={"document_id": CANARY}), {404},
    ),
    ("GET", "/v1/knowledge-bases/{name}/originals/{document_id}"): (lambda b, v: b.get(f"{BASE}/originals/{CANARY}"), {404}),
    ("POST", "/v1/knowledge-bases/{name}/compare"): (
        lambda b, v: b.post(f"{BASE}/compare", json={"documents": {CANARY: "0" * 64}}), {404},
    ),
    ("POST", "/v1/knowledge-bases/{name}/uploads"): (lambda b, v: b.post(f"{BASE}/uploads", files={"file": b"x"}), {404}),
    ("POST", "/v1/knowledge-bases/{name}/documents"): (lambda b, v: b.post(f"{BASE}/documents", files={"file": b"x"}), {404}),
    ("POST", "/v1/knowledge-bases/{name}/jobs"): (
        lambda b, v: b.post(f"{BASE}/jobs", json={"documents": [{"document_id": "d", "text": "x"}]}), {404},
    ),
    ("POST", "/v1/knowledge-bases/{name}/search"): (
        lambda b, v: b.post(f"/v1/knowledge-bases/{CANARY}/search", json={"query": "vault code"}), {404},
    ),
    ("POST", "/v1/context/expand"): (lambda b, v: b.post("/v1/context/expand", json={"handle": v.handle}), {422}),
    # A session's name is the caller's own: B's calls are about B's session of the same name, of which there is none.
    ("GET", "/v1/sessions"): (lambda b, v: b.get("/v1/sessions", params={"user_id": CANARY}), {200}),
    ("GET", "/v1/sessions/{session_id}"): (lambda b, v: b.get(f"/v1/sessions/{CANARY}"), {404}),
    ("PATCH", "/v1/sessions/{session_id}"): (lambda b, v: b.patch(f"/v1/sessions/{CANARY}", json={"ttl_s": 10}), {404}),
    ("DELETE", "/v1/sessions/{session_id}"): (lambda b, v: b.delete(f"/v1/sessions/{CANARY}"), {404}),
    ("POST", "/v1/sessions/{session_id}/messages"): (
        lambda b, v: b.post(f"/v1/sessions/{CANARY}/messages", json={"messages": [{"role": "user", "content": "x"}]}), {201},
    ),
    ("GET", "/v1/sessions/{session_id}/messages"): (lambda b, v: b.get(f"/v1/sessions/{CANARY}/messages"), {404}),
    ("GET", "/v1/sessions/{session_id}/events"): (lambda b, v: b.get(f"/v1/sessions/{CANARY}/events"), {404}),
    ("GET", "/v1/sessions/{session_id}/context"): (lambda b, v: b.get(f"/v1/sessions/{CANARY}/context"), {404}),
    ("GET", "/v1/sessions/{session_id}/state"): (lambda b, v: b.get(f"/v1/sessions/{CANARY}/state"), {404}),
    ("GET", "/v1/sessions/{session_id}/state/{key}"): (lambda b, v: b.get(f"/v1/sessions/{CANARY}/state/k"), {404}),
    ("PUT", "/v1/sessions/{session_id}/state/{key}"): (
        lambda b, v: b.put(f"/v1/sessions/{CANARY}/state/k", json={"value": 1}, headers={"If-Match": '"1"'}), {409},
    ),
    ("DELETE", "/v1/sessions/{session_id}/state/{key}"): (lambda b, v: b.delete(f"/v1/sessions/{CANARY}/state/k"), {404}),
    ("PUT", "/v1/sessions/{session_id}/effects/{key}"): (
        lambda b, v: b.put(f"/v1/sessions/{CANARY}/effects/e", json={"value": 1}), {200},
    ),
    ("GET", "/v1/sessions/{session_id}/effects/{key}"): (lambda b, v: b.get(f"/v1/sessions/{CANARY}/effects/e"), {404}),
    ("POST", "/v1/sessions/{session_id}/checkpoints"): (
        lambda b, v: b.post(f"/v1/sessions/{CANARY}/checkpoints", json={}), {404},
    ),
    ("GET", "/v1/sessions/{session_id}/checkpoints"): (lambda b, v: b.get(f"/v1/sessions/{CANARY}/checkpoints"), {404}),
    ("GET", "/v1/sessions/{session_id}/checkpoints/{checkpoint_id}"): (
        lambda b, v: b.get(f"/v1/sessions/{CANARY}/checkpoints/{v.checkpoint}"), {404},
    ),
    ("POST", "/v1/sessions/{session_id}/restore"): (
        lambda b, v: b.post(f"/v1/sessions/{CANARY}/restore", json={"checkpoint_id": v.checkpoint}), {404},
    ),
    ("POST", "/v1/sessions/{session_id}/snapshots"): (lambda b, v: b.post(f"/v1/sessions/{CANARY}/snapshots"), {404}),
    ("GET", "/v1/sessions/{session_id}/snapshots"): (lambda b, v: b.get(f"/v1/sessions/{CANARY}/snapshots"), {404}),
    ("POST", "/v1/sessions/{session_id}/commit"): (lambda b, v: b.post(f"/v1/sessions/{CANARY}/commit"), {404}),
    ("GET", "/v1/session-settings"): (lambda b, v: b.get("/v1/session-settings"), {200}),
    ("PUT", "/v1/session-settings"): (lambda b, v: b.put("/v1/session-settings", json={"auto_commit": "idle"}), {200}),
    ("GET", "/v1/jobs"): (lambda b, v: b.get("/v1/jobs"), {200}),
    ("GET", "/v1/jobs/{job_id}"): (lambda b, v: b.get(f"/v1/jobs/{v.job}"), {404}),
    ("GET", "/v1/jobs/{job_id}/items"): (lambda b, v: b.get(f"/v1/jobs/{v.job}/items"), {404}),
    ("GET", "/v1/jobs/{job_id}/events"): (lambda b, v: b.get(f"/v1/jobs/{v.job}/events"), {404}),
    ("POST", "/v1/jobs/{job_id}/cancel"): (lambda b, v: b.post(f"/v1/jobs/{v.job}/cancel"), {404}),
    ("POST", "/v1/jobs/{job_id}/pause"): (lambda b, v: b.post(f"/v1/jobs/{v.job}/pause"), {404}),
    ("POST", "/v1/jobs/{job_id}/resume"): (lambda b, v: b.post(f"/v1/jobs/{v.job}/resume"), {404}),
    ("POST", "/v1/jobs/{job_id}/retry"): (lambda b, v: b.post(f"/v1/jobs/{v.job}/retry"), {404}),
    ("GET", "/v1/dead-letters"): (lambda b, v: b.get("/v1/dead-letters"), {200}),
    ("POST", "/v1/dead-letters/replay"): (lambda b, v: b.post("/v1/dead-letters/replay", json={"job_id": v.job}), {404}),
    ("POST", "/v1/generations"): (
        lambda b, v: b.post(
            "/v1/generations", json={"model": "x", "scope": "knowledge_base", "knowledge_base": CANARY}
        ), {404},
    ),
    ("GET", "/v1/generations"): (lambda b, v: b.get("/v1/generations"), {200}),
    ("GET", "/v1/generations/{number}"): (lambda b, v: b.get(f"/v1/generations/{v.generation}"), {404}),
    ("POST", "/v1/generations/{number}/pause"): (lambda b, v: b.post(f"/v1/generations/{v.generation}/pause"), {404}),
    ("POST", "/v1/generations/{number}/resume"): (lambda b, v: b.post(f"/v1/generations/{v.generation}/resume"), {404}),
    ("POST", "/v1/generations/{number}/verify"): (lambda b, v: b.post(f"/v1/generations/{v.generation}/verify"), {404}),
    ("POST", "/v1/generations/{number}/cutover"): (lambda b, v: b.post(f"/v1/generations/{v.generation}/cutover"), {404}),
    ("POST", "/v1/generations/{number}/rollback"): (lambda b, v: b.post(f"/v1/generations/{v.generation}/rollback"), {404}),
    ("POST", "/v1/generations/{number}/retire"): (lambda b, v: b.post(f"/v1/generations/{v.generation}/retire"), {404}),
    ("POST", "/v1/spaces"): (lambda b, v: b.post("/v1/spaces", json={"name": f"s-{uuid4().hex}"}), {201}),
    ("GET", "/v1/spaces"): (lambda b, v: b.get("/v1/spaces"), {200}),
    ("PATCH", "/v1/spaces/{name}"): (lambda b, v: b.patch(f"/v1/spaces/space-{CANARY}", json={"rerank": "on"}), {404}),
    ("POST", "/v1/keys"): (lambda b, v: b.post("/v1/keys", json={"name": "k", "actions": ["read"]}), {201}),
    ("GET", "/v1/keys"): (lambda b, v: b.get("/v1/keys"), {200}),
    ("POST", "/v1/keys/{key_id}/rotate"): (lambda b, v: b.post(f"/v1/keys/{v.key_id}/rotate", json={}), {404}),
    ("DELETE", "/v1/keys/{key_id}"): (lambda b, v: b.delete(f"/v1/keys/{v.key_id}"), {404}),
    ("GET", "/v1/audit"): (lambda b, v: b.get("/v1/audit", params={"object_id": v.memory}), {200}),
    # The operator's routes do not take a tenant's key at all.
    ("POST", "/v1/admin/tenants"): (lambda b, v: b.post("/v1/admin/tenants", json={"name": "x"}), {401}),
    ("GET", "/v1/admin/tenants"): (lambda b, v: b.get("/v1/admin/tenants"), {401}),
    ("GET", "/v1/admin/tenants/{tenant_id}"): (lambda b, v: b.get(f"/v1/admin/tenants/{v.tenant.tenant_id}"), {401}),
    ("PATCH", "/v1/admin/tenants/{tenant_id}"): (
        lambda b, v: b.patch(f"/v1/admin/tenants/{v.tenant.tenant_id}", json={"suspended": True}), {401},
    ),
    ("POST", "/v1/admin/tenants/{tenant_id}/keys"): (
        lambda b, v: b.post(f"/v1/admin/tenants/{v.tenant.tenant_id}/keys", json={"name": "x"}), {401},
    ),
    ("DELETE", "/v1/admin/tenants/{tenant_id}"): (
        lambda b, v: b.delete(f"/v1/admin/tenants/{v.tenant.tenant_id}", params={"confirm": v.tenant.name}), {401},
    ),
    ("GET", "/v1/admin/audit"): (lambda b, v: b.get("/v1/admin/audit", params={"tenant_id": str(v.tenant.tenant_id)}), {401}),
    # Each of its tools is in a matrix of its own, in tests/mcp/test_access.py.
    ("POST", "/mcp"): (
        lambda b, v: b.post(
            "/mcp",
            json={
                "jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": {"name": "recall", "arguments": {"query": "vault code"}},
            },
            headers={"Accept": "application/json, text/event-stream"},
        ),
        {200},
    ),
    ("GET", "/.well-known/oauth-protected-resource"): (lambda b, v: b.get("/.well-known/oauth-protected-resource"), {200}),
    ("GET", "/.well-known/oauth-protected-resource/mcp"): (
        lambda b, v: b.get("/.well-known/oauth-protected-resource/mcp"), {200},
    ),
    ("GET", "/livez"): (lambda b, v: b.get("/livez"), {200}),
    ("GET", "/readyz"): (lambda b, v: b.get("/readyz"), {200}),
}  # fmt: skip


# The framework's own pages about the document, which is the same for everybody.
DOCUMENTATION = {"/openapi.json", "/docs"}


def _routes(app: FastAPI) -> set[tuple[str, str]]:
    """Every operation of the application, read off its OpenAPI document and its routes; of whatever kind, hidden or not."""
    documented = {(method.upper(), path) for path, operations in app.openapi()["paths"].items() for method in operations}
    mounted = {
        (method, str(route.path).replace(":path}", "}"))
        for route in iter_route_contexts(app.routes)
        if route.path not in DOCUMENTATION
        for method in route.methods or (type(route.original_route).__name__,)
    }
    return documented | mounted


def test_every_route_is_in_the_matrix(app: FastAPI) -> None:
    assert _routes(app) == set(MATRIX)


def _hidden(app: FastAPI) -> None:
    app.add_api_route("/v1/new", _new, methods=["POST"], include_in_schema=False)


def _of_a_router(app: FastAPI) -> None:
    router = APIRouter(prefix="/v1")
    router.add_api_route("/new/{memory_id}", _new, methods=["GET"])
    app.include_router(router)


def _plain(app: FastAPI) -> None:
    app.router.routes.append(Route("/new", _new, methods=["GET"]))


def _mounted(app: FastAPI) -> None:
    app.mount("/new", FastAPI())


def _websocket(app: FastAPI) -> None:
    app.add_api_websocket_route("/new", _new)


async def _new() -> None: ...


@pytest.mark.parametrize("add", [_hidden, _of_a_router, _plain, _mounted, _websocket])
def test_a_new_route_of_any_kind_would_be_missed(add: Callable[[FastAPI], None]) -> None:
    fresh = application()
    before = _routes(fresh)
    add(fresh)
    assert any("/new" in path for _, path in _routes(fresh) - before)


@pytest.mark.parametrize("route", sorted(MATRIX), ids=" ".join)
async def test_foreign_ids_tell_and_change_nothing(
    route: tuple[str, str], victim: Victim, other: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    before = await _everything(victim)
    call, statuses = MATRIX[route]
    with caplog.at_level(logging.DEBUG):
        answer = await call(other.http, victim)
    assert answer.status_code in statuses, answer.text
    for secret in victim.secrets:
        assert secret not in answer.text.replace(_asked(answer), ""), secret
        assert secret not in str(answer.headers)
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert CANARY not in "\n".join(logged)
    assert await _everything(victim) == before


def _asked(answer: httpx.Response) -> str:
    """The id in the request's own path, which an answer may repeat."""
    return answer.request.url.path if answer.status_code >= 400 else "\0"


async def _everything(victim: Victim) -> list[object]:
    """All that A can see of its own."""
    http = victim.tenant.http
    answers = [
        await http.get(f"/v1/memories/{victim.memory}"),
        await http.get(f"/v1/memories/{victim.memory}/history"),
        await http.get("/v1/memories"),
        await http.get("/v1/spaces"),
        await http.get("/v1/sessions"),
        await http.get(f"/v1/sessions/{CANARY}/messages"),
        await http.get(f"/v1/sessions/{CANARY}/state"),
        await http.get(f"/v1/sessions/{CANARY}/effects/e"),
        await http.get(f"/v1/sessions/{CANARY}/checkpoints"),
        await http.get(f"/v1/sessions/{CANARY}/snapshots"),
        await http.get("/v1/session-settings"),
        await http.get("/v1/jobs"),
        await http.get(f"/v1/jobs/{victim.job}/items"),
        await http.get("/v1/dead-letters"),
        await http.get("/v1/generations"),
    ]
    keys = (await http.get("/v1/keys")).json()["keys"]
    found = (await http.post("/v1/recall", json={"query": "vault code", "explain": True})).json()["hits"]
    return [*((answer.status_code, answer.json()) for answer in answers), [k | {"last_used_at": None} for k in keys], found]


# They say nothing of any tenant.
PUBLIC = {"/livez", "/readyz", "/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"}


@pytest.mark.parametrize("route", [r for r in sorted(MATRIX) if r[1] not in PUBLIC], ids=" ".join)
async def test_without_a_key_nothing_is_answered(route: tuple[str, str], victim: Victim, anonymous: httpx.AsyncClient) -> None:
    answer = await MATRIX[route][0](anonymous, victim)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_foreign_id_is_answered_as_one_that_never_existed(victim: Victim, other: Tenant) -> None:
    foreign = await other.http.get(f"/v1/memories/{victim.memory}")
    never = await other.http.get(f"/v1/memories/{uuid4()}")
    strip = {"request_id"}
    assert {k: v for k, v in foreign.json().items() if k not in strip} == {
        k: v for k, v in never.json().items() if k not in strip
    }


async def test_statistics_do_not_leak(tenant: Tenant, other: Tenant) -> None:
    """B's scores do not move when A writes the same words."""
    await other.remember("the red harbour", "the blue harbour", "a green meadow")
    before = (await other.recall("red harbour", explain=True))["hits"]
    await tenant.remember(*(f"red harbour number {n}" for n in range(50)))
    assert (await other.recall("red harbour", explain=True))["hits"] == before


async def test_a_key_with_another_tenants_id_in_it_is_refused(app: FastAPI, tenant: Tenant, other: Tenant) -> None:
    """The tenant in a key is only a claim."""
    mine = parse(other.key)
    assert mine is not None
    forged = tenant.key[:26] + other.key[26:]
    async with client(app, forged) as http:
        assert (await http.get("/v1/memories")).status_code == 401
