"""The whole API with its models on an inference server: the same answers, and less of them while the server is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from memoryd.database_wiring import prepare_database
from memoryd.http.app import create_app
from memoryd.http.inference.app import create_inference_app
from memoryd.models import Models, card_of, embedder_card, open_embedder, open_models, pull_models
from memoryd.served_models import Served, open_served
from memoryd.settings import Settings
from memoryd.stores.redis import Redis
from memoryd.wiring import open_services
from retrieval.errors import InferenceUnavailable, ModelMismatch, ModelNotFound
from retrieval.inference import InferenceRuntime, ModelStore
from retrieval.inference.remote.kinds import ServerKind
from retrieval.ports import Lane
from tests.http.conftest import Tenant, client, new_tenant
from tests.http.inference.serving import served
from tests.stack import OPERATOR_KEY, Stack
from tests.stores.test_migrate import Scratch

TOKEN = "token-of-the-tests"
QUERIES = ["Which sport event did Melanie take part in?", "a dog called Biscuit", "sunrise", "what happened in July 2023?"]


class Inference:
    """A server that can be stopped, and started on the same port."""

    def __init__(self, models: Served) -> None:
        self._models = models
        self._stack: AsyncExitStack | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        @asynccontextmanager
        async def opening() -> AsyncIterator[Served]:
            yield self._models

        self._stack = AsyncExitStack()
        url = await self._stack.enter_async_context(served(create_inference_app(opening, tokens=[TOKEN]), self.port))
        self.port = int(url.rpartition(":")[2])

    async def stop(self) -> None:
        if self._stack is not None:
            await self._stack.aclose()
            self._stack = None


@pytest.fixture(scope="module")
async def inference(settings: Settings) -> AsyncIterator[Inference]:
    async with open_served(settings) as models:
        server = Inference(models)
        await server.start()
        yield server
        await server.stop()


@pytest.fixture(scope="module")
def remote(settings: Settings, inference: Inference) -> Settings:
    """As the local one, but for where the models are; nothing is cached, so that every question is embedded."""
    changed = {
        "embedding_urls": f"http://127.0.0.1:1, {inference.url}",
        "embedding_token": SecretStr(TOKEN),
        "embedding_cache_entries": 0,
        "inference_start_s": 0.0,
    }
    return settings.model_copy(update=changed)


@pytest.fixture(scope="module")
async def far(remote: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(
        lambda: open_services(remote), max_body_bytes=remote.max_body_bytes, request_timeout_s=remote.request_timeout_s
    )
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def there(far: FastAPI, talk: Tenant) -> AsyncIterator[Tenant]:
    """The same tenant at the other API."""
    async with client(far, talk.key) as http:
        yield Tenant(talk.tenant_id, talk.name, talk.key, http)


def seen(answer: dict[str, object]) -> object:
    hits = answer["hits"]
    assert isinstance(hits, list)
    return [(hit["id"], pytest.approx(hit["score"], abs=1e-5)) for hit in hits], answer["degraded"], answer["reranked"]


@pytest.mark.parametrize("rerank", ["off", "on"])
async def test_recall_says_the_same_as_with_local_models(talk: Tenant, there: Tenant, rerank: str) -> None:
    for query in QUERIES:
        local = await talk.recall(query, rerank=rerank, query_time="2023-08-01T00:00:00Z")
        assert local["degraded"] == []
        assert seen(await there.recall(query, rerank=rerank, query_time="2023-08-01T00:00:00Z")) == seen(local)


async def test_what_is_written_there_is_found_here(talk: Tenant, there: Tenant) -> None:
    texts = [f"The {bird} nests near the old mill." for bird in ("heron", "stork", "swift")]
    await there.remember(*texts)
    assert set((await talk.texts("birds at the mill", arms=["dense"]))[:3]) == set(texts)


async def test_without_the_server_recall_goes_on_and_recovers(far: FastAPI, there: Tenant, inference: Inference) -> None:
    whole = await there.recall("Biscuit", rerank="on")
    await inference.stop()
    try:
        for _ in range(4):  # also when the breaker is open
            answer = await there.recall("Biscuit", rerank="on")
            assert set(answer["degraded"]) == {"dense", "rerank"}
            assert "Biscuit" in answer["hits"][0]["text"]
        write = await there.http.post("/v1/memories", json={"memories": [{"text": "not without a vector"}]})
        assert (write.status_code, write.json()["code"]) == (503, "inference_unavailable")
        assert int(write.headers["retry-after"]) >= 1
        ready = await there.http.get("/readyz")
        assert ready.status_code == 200, "what can be answered without it is answered"
    finally:
        await inference.start()
    for _ in range(200):
        answer = await there.recall("Biscuit", rerank="on")
        if not answer["degraded"]:
            break
        await asyncio.sleep(0.1)
    assert seen(answer) == seen(whole)


async def test_the_card_and_the_tokenizer_come_from_the_server(
    settings: Settings, remote: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An API without any model files."""
    bare = remote.model_copy(update={"model_cache": tmp_path_factory.mktemp("no-models")})
    async with open_models(settings.model_copy(update={"rerank_model": ""})) as local, open_models(bare) as far:
        assert far.card == local.card
        assert (far.local, local.local) == (False, True)
        assert far.tokenizer.counts(["a heron"]) == local.tokenizer.counts(["a heron"])
        vectors = await far.runtime.embed_passages(["a heron"], lane=Lane.INTERACTIVE)
        assert abs(vectors - await local.runtime.embed_passages(["a heron"], lane=Lane.INTERACTIVE)).max() < 1e-6
        assert await asyncio.to_thread(embedder_card, bare) == local.card


