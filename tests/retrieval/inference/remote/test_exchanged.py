"""Servers that do not say with their answers what model they have are asked for it now and then."""

import asyncio

import numpy as np
import pytest

from retrieval.errors import InferenceUnavailable, ModelMismatch
from tests.retrieval.inference.remote.scripted import Heard, Said, scripted, tei, vector
from tests.retrieval.inference.remote.test_endpoints import embedder, embeds

BELIEVED_S = 0.5


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server said of its model is believed for a moment."""
    monkeypatch.setattr("retrieval.inference.remote.embedder._BELIEVED_S", BELIEVED_S)


def other(heard: Heard) -> Said:
    return tei(heard, sha="other")


async def test_a_server_that_was_exchanged_without_a_failure_is_noticed_when_it_is_used_again() -> None:
    async with scripted(tei) as first, scripted(tei) as second, embedder(first, second) as made:
        await made.embed_queries(["x"])
        assert first.paths() == ["/info", "/embed", "/embed"], "a probe, and a question"
        first.script = other
        await asyncio.sleep(BELIEVED_S)
        first.heard.clear()
        np.testing.assert_allclose(await made.embed_queries(["y"]), [vector("q: y")], atol=1e-6)
        texts = ["a" * n for n in range(12)]
        np.testing.assert_allclose(await made.embed_passages(texts), [vector("p: " + text) for text in texts], atol=1e-6)
        assert embeds(first) == [], "no vector of another model is ever asked for"


async def test_no_part_of_a_load_is_another_models() -> None:
    async with scripted(tei) as first, scripted(tei) as second, embedder(first, second) as made:
        first.script = other
        await asyncio.sleep(BELIEVED_S)
        first.heard.clear()
        assert len(await made.embed_passages(["a" * n for n in range(12)])) == 12, "four requests at once"
        assert first.paths() == ["/info"]
        await first.stop()
        second.script = other
        await asyncio.sleep(BELIEVED_S)
        with pytest.raises((ModelMismatch, InferenceUnavailable)):
            await made.embed_passages(["a"])


async def test_one_of_many_calls_asks_and_computes_nothing_for_it() -> None:
    async with scripted(tei) as server, embedder(server) as made:
        await asyncio.sleep(BELIEVED_S)
        server.heard.clear()
        await asyncio.gather(*(made.embed_queries(["x"]) for _ in range(20)))
        assert sorted(server.paths()) == ["/embed"] * 20 + ["/info"]


async def test_a_server_that_hangs_when_it_is_asked_for_its_model_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.inference.remote.formats._INFO_S", 0.05)
    monkeypatch.setattr("retrieval.inference.remote.endpoints._VERIFIED_S", 0.3)
    never = asyncio.Event()
    async with scripted(tei) as first, scripted(tei) as second, embedder(first, second, pause_s=30.0) as made:
        await asyncio.sleep(BELIEVED_S)
        first.script = lambda heard: Said(held=never)
        first.heard.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await made.embed_passages(["who gives up"])
        await asyncio.wait_for(first.hung_up.wait(), 5)
        np.testing.assert_allclose(await made.embed_queries(["x"]), [vector("q: x")], atol=1e-6)
        assert first.paths() == ["/info"], "the second is asked at once"
