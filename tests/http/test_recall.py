"""Recall through the API."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from memoryd.http.views import window
from retrieval.analysis import Analyzer
from retrieval.bm25 import DEFAULT_PARAMS
from retrieval.inference.cached import CachedEmbedder
from retrieval.search import TEMPORAL_WEIGHT
from retrieval.situate import situated
from tests.http.conftest import TURNS, Tenant
from tests.one_model import embedder_of


async def test_hits_are_explained(talk: Tenant) -> None:
    answer = await talk.recall("What is the dog's name?", explain=True, limit=3)
    hit = answer["hits"][0]
    assert "Biscuit" in hit["text"]
    assert set(hit["explain"]["arms"]) == {"dense", "lexical"}
    assert hit["explain"]["arms"]["dense"]["rank"] >= 1
    assert sum(hit["explain"]["parts"].values()) == pytest.approx(hit["explain"]["fused"])
    assert set(answer["timings_ms"]) >= {"embed", "dense", "lexical", "fuse", "total"}
    assert answer["degraded"] == []
    assert len(answer["hits"]) == 3
    assert (await talk.recall("dog"))["hits"][0]["explain"] is None


async def test_bm25_scores_are_rank_bm25s(tenant: Tenant) -> None:
    """On the same tokens, through the API: equal to 1e-6, in one space and for terms in more than half of the texts."""
    texts = [
        "the red fox jumps over the red fence", "a fox", "fences need red paint", "nothing to see here today",
        "red red red fox", "the harbour at dawn", "paint the harbour red before dawn", "fox and hound and fox and fox",
        "red lights", "the last red bus",
    ]  # fmt: skip
    await tenant.remember(*texts, space="one")
    await tenant.remember("red fox red fox", space="two")
    analyzer = Analyzer()
    reference = BM25Okapi(
        [analyzer.tokens(text) for text in texts], k1=DEFAULT_PARAMS.k1, b=DEFAULT_PARAMS.b, epsilon=DEFAULT_PARAMS.epsilon
    )
    for query in ("red fox", "red", "paint the fence red at dawn", "fox fox harbour", "bus"):
        expected = dict(zip(texts, reference.get_scores(analyzer.tokens(query)), strict=True))
        answer = await tenant.recall(query, spaces=["one"], arms=["lexical"], explain=True, limit=100)
        found = {hit["text"]: hit["explain"]["arms"]["lexical"]["score"] for hit in answer["hits"]}
        assert found == pytest.approx({text: score for text, score in expected.items() if text in found}, abs=1e-6)
        assert set(found) == {text for text, score in expected.items() if score != 0}


async def test_statistics_follow_changes_and_deletions(tenant: Tenant) -> None:
    ids = await tenant.remember("red fox", "red hen", "blue hen", "green duck", "grey goose", "brown owl")
    await tenant.http.patch(f"/v1/memories/{ids[0]}", json={"text": "blue fox and a blue jay"})
    await tenant.http.delete(f"/v1/memories/{ids[1]}")
    await tenant.http.delete(f"/v1/memories/{ids[4]}", params={"purge": True})
    texts = ["blue fox and a blue jay", "blue hen", "green duck", "brown owl"]
    analyzer = Analyzer()
    reference = BM25Okapi([analyzer.tokens(t) for t in texts], k1=DEFAULT_PARAMS.k1, b=DEFAULT_PARAMS.b)
    for query in ("blue", "hen", "owl duck"):
        answer = await tenant.recall(query, arms=["lexical"], explain=True)
        expected = dict(zip(texts, reference.get_scores(analyzer.tokens(query)), strict=True))
        assert {hit["text"]: hit["explain"]["arms"]["lexical"]["score"] for hit in answer["hits"]} == pytest.approx(
            {text: score for text, score in expected.items() if set(analyzer.tokens(query)) & set(analyzer.tokens(text))},
            abs=1e-6,
        )
    assert await tenant.texts("red goose", arms=["lexical"]) == []


async def test_what_follows_a_match_is_found_too(talk: Tenant) -> None:
    """«support group» is said in one turn; what was talked about there, in the one after the next."""
    answer = await talk.recall("support group", arms=["lexical"], explain=True)
    by_text = {hit["text"]: hit["explain"] for hit in answer["hits"]}
    assert by_text["Courage, mostly, and how to tell family."]["via_neighbour"] is True
    assert by_text["I went to a support group yesterday and it was powerful."]["via_neighbour"] is False
    assert "My pottery class starts in June, on Thursdays." not in by_text


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"user_id": "melanie"}, {4, 5}),
        ({"session_id": "s3"}, {6, 7}),
        ({"event_after": "2023-06-02T09:00:00Z", "event_before": "2023-07-15T18:30:00Z"}, {4, 5}),
        ({"user_id": "nobody"}, set()),
        ({"kinds": ["semantic"]}, set()),
        ({"created_before": "2020-01-01T00:00:00Z"}, set()),
        ({"user_id": "caroline", "event_after": "2023-07-01T00:00:00Z"}, {6, 7}),
    ],
)
async def test_filters_hold_in_every_arm(talk: Tenant, filters: dict[str, object], expected: set[int]) -> None:
    for arms in (["dense"], ["lexical"], ["dense", "lexical", "temporal"]):
        found = set(await talk.texts("Caroline Melanie Biscuit pottery race group", filters=filters, arms=arms))
        assert found <= {TURNS[n][1] for n in expected}
        if "dense" in arms:
            assert len(found) == len(expected)


async def test_topics_metadata_source_and_confidence(tenant: Tenant) -> None:
    await tenant.remember("alpha bridge", topics=["x", "y"], metadata={"n": 1, "s": "a", "t": True}, confidence=0.9)
    await tenant.remember("beta bridge", topics=["y"], metadata={"n": 2, "s": "a"}, confidence=0.4)
    await tenant.remember("gamma bridge", metadata={"n": 1.0, "t": None}, source={"type": "web"})

    async def found(**filters: object) -> set[str]:
        dense = set(await tenant.texts("bridge", filters=filters, arms=["dense"]))
        assert dense == set(await tenant.texts("bridge", filters=filters, arms=["lexical"]))
        return {text.split()[0] for text in dense}

    assert await found(topics_any=["x", "z"]) == {"alpha"}
    assert await found(topics_any=["x", "y"]) == {"alpha", "beta"}
    assert await found(topics_all=["x", "y"]) == {"alpha"}
    assert await found(metadata={"n": 1}) == {"alpha", "gamma"}
    assert await found(metadata={"s": "a", "n": 2}) == {"beta"}
    assert await found(metadata={"t": True}) == {"alpha"}
    assert await found(metadata={"t": None}) == {"gamma"}
    assert await found(metadata={"n": "1"}) == set()
    assert await found(min_confidence=0.5) == {"alpha", "gamma"}
    assert await found(source_types=["web"]) == {"gamma"}
    (alpha,) = [hit["id"] for hit in (await tenant.recall("bridge", filters={"topics_any": ["x"]}))["hits"]]
    await tenant.http.patch(f"/v1/memories/{alpha}", json={"topics": ["z"], "metadata": {}})
    assert await found(topics_any=["x"]) == set()
    assert await found(topics_any=["z"]) == {"alpha"}


async def test_times_in_the_question(talk: Tenant) -> None:
    answer = await talk.recall("what happened in July 2023?", explain=True)
    assert [one["phrase"].lower() for one in answer["understood"]] == ["july 2023"]
    assert {hit["event_time"][:7] for hit in answer["hits"][:2]} == {"2023-07"}
    assert answer["hits"][0]["explain"]["temporal"] > 0
    relative = await talk.recall("what did we do last month?", query_time="2023-07-01T00:00:00Z", explain=True)
    assert relative["understood"][0]["start"] == "2023-06-01T00:00:00Z"
    boosts = {hit["event_time"][:7]: hit["explain"]["temporal"] for hit in relative["hits"]}
    assert boosts["2023-06"] == pytest.approx(TEMPORAL_WEIGHT)
    assert max(boosts["2023-05"], boosts["2023-07"]) < boosts["2023-06"]
    assert (await talk.recall("what did we do last month?"))["understood"] == []


@pytest.mark.parametrize(
    ("query_time", "phrase", "start", "end"),
    [
        ("2023-05-17T08:00:00+09:00", "yesterday", "2023-05-16T00:00:00+09:00", "2023-05-17T00:00:00+09:00"),
        ("2023-05-17T20:30:00-07:00", "today", "2023-05-17T00:00:00-07:00", "2023-05-18T00:00:00-07:00"),
        ("2023-05-17T20:30:00-07:00", "on 3 May 2023", "2023-05-03T00:00:00-07:00", "2023-05-04T00:00:00-07:00"),
        ("2023-05-17T20:30:00+14:00", "before 2020", "0001-01-02T00:00:00+14:00", "2020-01-01T00:00:00+14:00"),
    ],
)
async def test_days_are_those_of_the_zone_of_the_question(
    tenant: Tenant, query_time: str, phrase: str, start: str, end: str
) -> None:
    await tenant.remember("the last of the day", event_time=end)
    await tenant.remember("said within the day", event_time=start.replace("T00:00", "T00:01"))
    answer = await tenant.recall(f"what was said {phrase}?", query_time=query_time, explain=True)
    assert answer["degraded"] == []
    assert [(one["start"], one["end"]) for one in answer["understood"]] == [(start, end)]
    inside = {hit["text"]: hit["explain"]["temporal"] == pytest.approx(TEMPORAL_WEIGHT) for hit in answer["hits"]}
    assert inside == {"said within the day": True, "the last of the day": False}


async def test_reranking(talk: Tenant) -> None:
    answer = await talk.recall("Which sport event did Melanie take part in?", rerank="on", explain=True)
    assert answer["hits"][0]["text"] == "I ran a charity race for mental health."
    assert answer["reranked"] >= 1
    assert 0 <= answer["hits"][0]["explain"]["rerank"] <= 1
    assert answer["timings_ms"]["rerank"] > 0
    assert (await talk.recall("sport", rerank="off"))["reranked"] == 0


async def _say(tenant: Tenant, *turns: tuple[str, str, str]) -> list[str]:
    """Turns of one session: text, user, minute."""
    ids = []
    for text, user, minute in turns:
        when = f"2023-05-08T10:{minute}:00Z"
        ids += await tenant.remember(text, session_id="s", user_id=user, event_time=when, kind="episodic")
    return ids


async def _lexical(tenant: Tenant, query: str, **fields: object) -> dict[str, tuple[float, bool]]:
    answer = await tenant.recall(query, arms=["lexical"], explain=True, **fields)
    return {hit["text"]: (hit["explain"]["arms"]["lexical"]["score"], hit["explain"]["via_neighbour"]) for hit in answer["hits"]}


async def test_a_filtered_turn_takes_no_neighbours_place(tenant: Tenant) -> None:
    """Ben's two turns stand between Ann's: with Ann's alone asked for, hers are neighbours, as if his had not been said."""
    ann = [("The support group meets.", "ann", "00"), ("Courage, mostly.", "ann", "03"), ("And family.", "ann", "04")]
    await _say(tenant, ann[0], ("Really?", "ben", "01"), ("Tell me!", "ben", "02"), *ann[1:])
    everyone = await _lexical(tenant, "support group")
    assert set(everyone) == {"The support group meets.", "Really?", "Tell me!"}
    found = await _lexical(tenant, "support group", filters={"user_id": "ann"})
    source = found["The support group meets."][0]
    assert found["Courage, mostly."][0] == pytest.approx(0.8 * source)
    assert found["And family."][0] == pytest.approx(0.6 * source)
    assert [found[text][1] for text in ("Courage, mostly.", "And family.", "The support group meets.")] == [True, True, False]
    # Nor does a turn that is filtered out lend: Ben's words lift nothing of Ann's.
    assert await _lexical(tenant, "really tell", filters={"user_id": "ann"}) == {}


