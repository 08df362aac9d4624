"""Readiness, overload, deadlines and callers who go away, on a backend that can be held."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest

from memoryd.http.inference.app import create_inference_app
from memoryd.served_models import Served, ServedEmbedder
from retrieval.errors import InferenceUnavailable
from retrieval.inference import BatchLimits, InferenceRuntime, ModelTokenizer, RuntimeLimits, soundness
from retrieval.inference.registry import BGE_SMALL
from retrieval.ports import ModelCard
from retrieval.vectors import Vectors
from tests.http.inference.serving import served
from tests.support_models import ready_model_store

TOKEN = "token"


class Held:
    """Embeds a text as its length, when the gate is open."""

    card = ModelCard("held", "1", 2, 512)

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.seen: list[str] = []
        self.dead = False

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.entered.set()
        self.gate.wait(20)
        self.seen += texts
        if self.dead or "poison" in texts:
            raise ValueError("poisoned")
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)

    def close(self) -> None:
        pass


@dataclass
class Server:
    url: str
    backend: Held
    runtimes: list[InferenceRuntime] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    @property
    def runtime(self) -> InferenceRuntime:
        return self.runtimes[0]

    def client(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}", **headers}, timeout=30)


@pytest.fixture(scope="module")
def tokenizer() -> Path:
    return ready_model_store().locate(BGE_SMALL.name).tokenizer


@asynccontextmanager
async def serving(
    tokenizer: Path, *, limits: RuntimeLimits | None = None, loads: asyncio.Event | None = None
) -> AsyncIterator[Server]:
    backend = Held()
    failures: list[Exception] = []
    runtimes: list[InferenceRuntime] = []

    @asynccontextmanager
    async def opening() -> AsyncIterator[Served]:
        if loads is not None:
            await loads.wait()
        runtime = InferenceRuntime(lambda: backend, limits=limits)
        await runtime.start()
        runtimes.append(runtime)
        backend.seen.clear()
        backend.entered.clear()
        try:
            one = ServedEmbedder(backend.card, tokenizer, runtime, ModelTokenizer(tokenizer, max_tokens=513))
            yield Served({"held": one}, {})
        finally:
            backend.gate.set()
            await runtime.close()

    app = create_inference_app(opening, tokens=[TOKEN], on_failure=failures.append)
    async with served(app) as url:
        server = Server(url, backend, runtimes, failures)
        if loads is None:
            async with server.client() as http:
                await ready(http)
        yield server


async def ready(http: httpx.AsyncClient) -> None:
    await until(http, "/readyz", lambda answer: answer.status_code == 200)


async def until(http: httpx.AsyncClient, path: str, holds: Callable[[httpx.Response], bool]) -> None:
    for _ in range(2_000):
        if holds(await http.get(path)):
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"{path} never said so")


async def entered(backend: Held) -> None:
    assert await asyncio.to_thread(backend.entered.wait, 10)


@pytest.fixture
def small() -> RuntimeLimits:
    return RuntimeLimits(batch=BatchLimits(items=1, tokens=8), interactive_tokens=40, bulk_tokens=40)


def _missing() -> Held:
    raise InferenceUnavailable("no such file")


async def test_ready_only_when_the_models_are(tokenizer: Path) -> None:
    loads = asyncio.Event()
    async with serving(tokenizer, loads=loads) as server, server.client() as http:
        assert (await http.get("/livez")).status_code == 200
        for path in ("/readyz", "/health"):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
            assert int(answer.headers["retry-after"]) >= 1
        early = await http.post("/embed", json={"texts": ["x"]})
        assert (early.status_code, early.json()["code"]) == (503, "inference_unavailable")
        assert "memoryd_inference_ready 0" in (await http.get("/metrics")).text
        loads.set()
        await ready(http)
        assert (await http.post("/embed", json={"texts": ["x"]})).status_code == 200
    assert server.failures == []


async def test_a_model_that_cannot_be_loaded_is_told_to_the_process() -> None:
    @asynccontextmanager
    async def opening() -> AsyncIterator[Served]:
        runtime = InferenceRuntime(_missing)
        await runtime.start()
        yield Served({}, {})

    failed: list[Exception] = []
    async with served(create_inference_app(opening, on_failure=failed.append)) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/livez")).status_code == 200
        assert (await http.get("/readyz")).status_code == 503
    assert [type(error) for error in failed] == [InferenceUnavailable]


async def test_overload_is_429_and_says_when_to_come_back(tokenizer: Path, small: RuntimeLimits) -> None:
    async with serving(tokenizer, limits=small) as server, server.client() as http:
        server.backend.gate.clear()
        under_way = [asyncio.ensure_future(http.post("/embed", json={"texts": ["x" * 60], "kind": "query"}))]
        await entered(server.backend)
        under_way.append(asyncio.ensure_future(http.post("/embed", json={"texts": ["x" * 60], "kind": "passage"})))
        await asyncio.sleep(0.1)
        for body, path in (({"texts": ["x" * 100], "kind": "query"}, "/embed"), ({"inputs": "x" * 100}, "/embed")):
            answer = await http.post(path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (429, "inference_overloaded")
            assert int(answer.headers["retry-after"]) >= 1
        answer = await http.post("/v1/embeddings", json={"input": "x" * 100})
        assert (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limit_error")
        assert int(answer.headers["retry-after"]) >= 1
        server.backend.gate.set()
        assert [one.status_code for one in await asyncio.gather(*under_way)] == [200, 200]


async def test_an_owner_cannot_take_the_others_room_unless_it_lies_about_who_it_is(tokenizer: Path) -> None:
    limits = RuntimeLimits(batch=BatchLimits(items=1, tokens=8), interactive_tokens=100)
    async with serving(tokenizer, limits=limits) as server, server.client() as http:
        server.backend.gate.clear()
        one, other = {"X-Memoryd-Owner": "one"}, {"X-Memoryd-Owner": "other"}
        body = {"texts": ["x" * 120], "kind": "query"}
        under_way = [asyncio.ensure_future(http.post("/embed", json=body, headers=one))]
        await entered(server.backend)
        refused = await http.post("/embed", json=body, headers=one)
        assert refused.status_code == 429
        under_way.append(asyncio.ensure_future(http.post("/embed", json=body, headers=other)))
        await asyncio.sleep(0.1)
        server.backend.gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*under_way)] == [200, 200]
        assert (await http.post("/embed", json=body, headers={"X-Memoryd-Owner": "x" * 201})).status_code == 422


async def test_a_deadline_ends_the_wait_and_what_waits_is_not_computed(tokenizer: Path, small: RuntimeLimits) -> None:
    async with serving(tokenizer, limits=small) as server, server.client() as http:
        server.backend.gate.clear()
        first = asyncio.ensure_future(http.post("/embed", json={"texts": ["first"], "kind": "query"}))
        await entered(server.backend)
        late = await http.post("/embed", json={"texts": ["late"], "kind": "query"}, headers={"X-Deadline-Ms": "50"})
        assert late.status_code == 504
        assert int(late.headers["retry-after"]) >= 1
        server.backend.gate.set()
        assert (await first).status_code == 200
        await http.post("/embed", json={"texts": ["last"], "kind": "query"})
        assert server.backend.seen == ["first", "last"]
        for wrong in ("0", "-1", "soon", "1e3", "9" * 20):
            answer = await http.post("/embed", json={"texts": ["x"]}, headers={"X-Deadline-Ms": wrong})
            assert answer.status_code == 422


async def test_a_deadline_that_cannot_be_kept_is_refused_at_once(tokenizer: Path) -> None:
    limits = RuntimeLimits(batch=BatchLimits(items=1, tokens=8))
    async with serving(tokenizer, limits=limits) as server, server.client() as http:
        server.backend.gate.clear()
        runtime = server.runtime
        first = asyncio.ensure_future(http.post("/embed", json={"texts": ["first"], "kind": "query"}))
        await entered(server.backend)
        for _ in range(200):
            runtime._running().embedding.add(1, 100.0)  # a hundred seconds a token
        body, headers = {"texts": ["a question"], "kind": "query"}, {"X-Deadline-Ms": "20000"}
        for patience in (headers, {}):  # without, it is what a request may take: two minutes
            refused = await http.post("/embed", json=body, headers=patience)
            assert (refused.status_code, refused.json()["code"]) == (429, "inference_overloaded")
        server.backend.gate.set()
        assert (await first).status_code == 200
        assert (await http.post("/embed", json=body, headers=headers)).status_code == 200
        assert "a question" in server.backend.seen


async def test_an_input_that_the_model_fails_on_says_nothing_of_the_server(tokenizer: Path) -> None:
    async with serving(tokenizer) as server, server.client() as http:
        answer = await http.post("/embed", json={"texts": ["fine", "poison"], "kind": "query"})
        assert (answer.status_code, answer.json()["code"]) == (422, "input_refused")
        assert "input 2 of 2" in answer.json()["detail"]
        openai = await http.post("/v1/embeddings", json={"input": "poison"})
        assert (openai.status_code, openai.json()["error"]["code"]) == (400, "input_refused")
        assert (await http.post("/embed", json={"texts": ["fine"]})).status_code == 200


async def test_a_model_that_fails_on_everything_makes_the_server_unavailable_until_it_computes(
    tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an error of a GPU that it does not recover from: clients ask another server, and an orchestrator sees it."""
    monkeypatch.setattr(soundness, "_again_s", 0.05)
    async with serving(tokenizer) as server, server.client() as http:
        server.backend.dead = True
        answer = await http.post("/embed", json={"texts": ["fine", "fine"], "kind": "query"})
        assert (answer.status_code, answer.json()["code"]) == (503, "inference_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await http.post("/v1/embeddings", json={"input": "fine"})).status_code == 503
        assert (await http.get("/readyz")).status_code == 503
        assert "memoryd_inference_ready 0" in (await http.get("/metrics")).text
        server.backend.dead = False
        await ready(http)
        assert (await http.post("/embed", json={"texts": ["fine"]})).status_code == 200


async def test_a_caller_who_goes_away_takes_his_texts_along(tokenizer: Path, small: RuntimeLimits) -> None:
    async with serving(tokenizer, limits=small) as server, server.client() as http:
        server.backend.gate.clear()
        first = asyncio.ensure_future(http.post("/embed", json={"texts": ["first"], "kind": "query"}))
        await entered(server.backend)
        async with server.client() as gone:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await gone.post("/embed", json={"texts": ["gone"], "kind": "query"})
        await until(http, "/metrics", lambda answer: "memoryd_inference_requests_in_flight 1\n" in answer.text)
        assert 'status="499"' in (await http.get("/metrics")).text
        server.backend.gate.set()
        await first
        await http.post("/embed", json={"texts": ["last"], "kind": "query"})
        assert server.backend.seen == ["first", "last"]
