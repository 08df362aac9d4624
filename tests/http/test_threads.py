"""Loads have threads of their own: while they have none left, questions, short writes and open transactions go on."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from fastapi import FastAPI

from memoryd.memory import prepare
from memoryd.threads import BULK
from retrieval.inference.runtime import InferenceRuntime
from tests.http.conftest import Tenant
from tests.one_model import embedder_of

LONG = "The harbour was quiet that morning, and the boats lay low. " * 200


@asynccontextmanager
async def _taken() -> AsyncIterator[None]:
    """Every thread for loads is busy."""
    go = threading.Event()
    busy = [asyncio.ensure_future(BULK.run(go.wait, 60)) for _ in range(8)]
    await asyncio.sleep(0.05)
    try:
        yield
    finally:
        go.set()
        await asyncio.gather(*busy)


async def test_loads_take_no_thread_of_questions(tenant: Tenant) -> None:
    await tenant.remember(*(f"The boat {n} is called Ellen {n}. {LONG[:500]}" for n in range(20)))
    async with _taken():
        load = asyncio.ensure_future(tenant.http.post("/v1/memories", json={"memories": [{"text": LONG}]}))
        async with asyncio.timeout(20):
            packed = await tenant.http.post("/v1/context", json={"query": "What is the boat called?", "budget_tokens": 500})
            (short,) = await tenant.remember("A text that is cut in a thread. " * 60)
            found = await tenant.recall("boat " + " ".join(f"word{n}" for n in range(500)))
        assert packed.status_code == 200
        assert packed.json()["items"]
        assert short
        assert found["hits"]
        assert not load.done()
    assert (await load).status_code == 201


async def test_a_load_that_nobody_waits_for_any_more_ends(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[int] = []
    ran = threading.Event()

    def counted(self: prepare.Preparer, contents: list[object]) -> list[prepare.Cut]:
        cut.append(len(contents))
        ran.wait(10)
        return [prepare.Cut((), ()) for _ in contents]

    monkeypatch.setattr(prepare.Preparer, "_cut", counted)
    memories = [{"text": f"{n} {LONG * 8}"} for n in range(10)]
    load = asyncio.ensure_future(tenant.http.post("/v1/memories", json={"memories": memories}))
    while not cut:  # noqa: ASYNC110 - a thread says so
        await asyncio.sleep(0.01)
    load.cancel()
    await asyncio.wait([load])
    ran.set()
    await asyncio.sleep(0.05)
    assert cut == [1]


async def test_what_cannot_be_done_in_time_is_refused_at_once(
    app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = embedder_of(app)
    assert isinstance(runtime, InferenceRuntime)
    monkeypatch.setattr(runtime, "_limits", replace(runtime._limits, longest_s=0.001))
    answer = await tenant.http.post("/v1/memories", json={"memories": [{"text": LONG}]})
    assert (answer.status_code, answer.json()["code"]) == (413, "batch_too_large")
    assert "split" in answer.json()["detail"]
    assert "retry-after" not in answer.headers
    await tenant.remember("What somebody waits for is taken.")