@pytest.mark.parametrize("kind", [ServerKind.TEI, ServerKind.OPENAI])
async def test_the_other_formats_give_the_same_vectors(
    settings: Settings, remote: Settings, inference: Inference, kind: ServerKind
) -> None:
    url = inference.url + ("/v1" if kind is ServerKind.OPENAI else "")
    changed = {"embedding_kind": kind, "embedding_urls": url, "rerank_model": ""}
    async with (
        open_models(settings.model_copy(update={"rerank_model": ""})) as local,
        open_models(remote.model_copy(update=changed)) as far,
    ):
        assert (far.card.name, far.card.dimension, far.card.max_tokens) == (local.card.name, 384, 512)
        assert far.card.query_prefix == local.card.query_prefix
        texts = ["a heron", "word " * 700, "Ω naïve"]
        await _same(local, far, texts)


@pytest.mark.parametrize("kind", list(ServerKind))
async def test_migrate_makes_the_generation_of_what_the_servers_have(
    settings: Settings, remote: Settings, inference: Inference, stack: Stack, tmp_path: Path, kind: ServerKind
) -> None:
    """And needs no model files for it: then ``memoryd api`` starts, whose model is the servers'."""
    here = ModelStore(settings.model_cache).locate(settings.embedding_model)
    foreign = {
        "embedding_model": "acme/words",
        "embedding_served_as": settings.embedding_model,
        "embedding_tokenizer": here.tokenizer,
        "embedding_urls": inference.url + ("/v1" if kind is ServerKind.OPENAI else ""),
    }
    database = Scratch(stack, "scratch_remote")
    changed = {
        "embedding_kind": kind,
        "rerank_model": "",
        "model_cache": tmp_path,
        "owner_database_url": SecretStr(database.owner_url),
    }
    there = remote.model_copy(update=changed | (foreign if kind is not ServerKind.MEMORYD else {}))
    said: list[str] = []
    await asyncio.to_thread(pull_models, there, said.append)
    assert said == ["nothing to pull: servers have the models"]
    for _ in range(2):
        await asyncio.to_thread(prepare_database, there)
    async with open_models(there) as models:
        card = models.card
    assert card.revision == ("unversioned" if kind is ServerKind.OPENAI else here.revision)
    with psycopg.connect(database.superuser_url) as connection:
        made = connection.execute("SELECT model, revision, dimension, query_prefix FROM memoryd.generations").fetchall()
    assert made == [(card.name, card.revision, card.dimension, card.query_prefix)]


