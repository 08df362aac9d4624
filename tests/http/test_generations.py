"""A tenant changes its model over HTTP, with two real models: memories and knowledge bases, and what others may not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from fastapi import FastAPI

from memoryd.generations.rebuild import Rebuild
from memoryd.models import Models
from memoryd.settings import Settings
from memoryd.wiring import open_jobs, open_rebuild, open_worker_models
from retrieval.inference import KNOWN_MODELS, ModelStore, load_embedder
from tests.http.conftest import Tenant, client
from tests.stack import Stack

STATIC = "wordllama/l2-supercat-256"
SMALL = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def pulled(settings: Settings) -> None:
    store = ModelStore(settings.model_cache)
    for name in (STATIC, SMALL):
        store.pull(name)


@pytest.fixture(scope="module")
async def models(settings: Settings, pulled: None) -> AsyncIterator[Models]:
    async with open_worker_models(settings) as opened:
        yield opened


@pytest.fixture
async def worker(settings: Settings, models: Models) -> AsyncIterator[Rebuild]:
    async with open_rebuild(settings, models) as rebuild:
        yield rebuild


async def _built(http: httpx.AsyncClient, worker: Rebuild, number: int) -> dict[str, Any]:
    """The generation when it was verified."""
    async with asyncio.timeout(120):
        while True:
            await worker.run()
            found: dict[str, Any] = (await http.get(f"/v1/generations/{number}")).json()
            if found["report"] is not None:
                return found
            await asyncio.sleep(0.2)


@asynccontextmanager
async def _handbook(tenant: Tenant, settings: Settings, models: Models) -> AsyncIterator[None]:
    """A knowledge base with two documents."""
    made = await tenant.http.post("/v1/knowledge-bases", json={"name": "handbook"})
    assert made.status_code == 201, made.text
    documents = [
        {"document_id": "leave", "text": "# Leave\n\nEvery employee has thirty days of paid leave a year.\n"},
        {"document_id": "trains", "text": "# Trains\n\nBook trains early, second class.\n"},
    ]
    job = (await tenant.http.post("/v1/knowledge-bases/handbook/jobs", json={"documents": documents, "publish": True})).json()
    async with open_jobs(settings, models) as work, asyncio.timeout(60):
        while job["state"] in {"queued", "running"}:
            work.remind(tenant.tenant_id)
            await asyncio.sleep(0.1)
            job = (await tenant.http.get(f"/v1/jobs/{job['id']}")).json()
    assert job["state"] == "succeeded", job
    yield


@pytest.mark.slow
async def test_a_tenant_changes_its_model_and_back(
    talk: Tenant, other: Tenant, settings: Settings, models: Models, worker: Rebuild
) -> None:
    http = talk.http
    both = {"query": "How many days off do I get?", "sources": [{"space": "default"}, {"kb": "handbook"}]}
    async with _handbook(talk, settings, models):
        once = {"Idempotency-Key": "the answer was lost"}
        answer = await http.post("/v1/generations", json={"model": STATIC}, headers=once)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        repeated = await http.post("/v1/generations", json={"model": STATIC}, headers=once)
        assert (repeated.status_code, repeated.json()["number"]) == (201, made["number"])
        number = made["number"]
        assert (made["scope"], made["state"], made["dimension"]) == ("tenant", "building", 256)
        (written,) = await talk.remember("The spare key lies under the blue flowerpot.")
        again = await http.post("/v1/generations", json={"model": STATIC})
        assert (again.status_code, again.json()["code"]) == (409, "already_exists")
        early = await http.post(f"/v1/generations/{number}/cutover")
        assert (early.status_code, early.json()["code"], early.json()["state"]) == (409, "wrong_state", "building")

        found = await _built(http, worker, number)
        assert found["state"] == "verifying"
        assert found["progress"]["done"] == found["progress"]["total"] == 11
        checks = found["report"]["checks"]
        assert checks["counts"] == {"passed": True, "of": 11, "vectors": 11, "tenants_that_differ": 0}
        assert checks["hashes"]["passed"]
        assert checks["self_match"]["share"] == 1.0
        assert checks["self_match"]["least_cosine"] >= 0.999
        assert found["report"]["passed"], checks
        labelled = {"queries": [{"query": "Where is the spare key?", "relevant": [written]}]}
        verified = (await http.post(f"/v1/generations/{number}/verify", json=labelled)).json()
        assert verified["report"]["checks"]["ndcg"]["of"] == 1

        before = await http.post("/v1/recall", json=both)
        assert before.json()["degraded"] == []
        moved = await http.post(f"/v1/generations/{number}/cutover")
        assert (moved.status_code, moved.json()["state"]) == (200, "live"), moved.text
        after = (await http.post("/v1/recall", json=both | {"explain": True})).json()
        assert after["degraded"] == []
        assert after["hits"][0]["external_id"] == "leave"
        # The dense arm's own score is the cosine of the new model.
        (cosine,) = _cosines(settings, STATIC, "Where is the spare key?", ["The spare key lies under the blue flowerpot."])
        hit = (await talk.recall("Where is the spare key?", explain=True))["hits"][0]
        assert hit["id"] == written
        assert hit["explain"]["arms"]["dense"]["score"] == pytest.approx(cosine, abs=1e-3)
        assert await other.texts("flowerpot") == []

        await talk.remember("Written after the cutover.")
        back = await http.post(f"/v1/generations/{number}/rollback")
        assert (back.status_code, back.json()["state"]) == (200, "draining")
        assert (await talk.texts("Written after the cutover."))[0] == "Written after the cutover."
        retired = await http.post(f"/v1/generations/{number}/retire")
        assert (retired.status_code, retired.json()["state"]) == (200, "retired")
        assert (await talk.texts("Where is the spare key?"))[0] == "The spare key lies under the blue flowerpot."
        log = (await http.get("/v1/audit")).json()["entries"]
        told = [one["action"] for one in reversed(log) if one["action"].startswith("generation.")]
        assert told == [f"generation.{verb}" for verb in ("create", "cutover", "rollback", "retire")]
        assert (await other.http.get("/v1/generations")).json()["generations"][0]["number"] == 1


def _cosines(settings: Settings, name: str, query: str, texts: list[str]) -> list[float]:
    model = load_embedder(ModelStore(settings.model_cache).locate(name))
    card = model.card
    question = model.embed([card.query_prefix + query])[0]
    found = [float(np.dot(question, vector)) for vector in model.embed([card.passage_prefix + text for text in texts])]
    model.close()
    return found


@pytest.mark.slow
async def test_one_knowledge_base_with_a_model_of_its_own(
    tenant: Tenant, settings: Settings, models: Models, worker: Rebuild, stack: Stack
) -> None:
    http = tenant.http
    async with _handbook(tenant, settings, models):
        await tenant.remember("I have been on leave since Monday.")
        body = {"model": STATIC, "scope": "knowledge_base", "knowledge_base": "handbook"}
        made = (await http.post("/v1/generations", json=body)).json()
        number = made["number"]
        assert (await _built(http, worker, number))["report"]["checks"]["counts"]["of"] == 2
        moved = await http.post(f"/v1/generations/{number}/cutover", json={"force": "a test"})
        assert (moved.json()["state"], moved.json()["forced"]) == ("live", "a test")
        # Two models answer one question: each searches what is its own.
        both = {"query": "paid leave", "sources": [{"space": "default"}, {"kb": "handbook"}], "explain": True}
        found = (await http.post("/v1/recall", json=both)).json()
        assert found["degraded"] == []
        assert {hit["external_id"] for hit in found["hits"]} >= {"leave", None}
        with psycopg.connect(stack.superuser_url) as connection:
            rows = connection.execute(
                "SELECT (SELECT count(*) FROM memoryd.kb_vectors WHERE generation = %(number)s), "
                "(SELECT count(*) FROM memoryd.embeddings WHERE generation = %(number)s)",
                {"number": number},
            ).fetchone()
        assert rows == (2, 0)
        await http.post(f"/v1/generations/{number}/rollback")
        assert (await http.post(f"/v1/generations/{number}/retire")).json()["state"] == "retired"


async def test_what_is_refused(app: FastAPI, tenant: Tenant, operator: httpx.AsyncClient, anonymous: httpx.AsyncClient) -> None:
    for body, status, code in (
        ({"model": "no/such-model"}, 422, "invalid_request"),
        ({"model": str(Path.home())}, 422, "invalid_request"),
        ({"model": "cross-encoder/ms-marco-MiniLM-L-12-v2"}, 422, "invalid_request"),
        ({"model": STATIC, "scope": "installation"}, 403, "forbidden"),
        ({"model": STATIC, "scope": "knowledge_base"}, 422, "invalid_request"),
        ({"model": STATIC, "scope": "knowledge_base", "knowledge_base": "none"}, 404, "not_found"),
    ):
        answer = await tenant.http.post("/v1/generations", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), body
    answer = await operator.post("/v1/generations", json={"model": STATIC, "scope": "tenant"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    mine = (await operator.get("/v1/generations/1")).json()
    seen = (await tenant.http.get("/v1/generations/1")).json()
    assert (mine["model"], mine["state"]) == (seen["model"], seen["state"]) == ("BAAI/bge-small-en-v1.5", "live")
    refused = await tenant.http.post("/v1/generations/1/rollback")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    key = (await tenant.http.post("/v1/keys", json={"name": "k", "actions": ["read", "write"]})).json()["key"]
    async with client(app, key) as http:
        assert (await http.get("/v1/generations")).status_code == 403
    async with client(app, "wrong") as http:
        assert (await http.get("/v1/generations")).status_code == 401
    assert (await anonymous.get("/v1/generations")).status_code == 401
    assert set(KNOWN_MODELS) >= {STATIC, SMALL}


@pytest.mark.slow
async def test_the_small_transformer_is_a_model_too(tenant: Tenant, worker: Rebuild) -> None:
    await tenant.remember("We adopted a greyhound called Biscuit.", "The lake was frozen in January.")
    made = (await tenant.http.post("/v1/generations", json={"model": SMALL})).json()
    assert (made["model"], made["dimension"]) == (SMALL, 384)
    found = await _built(tenant.http, worker, made["number"])
    assert found["report"]["passed"], found["report"]
    assert (await tenant.http.post(f"/v1/generations/{made['number']}/cutover")).status_code == 200
    assert (await tenant.texts("What is the dog called?"))[0] == "We adopted a greyhound called Biscuit."
    await tenant.http.post(f"/v1/generations/{made['number']}/rollback")
    await tenant.http.post(f"/v1/generations/{made['number']}/retire")
