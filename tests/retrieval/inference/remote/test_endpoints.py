"""Order, breaker, hedging and refusals, against servers that are told what to say."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import numpy as np
import pytest

from retrieval.errors import BatchTooLarge, InferenceError, InferenceOverloaded, InferenceUnavailable, ModelMismatch
from retrieval.inference.remote.breaker import Breaker
from retrieval.inference.remote.embedder import Patience, RemoteEmbedder
from retrieval.inference.remote.endpoint import Endpoint
from retrieval.inference.remote.formats import OpenAiFormat, TeiFormat, Wanted
from retrieval.inference.remote.kinds import ServerKind
from retrieval.inference.remote.reranker import RemoteReranker
from retrieval.ports import Embedder, Lane, Reranker
from tests.retrieval.inference.remote.scripted import Heard, Said, Scripted, openai, scripted, tei, vector

WANTED = Wanted("model", 512, query_prefix="q: ", passage_prefix="p: ")
HASTY = Patience(interactive_s=4.0, bulk_s=5.0)


@asynccontextmanager
async def embedder(
    *servers: Scripted,
    patience: Patience | None = None,
    wanted: Wanted = WANTED,
    token: str | None = None,
    failures: int = 1,
    pause_s: float = 0.05,
) -> AsyncIterator[RemoteEmbedder]:
    endpoints = [Endpoint(one.url, token=token, breaker=Breaker(failures=failures, pause_s=pause_s)) for one in servers]
    made = RemoteEmbedder(endpoints, TeiFormat(), wanted, patience=patience)
    try:
        await made.start(within_s=0.0)
        yield made
    finally:
        await made.close()


def embeds(server: Scripted) -> list[Heard]:
    return [one for one in server.heard if one.path in ("/embed", "/embeddings") and _texts(one) != ["p: probe"]]


def _texts(heard: Heard) -> Sequence[str]:
    found: Sequence[str] = heard.body["inputs"]
    return found


async def test_it_is_an_embedder_with_the_servers_card() -> None:
    async with scripted(tei) as server, embedder(server, token="secret") as made:
        port: Embedder = made
        assert (port.card.name, port.card.revision, port.card.dimension, port.card.max_tokens) == ("model", "abc", 4, 128)
        vectors = await port.embed_queries(["a bat"], owner=UUID(int=7))
        np.testing.assert_allclose(vectors, [vector("q: a bat")], atol=1e-6)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(await port.embed_passages(["a bat"]), [vector("p: a bat")], atol=1e-6)
        assert (await port.embed_passages([])).shape == (0, 4)
        heard = embeds(server)[0]
        assert heard.headers["authorization"] == "Bearer secret"
        assert heard.headers["x-memoryd-owner"] == str(UUID(int=7))
        assert 0 < int(heard.headers["x-deadline-ms"]) <= 10_000


async def test_a_stranger_is_not_told_who_the_tenants_are() -> None:
    async with scripted(openai) as server:
        made = RemoteEmbedder([Endpoint(server.url)], OpenAiFormat("model"), Wanted("model", 128))
        try:
            await made.start(within_s=5)
            await made.embed_queries(["a bat"], owner=UUID(int=7))
            assert all("x-memoryd-owner" not in heard.headers for heard in server.heard)
        finally:
            await made.close()


async def test_many_texts_go_in_requests_that_the_server_takes() -> None:
    async with scripted(tei) as server, embedder(server) as made:
        texts = [f"{'a' * n} text" for n in range(8)]
        vectors = await made.embed_passages(texts)
        np.testing.assert_allclose(vectors, [vector("p: " + text) for text in texts], atol=1e-6)
        assert sorted(len(one.body["inputs"]) for one in embeds(server)) == [2, 3, 3]


async def test_the_second_server_answers_when_the_first_is_away_and_the_first_again_when_it_is_back() -> None:
    async with scripted(tei) as first, scripted(tei) as second, embedder(first, second) as made:
        await made.embed_queries(["one"])
        assert (len(embeds(first)), len(embeds(second))) == (1, 0)
        await first.stop()
        await made.embed_queries(["two"])
        assert len(embeds(second)) == 1
        await first.start()
        await asyncio.sleep(0.06)  # the breaker's pause
        await made.embed_queries(["three"])
        assert (len(embeds(first)), len(embeds(second))) == (2, 1)
        assert first.paths().count("/info") == 2, "one that failed may be another one now"


async def test_a_breaker_spares_a_server_that_fails() -> None:
    async with scripted(tei) as server, embedder(server, failures=2) as made:
        server.script = lambda heard: Said(503)
        for _ in range(2):
            with pytest.raises(InferenceUnavailable):
                await made.embed_queries(["x"])
        heard = len(server.heard)
        assert made.usable is False
        with pytest.raises(InferenceUnavailable, match="failed lately") as refused:
            await made.embed_queries(["x"])
        assert refused.value.retry_after_s is not None
        assert len(server.heard) == heard, "it was not asked"
        server.script = tei
        await asyncio.sleep(0.06)
        await made.embed_queries(["x"])
        assert made.usable


async def test_one_that_hangs_leaves_time_for_the_next() -> None:
    never = asyncio.Event()

    def hanging(heard: Heard) -> Said:
        return Said(held=never) if heard.path == "/embed" and heard.body["inputs"] != ["p: probe"] else tei(heard)

    async with scripted(hanging) as first, scripted(tei) as second, embedder(first, second, patience=HASTY) as made:
        np.testing.assert_allclose(await made.embed_queries(["x"]), [vector("q: x")], atol=1e-6)
        await asyncio.wait_for(first.hung_up.wait(), 5)


async def test_a_cancelled_call_hangs_up() -> None:
    never = asyncio.Event()
    async with scripted(tei) as server, embedder(server) as made:
        server.script = lambda heard: Said(held=never)
        server.asked.clear()
        asking = asyncio.ensure_future(made.embed_queries(["x"]))
        await asyncio.wait_for(server.asked.wait(), 5)
        asking.cancel()
        await asyncio.wait_for(server.hung_up.wait(), 5)
        assert made.usable, "a caller that goes away says nothing of the server"


async def test_a_server_that_lets_questions_wait_until_their_callers_give_up_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("retrieval.inference.remote.embedder._QUESTION_S", 0.05)
    never = asyncio.Event()
    async with scripted(tei) as server, embedder(server) as made:
        server.script = lambda heard: Said(held=never)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await made.embed_passages(["x"])
        assert made.usable, "a load may take its time"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await made.embed_queries(["x"])
        assert not made.usable


async def test_a_slow_question_is_asked_a_second_time_and_a_passage_of_bulk_is_not() -> None:
    never = asyncio.Event()
    held: list[str] = []

    def stalls_once(heard: Heard) -> Said:
        if heard.path == "/embed" and "slow" in heard.body["inputs"][0] and not held:
            held.append(heard.body["inputs"][0])
            return Said(held=never)
        return tei(heard)

    async with scripted(stalls_once) as first, scripted(tei) as second, embedder(first, second) as made:
        for n in range(20):
            await made.embed_queries([f"quick {n}"])
        assert len(embeds(second)) == 0
        np.testing.assert_allclose(await made.embed_queries(["slow"]), [vector("q: slow")], atol=1e-6)
        assert [_texts(one) for one in embeds(second)] == [["q: slow"]], "by the other server"
        await asyncio.wait_for(first.hung_up.wait(), 5)
        held.clear()
        second.heard.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await made.embed_passages(["slow"], lane=Lane.BULK)
        assert embeds(second) == []


async def test_second_requests_are_few_when_everything_is_slow() -> None:
    never = asyncio.Event()

    def stalls(heard: Heard) -> Said:
        return Said(held=never) if heard.path == "/embed" and "slow" in heard.body["inputs"][0] else tei(heard)

    async with scripted(stalls) as server, embedder(server, patience=HASTY, failures=1000) as made:
        for n in range(20):
            await made.embed_queries([f"quick {n}"])
        server.heard.clear()
        done = await asyncio.gather(*(made.embed_queries(["slow"]) for _ in range(20)), return_exceptions=True)
        assert all(isinstance(one, InferenceUnavailable) for one in done)
        assert 20 < len(embeds(server)) <= 20 + 7


async def test_429_goes_on_to_the_next_and_is_told_when_all_say_so() -> None:
    def busy(seconds: str) -> Said:
        return Said(429, headers={"Retry-After": seconds})

    async with scripted(tei) as first, scripted(tei) as second, embedder(first, second) as made:
        await made.embed_queries(["x"])
        first.script = lambda heard: busy("7")
        await made.embed_queries(["y"])
        assert len(embeds(second)) == 1
        second.script = lambda heard: tei(heard) if heard.path == "/info" else busy("3")
        with pytest.raises(InferenceOverloaded) as refused:
            await made.embed_queries(["z"])
        assert refused.value.retry_after_s == 3.0
        assert made.usable, "a busy server is a working one"


async def test_bulk_waits_as_long_as_a_busy_server_asks() -> None:
    refusals = iter([Said(429, headers={"Retry-After": "1"})])

    async with scripted(tei) as server, embedder(server) as made:
        server.script = lambda heard: next(refusals, None) or tei(heard)
        np.testing.assert_allclose(await made.embed_passages(["x"], lane=Lane.BULK), [vector("p: x")], atol=1e-6)
        assert len(embeds(server)) == 2


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (413, BatchTooLarge),
        (422, InferenceError),
        (404, ModelMismatch),
        *((status, InferenceUnavailable) for status in (401, 408, 424, 425, 500)),
    ],
)
async def test_what_statuses_mean(status: int, error: type[InferenceError]) -> None:
    async with scripted(tei) as server, embedder(server) as made:
        server.script = lambda heard: Said(status, {"error": "SECRET TEXT"})
        with pytest.raises(error) as refused:
            await made.embed_queries(["x"])
        assert type(refused.value) is error
        assert "SECRET" not in str(refused.value), "an answer may quote the request"


async def test_what_is_wrong_with_a_request_is_not_sent_to_the_next() -> None:
    async with scripted(tei) as first, scripted(tei) as second, embedder(first, second) as made:
        first.script = lambda heard: Said(422)
        with pytest.raises(InferenceError):
            await made.embed_queries(["x"])
        assert second.heard == []


@pytest.mark.parametrize(
    "said",
    [
        Said(body=[[1.0, 0.0, 0.0]]),
        Said(body=[[1.0, 0.0, 0.0, 0.0]] * 2),
        Said(body=[[0.0, 0.0, 0.0, 0.0]]),
        Said(body=[["a", "b", "c", "d"]]),
        Said(body={"error": "no"}),
        Said(raw=b"[[1,"),
        Said(raw=b"[[NaN, 1, 1, 1]]"),
    ],
)
async def test_an_answer_that_is_no_vectors_of_the_model_is_not_used(said: Said) -> None:
    async with scripted(tei) as first, scripted(tei) as second, embedder(first, second) as made:
        first.script = lambda heard: said
        np.testing.assert_allclose(await made.embed_queries(["x"]), [vector("q: x")], atol=1e-6)


async def test_vectors_of_another_length_are_made_unit_vectors() -> None:
    async with scripted(lambda heard: tei(heard, scale=5.0)) as server, embedder(server) as made:
        np.testing.assert_allclose(np.linalg.norm(await made.embed_queries(["x", "yy"]), axis=1), [1.0, 1.0], atol=1e-6)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted("model", 512, served_as="another"),
        Wanted("model", 512, revision="another"),
        Wanted("model", 512, dimension=8),
    ],
)
async def test_a_server_of_another_model_is_refused(wanted: Wanted) -> None:
    async with scripted(tei) as server:
        with pytest.raises(ModelMismatch):
            async with embedder(server, wanted=wanted):
                pass


async def test_servers_must_agree_also_when_one_comes_back_as_another() -> None:
    def other(heard: Heard) -> Said:
        return tei(heard, sha="other")

    async with scripted(tei) as first, scripted(other) as second, embedder(first, second) as made:
        await first.stop()
        for _ in range(2):
            with pytest.raises(InferenceUnavailable):
                await made.embed_queries(["x"])
        first.script = other
        await first.start()
        await asyncio.sleep(0.06)
        with pytest.raises((ModelMismatch, InferenceUnavailable)):
            await made.embed_queries(["x"])
        assert embeds(first) == [], "no vector of another model is ever asked for"
        assert embeds(second) == []


async def test_a_start_waits_for_a_server() -> None:
    server = Scripted(tei)
    await server.start()
    await server.stop()  # its port is known now
    made = RemoteEmbedder([Endpoint(server.url, breaker=Breaker(pause_s=0.05))], TeiFormat(), WANTED)
    try:
        with pytest.raises(InferenceUnavailable):
            _ = made.card
        with pytest.raises(InferenceUnavailable):
            await made.start(within_s=0.0)
        starting = asyncio.create_task(made.start(within_s=30.0))
        await asyncio.sleep(0.05)
        assert not starting.done()
        await server.start()
        await starting
        assert made.card.dimension == 4
    finally:
        await made.close()
        await server.stop()


async def test_openai_compatible_servers() -> None:
    async with scripted(openai) as server:
        wanted = Wanted("local name", 512, query_prefix="q: ")
        made = RemoteEmbedder([Endpoint(server.url)], OpenAiFormat("model"), wanted, cut=lambda text: text[:8])
        try:
            await made.start(within_s=0.0)
            assert (made.card.name, made.card.revision, made.card.dimension) == ("local name", "unversioned", 4)
            vectors = await made.embed_queries(["one", "a longer one"])
            np.testing.assert_allclose(vectors, [vector("q: one"), vector("q: a lon")], atol=1e-6)
            assert server.heard[-1].body == {"model": "model", "input": ["q: one", "q: a lon"], "encoding_format": "base64"}
            server.script = lambda heard: openai(heard, name="another")
            with pytest.raises(ModelMismatch):
                await made.embed_queries(["one"])
        finally:
            await made.close()


async def test_a_remote_reranker() -> None:
    async with scripted(tei) as server:
        made = RemoteReranker([Endpoint(server.url)], ServerKind.TEI, "reranker")
        port: Reranker = made
        try:
            assert port.estimate_ms("q", ["text"] * 100) == 0.0, "nothing is known yet"
            texts = ["ccc", "a", "bb", "dddd", "eeeee"]
            assert await port.score("q", texts, owner=UUID(int=7)) == [0.003, 0.001, 0.002, 0.004, 0.005]
            asked = [one for one in server.heard if one.path == "/rerank"]
            assert [len(one.body["texts"]) for one in asked] == [3, 2]
            assert all(one.body["raw_scores"] is False for one in asked)
            assert port.estimate_ms("q", texts * 2) > port.estimate_ms("q", texts) > 0
            server.script = lambda heard: Said(body=[{"index": 0, "score": 3.5}])
            with pytest.raises(InferenceUnavailable):
                await port.score("q", ["x"])
        finally:
            await made.close()


async def test_a_reranking_that_was_given_up_makes_the_next_estimate_longer() -> None:
    never = asyncio.Event()
    async with scripted(tei) as server:
        made = RemoteReranker([Endpoint(server.url)], ServerKind.TEI, "reranker")
        try:
            await made.score("q", ["a" * 400])
            before = made.estimate_ms("q", ["a" * 400])
            server.script = lambda heard: Said(held=never)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await made.score("q", ["a" * 400])
            assert made.estimate_ms("q", ["a" * 400]) > max(before, 200.0)
        finally:
            await made.close()
