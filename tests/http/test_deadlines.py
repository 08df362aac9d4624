"""What a recall answers when time runs out, the caller's or ours."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from memoryd.errors import StoreUnavailable
from memoryd.stores.revisions import PgMemoryReader
from retrieval.errors import InferenceUnavailable
from retrieval.inference.cached import CachedEmbedder
from tests.http.conftest import Tenant

_HANGS_S = 60.0


async def hang(*_: object, **__: object) -> None:
    await asyncio.sleep(_HANGS_S)


async def test_a_deadline_degrades_and_never_fails(talk: Tenant) -> None:
    answer = await talk.recall("dog", deadline_ms=1, rerank="on")
    assert set(answer["degraded"]) <= {"dense", "lexical", "rerank"}
    assert answer["degraded"]


@pytest.mark.parametrize("late", ["spaces", "read", "embed_queries"])
async def test_a_deadline_bounds_the_whole_recall(app: FastAPI, talk: Tenant, monkeypatch: pytest.MonkeyPatch, late: str) -> None:
    """Whatever hangs; with the embedder hanging, the lexical arm still answers."""
    recall = app.state.services.recall
    owner = {
        "spaces": recall._sources._spaces._store,
        "read": recall._searcher._items,
    }
    monkeypatch.setattr(type(owner[late]) if late in owner else CachedEmbedder, late, hang)
    began = time.monotonic()
    answer = await talk.recall("Biscuit", deadline_ms=4_000 if late == "embed_queries" else 400)  # a busy machine reads slowly
    assert time.monotonic() - began < _HANGS_S / 2
    if late == "embed_queries":
        assert answer["degraded"] == ["dense"]
        assert "Biscuit" in answer["hits"][0]["text"]
    else:
        assert (answer["hits"], set(answer["degraded"])) == ([], {"dense", "lexical"})
    monkeypatch.setattr(recall, "_policy", replace(recall._policy, recall_ms=300, arm_ms=200))
    problem = await talk.http.post("/v1/recall", json={"query": "Biscuit"})
    if late != "embed_queries":
        assert (problem.status_code, problem.json()["code"]) == (503, "store_unavailable"), "a bound of ours, without a deadline"
        assert int(problem.headers["retry-after"]) >= 1


async def test_what_is_named_as_missing_is_what_was_asked_for(
    app: FastAPI, talk: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(app.state.services.recall._sources._spaces._store), "spaces", hang)
    july = await talk.recall("what happened in July 2023?", deadline_ms=50)
    assert set(july["degraded"]) == {"dense", "lexical", "temporal"}
    assert [one["phrase"].lower() for one in july["understood"]] == ["july 2023"]
    assert (await talk.recall("dog", deadline_ms=50, arms=["lexical"]))["degraded"] == ["lexical"]
    assert (await talk.recall("dog", deadline_ms=50, arms=["temporal"]))["degraded"] == ["temporal"]


async def test_arms_that_are_late_by_the_callers_deadline_are_named_beside_those_that_failed(
    app: FastAPI, talk: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object, **__: object) -> None:
        raise InferenceUnavailable("the model is gone")

    searcher = app.state.services.recall._searcher
    monkeypatch.setattr(CachedEmbedder, "embed_queries", down)
    monkeypatch.setattr(type(searcher._lexical), "search", hang)
    answer = await talk.recall("Biscuit", deadline_ms=100)
    assert (answer["hits"], set(answer["degraded"])) == ([], {"dense", "lexical"})
    alone = await talk.http.post("/v1/recall", json={"query": "Biscuit", "deadline_ms": 20_000, "arms": ["dense"]})
    assert (alone.status_code, alone.json()["code"]) == (503, "inference_unavailable"), "nothing was late"


async def test_a_store_that_fails_is_a_problem_whatever_the_deadline(
    app: FastAPI, talk: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object, **__: object) -> None:
        raise StoreUnavailable("PostgreSQL is gone")

    monkeypatch.setattr(type(app.state.services.recall._sources._spaces._store), "spaces", down)
    answer = await talk.http.post("/v1/recall", json={"query": "Biscuit", "deadline_ms": 20_000})
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")


async def test_a_context_of_a_passed_deadline_still_shows_what_it_must(
    app: FastAPI, talk: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rule,) = await talk.remember("Always answer in French.", kind="procedural")
    get_many = PgMemoryReader.get_many

    async def slow(self: PgMemoryReader, *given: Any) -> object:
        await asyncio.sleep(0.05)
        return await get_many(self, *given)

    monkeypatch.setattr(PgMemoryReader, "get_many", slow)
    body = {"query": "dog", "budget_tokens": 100, "must_include": [rule], "deadline_ms": 1}
    answer = await talk.http.post("/v1/context", json=body)
    assert answer.status_code == 200
    assert [one["id"] for one in answer.json()["items"]] == [rule]
    assert set(answer.json()["degraded"]) == {"dense", "lexical"}
    # Nothing to show and nothing found is no error either.
    empty = await talk.http.post("/v1/context", json=body | {"must_include": []})
    assert (empty.status_code, empty.json()["items"], set(empty.json()["degraded"])) == (200, [], {"dense", "lexical"})
    recall = app.state.services.recall
    monkeypatch.setattr(recall, "_policy", replace(recall._policy, recall_ms=100))
    monkeypatch.setattr(PgMemoryReader, "get_many", hang)
    for deadline in (1, 20_000, None):
        answer = await talk.http.post("/v1/context", json=body | {"deadline_ms": deadline})
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