async def test_neighbours_are_those_of_the_time_asked_about(tenant: Tenant) -> None:
    ids = await _say(tenant, ("The support group meets.", "ann", "00"), ("Courage, mostly.", "ann", "02"))
    now = datetime.now(UTC).isoformat()
    await asyncio.sleep(0.01)
    await _say(tenant, ("Recorded late: a whisper.", "ann", "01"))
    await tenant.http.patch(f"/v1/memories/{ids[1]}", json={"text": "Rewritten."})
    then = await _lexical(tenant, "support group", known_at=now)
    assert set(then) == {"The support group meets.", "Courage, mostly."}
    assert then["Courage, mostly."][0] == pytest.approx(0.8 * then["The support group meets."][0])
    assert set(await _lexical(tenant, "support group")) == {
        "The support group meets.",
        "Recorded late: a whisper.",
        "Rewritten.",
    }


async def test_the_reranker_reads_no_turn_that_is_filtered_out_or_unknown(
    app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    reranker = app.state.services.recall._searcher._reranker
    score = type(reranker).score

    async def spy(self: object, query: str, passages: list[str], **fields: object) -> object:
        seen.extend(passages)
        return await score(self, query, passages, **fields)

    monkeypatch.setattr(type(reranker), "score", spy)
    await _say(tenant, ("Known from the start.", "ann", "00"), ("The heron is back.", "ann", "04"))
    now = datetime.now(UTC).isoformat()
    await asyncio.sleep(0.01)
    await _say(tenant, ("Ben's secret is 4711.", "ben", "03"), ("Learned later, 4712.", "ann", "02"))
    await tenant.recall("Where is the heron?", rerank="on", filters={"user_id": "ann"})
    assert any("4712" in text and "heron" in text for text in seen)
    assert not any("4711" in text for text in seen)
    seen.clear()
    for filters in ({}, {"user_id": "ann"}):
        await tenant.recall("Where is the heron?", rerank="on", known_at=now, filters=filters)
    assert any("Known from the start" in text and "heron" in text for text in seen)
    assert not any("471" in text for text in seen)


async def test_long_texts_are_cut_around_the_passage(tenant: Tenant) -> None:
    words = " ".join(f"word{n}" for n in range(3_000))
    text = f"{words} The password of the harbour office is heron. {words}"
    memory, _ = await tenant.remember(text, "Short: harbour.")
    answer = await tenant.recall("password harbour office", max_text_chars=900, arms=["lexical"])
    hit = next(one for one in answer["hits"] if one["id"] == memory)
    start, end = hit["text_span"]
    assert (hit["truncated"], len(hit["text"])) == (True, 900)
    assert hit["text"] == text[start:end]
    assert start <= hit["passage"][0] + 900
    whole = (await tenant.http.get(f"/v1/memories/{memory}")).json()
    assert whole["text"] == text
    short = next(one for one in answer["hits"] if one["id"] != memory)
    assert (short["text"], short["truncated"], short["text_span"]) == ("Short: harbour.", False, [0, 15])
    assert max(len(one["text"]) for one in (await tenant.recall("password harbour"))["hits"]) == 4_000
    assert len((await tenant.recall("password", max_text_chars=200_000))["hits"][0]["text"]) == len(text)


@given(st.integers(1, 500), st.integers(0, 500), st.integers(0, 500), st.integers(1, 600))
def test_the_window_shows_the_passage(length: int, first: int, second: int, most: int) -> None:
    passage = (min(first, second, length), min(max(first, second), length))
    start, end = window(length, passage, most)
    assert 0 <= start <= end <= length
    assert end - start == min(length, most)
    if passage[1] - passage[0] <= most:
        assert start <= passage[0]
        assert passage[1] <= end


async def test_too_many_spaces_to_look_in_unnamed(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memoryd.access.service.MAX_SPACES", 1)
    assert await tenant.texts("heron") == []
    await tenant.remember("heron", space="two")
    answer = await tenant.http.post("/v1/recall", json={"query": "heron"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert "name" in answer.json()["detail"]
    assert await tenant.texts("heron", spaces=["two"]) == ["heron"]


async def test_more_words_and_spaces_than_can_be_looked_up(talk: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memoryd.stores.lexical._MOST_LOOKUPS", 2)
    answer = await talk.recall("greyhound Biscuit lake")
    assert answer["degraded"] == ["lexical"]
    assert answer["hits"]
    alone = await talk.http.post("/v1/recall", json={"query": "greyhound Biscuit lake", "arms": ["lexical"]})
    assert (alone.status_code, alone.json()["code"]) == (422, "invalid_request")
    assert "fewer spaces" in alone.json()["detail"]


async def test_only_the_temporal_arm_and_no_time_in_the_question(talk: Tenant) -> None:
    answer = await talk.recall("what happened?", arms=["temporal"])
    assert (answer["hits"], answer["degraded"]) == ([], ["temporal"])
    answer = await talk.recall("what happened in July 2023?", arms=["temporal"])
    assert (len(answer["hits"]), answer["degraded"]) == (2, [])


async def test_with_the_embedder_down_the_lexical_arm_answers(
    app: FastAPI, talk: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.errors import InferenceUnavailable

    async def down(*_: object, **__: object) -> None:
        raise InferenceUnavailable("the model is gone")

    monkeypatch.setattr(CachedEmbedder, "embed_queries", down)
    monkeypatch.setattr(type(embedder_of(app)), "embed_passages", down)
    answer = await talk.recall("Biscuit")
    assert answer["degraded"] == ["dense"]
    assert "Biscuit" in answer["hits"][0]["text"]
    write = await talk.http.post("/v1/memories", json={"memories": [{"text": "not without a vector"}]})
    assert (write.status_code, write.json()["code"]) == (503, "inference_unavailable")
    assert int(write.headers["retry-after"]) >= 1


async def test_unknown_space_is_404_and_spaces_are_apart(tenant: Tenant) -> None:
    await tenant.remember("heron", space="one")
    await tenant.remember("heron too", space="two")
    assert await tenant.texts("heron", spaces=["one"]) == ["heron"]
    assert set(await tenant.texts("heron")) == {"heron", "heron too"}
    answer = await tenant.http.post("/v1/recall", json={"query": "heron", "spaces": ["three"]})
    assert (answer.status_code, answer.json()["code"]) == (404, "space_not_found")


async def test_concurrent_recalls_agree(talk: Tenant) -> None:
    answers = await asyncio.gather(*(talk.texts("greyhound") for _ in range(20)))
    assert Counter(map(tuple, answers)).most_common(1)[0][1] == 20


def test_situated_text() -> None:
    assert situated("[1 May] hi", "A", None) == "[1 May] hi"
    assert situated("hi", None, None) == "hi"
    assert situated("hi", "A", None) == "A: hi"
