"""Servers that do not say with their answers what model they have are asked for it now and then."""

import asyncio
import time
from dataclasses import replace

import numpy as np
import pytest

from retrieval.errors import InferenceUnavailable, ModelMismatch
from retrieval.inference.remote.embedder import _BELIEVED_S, Patience
from retrieval.inference.remote.endpoint import Answer, Call, Endpoint
from retrieval.inference.remote.endpoints import Endpoints
from tests.retrieval.inference.remote.scripted import Heard, Said, Script, scripted, tei, vector
from tests.retrieval.inference.remote.test_endpoints import WANTED, embedder, embeds

TEXTS = ["a" * n for n in range(12)]


class Clock:
    """Time as it passes, and what a test lets pass beside."""

    def __init__(self) -> None:
        self.later_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.later_s

    def pass_by(self) -> None:
        """What a server said of its model is too long ago."""
        self.later_s += _BELIEVED_S


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("retrieval.inference.remote.endpoints.time", made)
    return made


def other(heard: Heard) -> Said:
    return tei(heard, sha="other")


def unversioned(heard: Heard) -> Said:
    """One that was started without ``--revision``."""
    return tei(heard, sha=None)


async def test_a_server_that_was_exchanged_without_a_failure_is_noticed_when_it_is_used_again(clock: Clock) -> None:
    async with scripted(tei) as first, scripted(tei) as second, embedder(first, second) as made:
        await made.embed_queries(["x"])
        assert first.paths() == ["/info", "/embed", "/embed"], "a probe, and a question"
        first.script = other
        clock.pass_by()
        first.heard.clear()
        np.testing.assert_allclose(await made.embed_queries(["y"]), [vector("q: y")], atol=1e-6)
        np.testing.assert_allclose(await made.embed_passages(TEXTS), [vector("p: " + text) for text in TEXTS], atol=1e-6)
        assert embeds(first) == [], "no vector of another model is ever asked for"


async def test_no_part_of_a_load_is_another_models(clock: Clock) -> None:
    async with scripted(tei) as first, scripted(tei) as second, embedder(first, second) as made:
        first.script = other
        clock.pass_by()
        first.heard.clear()
        assert len(await made.embed_passages(TEXTS)) == 12, "four requests at once"
        assert first.paths() == ["/info"]
        await first.stop()
        second.script = other
        clock.pass_by()
        with pytest.raises((ModelMismatch, InferenceUnavailable)):
            await made.embed_passages(["a"])


@pytest.mark.parametrize("script", [tei, unversioned])
async def test_one_of_many_calls_asks_and_computes_nothing_for_it(clock: Clock, script: Script) -> None:
    async with scripted(script) as server, embedder(server) as made:
        clock.pass_by()
        server.heard.clear()
        await asyncio.gather(*(made.embed_queries(["x"]) for _ in range(20)))
        assert sorted(server.paths()) == ["/embed"] * 20 + ["/info"]


async def test_another_model_is_noticed_by_its_name_where_the_server_knows_no_revision(clock: Clock) -> None:
    wanted = replace(WANTED, served_as="model")
    async with scripted(unversioned) as server, embedder(server, wanted=wanted) as made:
        server.script = lambda heard: tei(heard, name="another", sha=None)
        clock.pass_by()
        with pytest.raises(ModelMismatch, match="serves another"):
            await made.embed_passages(["a"])
        assert len(embeds(server)) == 0


@pytest.mark.parametrize("busy", ["silent", "429"])
async def test_a_server_that_is_too_busy_to_say_what_model_it_has_is_believed(clock: Clock, busy: str) -> None:
    never = asyncio.Event()

    def says_nothing(heard: Heard) -> Said:
        if heard.path == "/info":
            return Said(held=never) if busy == "silent" else Said(429)
        return tei(heard)

    async with scripted(tei) as server, embedder(server) as made:
        server.script = says_nothing
        clock.pass_by()
        for text in ("x", "y"):
            np.testing.assert_allclose(await made.embed_queries([text]), [vector("q: " + text)], atol=1e-6)
        assert server.paths().count("/info") == 2, "asked at the start, and once in half a minute"
        server.script = other
        clock.pass_by()
        with pytest.raises(ModelMismatch):
            await made.embed_queries(["z"])


async def test_who_has_little_time_does_not_end_the_look_for_the_others(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.inference.remote.endpoints._VERIFIED_S", 10.0)
    said = asyncio.Event()
    said.set()
    looks: list[Endpoint] = []

    async def verify(endpoint: Endpoint) -> None:
        looks.append(endpoint)
        await said.wait()

    async with scripted(tei) as server:
        endpoints = Endpoints([Endpoint(server.url)], verify, again_s=_BELIEVED_S)
        await endpoints.look(timeout_s=5.0)
        said.clear()
        clock.pass_by()
        with pytest.raises(InferenceUnavailable):
            await endpoints.ask(Call("info"), Answer.json, timeout_s=0.05)
        patient = asyncio.create_task(endpoints.ask(Call("info"), Answer.json, timeout_s=5.0))
        await asyncio.sleep(0)
        said.set()
        assert await patient == tei(server.heard[0]).body
        assert len(looks) == 2
        await endpoints.close()


async def test_a_server_that_hangs_is_found_out_by_the_call(clock: Clock) -> None:
    never = asyncio.Event()
    hasty = Patience(interactive_s=3.0)
    async with scripted(tei) as first, scripted(tei) as second, embedder(first, second, patience=hasty, pause_s=30.0) as made:
        first.script = lambda heard: Said(held=never)
        clock.pass_by()
        first.heard.clear()
        for text in ("x", "y"):
            np.testing.assert_allclose(await made.embed_queries([text]), [vector("q: " + text)], atol=1e-6)
        assert first.paths() == ["/info", "/embed"], "and then left alone"
