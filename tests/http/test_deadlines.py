"""What a recall answers when time runs out, the caller's or ours."""

import asyncio
import time
from dataclasses import replace

import pytest
from fastapi import FastAPI

from tests.http.conftest import Tenant


async def test_a_deadline_with_nothing_found_is_a_problem_and_not_an_empty_answer(talk: Tenant) -> None:
    answer = await talk.http.post("/v1/recall", json={"query": "dog", "deadline_ms": 1, "rerank": "on"})
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("late", ["spaces", "read", "embed_queries"])
async def test_a_deadline_bounds_the_whole_recall(app: FastAPI, talk: Tenant, monkeypatch: pytest.MonkeyPatch, late: str) -> None:
    """Whatever hangs; with the embedder hanging, the lexical arm still answers."""

    async def hang(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    recall = app.state.services.recall
    owner = {"spaces": recall._spaces._store, "read": recall._searcher._items, "embed_queries": recall._searcher._embedder}
    monkeypatch.setattr(type(owner[late]), late, hang)
    began = time.monotonic()
    answer = await talk.http.post("/v1/recall", json={"query": "Biscuit", "deadline_ms": 400})
    assert time.monotonic() - began < 2
    if late == "embed_queries":
        assert answer.json()["degraded"] == ["dense"]
        assert "Biscuit" in answer.json()["hits"][0]["text"]
    else:
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    monkeypatch.setattr(recall, "_policy", replace(recall._policy, recall_ms=300, arm_ms=200))
    answer = await talk.http.post("/v1/recall", json={"query": "Biscuit"})
    if late != "embed_queries":
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable"), "a bound of ours, without a deadline"
        assert int(answer.headers["retry-after"]) >= 1