async def test_only_what_is_computed_here_is_pulled(remote: Settings, tmp_path: Path) -> None:
    """The cross-encoder too is on memoryd's servers; a tokenizer of other servers' models must come from somewhere."""
    asked: list[str] = []

    def say(line: str) -> None:
        asked.append(line)
        raise ModelNotFound(line)

    for changed in ({}, {"embedding_kind": ServerKind.TEI}):
        nowhere = remote.model_copy(update={"model_cache": tmp_path, "embedding_model": "nobody/e", "rerank_model": "nobody/r"})
        with suppress(ModelNotFound):
            pull_models(nowhere.model_copy(update=changed), say)
    assert asked == ["nothing to pull: servers have the models", "nobody/e: asking the model hub"]


async def _same(local: Models, far: Models, texts: list[str]) -> None:
    assert abs(await far.runtime.embed_queries(texts) - await local.runtime.embed_queries(texts)).max() < 1e-5
    assert abs(await far.runtime.embed_passages(texts) - await local.runtime.embed_passages(texts)).max() < 1e-5


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"embedding_revision": "0123456789ab"}, ModelMismatch),
        ({"embedding_model": "sentence-transformers/all-mpnet-base-v2"}, ModelMismatch),
        ({"embedding_kind": ServerKind.OPENAI, "embedding_model": "nobody/none"}, ModelNotFound),
        ({"embedding_token": SecretStr("wrong")}, InferenceUnavailable),
        ({"embedding_urls": "http://127.0.0.1:1"}, InferenceUnavailable),
    ],
)
async def test_another_model_is_refused_at_the_start(
    remote: Settings, inference: Inference, changed: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        async with open_models(remote.model_copy(update={"embedding_urls": inference.url} | changed)):
            pass


async def test_a_tenants_questions_are_remembered_for_it_alone(
    settings: Settings, app: FastAPI, talk: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the API with local models, where the cache is on: what erasing a tenant erases is in tests/stores."""
    assert settings.redis_url is not None
    question = "a question of its own"
    known = await talk.recall(question)
    async with client(app, OPERATOR_KEY) as operator:
        other = await new_tenant(app, operator, "other")
    await other.remember("Something to look through")
    redis = Redis(settings.redis_url.get_secret_value(), timeout_s=2.0)
    for _ in range(500):  # nobody waits for what is kept
        if await redis.command("KEYS", f"t:{{{talk.tenant_id}}}:vec:*"):
            break
        await asyncio.sleep(0.01)
    await redis.close()

    async def down(*_: object, **__: object) -> None:
        raise InferenceUnavailable("the model is gone")

    monkeypatch.setattr(InferenceRuntime, "embed_queries", down)
    again = await talk.recall(question)
    assert (again["degraded"], [hit["id"] for hit in again["hits"]]) == ([], [hit["id"] for hit in known["hits"]])
    assert (await talk.recall("another question"))["degraded"] == ["dense"]
    assert (await other.recall(question))["degraded"] == ["dense"]
    await other.http.aclose()


async def test_the_models_of_other_generations_are_the_servers_too(
    settings: Settings, remote: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As long as they have them, and without any model files; else they are loaded here."""
    static, small = "wordllama/l2-supercat-256", "sentence-transformers/all-MiniLM-L6-v2"
    for name in (static, small):
        ModelStore(settings.model_cache).pull(name)
    async with open_served(settings.model_copy(update={"inference_embedders": f"{settings.embedding_model},{static}"})) as models:
        server = Inference(models)
        await server.start()
        there = remote.model_copy(update={"embedding_urls": server.url})
        bare = there.model_copy(update={"model_cache": tmp_path_factory.mktemp("empty")})
        try:
            assert (await card_of(bare, static, trusted=False)).dimension == 256
            with pytest.raises(ModelNotFound, match="at hand"):
                await card_of(bare, small, trusted=False)
            made = []
            for where in (settings, bare):
                opened = await open_embedder(where, static)
                made.append((opened.embedder.card, await opened.embedder.embed_passages(["a heron at the mill"])))
                await opened.close()
            assert made[0][0] == made[1][0]
            assert made[0][1] == pytest.approx(made[1][1], abs=1e-5)
            local = await open_embedder(there, small)
            assert isinstance(local.embedder, InferenceRuntime)
            await local.close()
        finally:
            await server.stop()
    with pytest.raises(InferenceUnavailable):
        await open_embedder(there, static)
