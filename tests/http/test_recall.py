"""Recall and context through the API."""

import asyncio
from collections import Counter

import pytest
from bpe_openai import get_encoding
from fastapi import FastAPI
from rank_bm25 import BM25Okapi

from retrieval.analysis import Analyzer
from retrieval.bm25 import DEFAULT_PARAMS
from retrieval.search import TEMPORAL_WEIGHT
from retrieval.situate import situated
from tests.http.conftest import Tenant

TURNS = [
    ("Caroline", "I went to a support group yesterday and it was powerful.", "2023-05-08T13:56:00Z", "s1"),
    ("Melanie", "That sounds great! What did you talk about?", "2023-05-08T13:56:00Z", "s1"),
    ("Caroline", "Courage, mostly, and how to tell family.", "2023-05-08T13:56:00Z", "s1"),
    ("Melanie", "I painted a sunrise over the lake last year.", "2023-05-08T13:56:00Z", "s1"),
    ("Caroline", "My pottery class starts in June, on Thursdays.", "2023-06-02T09:00:00Z", "s2"),
    ("Melanie", "I ran a charity race for mental health.", "2023-06-02T09:00:00Z", "s2"),
    ("Caroline", "We adopted a greyhound called Biscuit.", "2023-07-15T18:30:00Z", "s3"),
    ("Melanie", "Biscuit is a lovely name for a dog.", "2023-07-15T18:30:00Z", "s3"),
]


@pytest.fixture
async def talk(tenant: Tenant) -> Tenant:
    for session in ("s1", "s2", "s3"):
        messages = [{"name": name, "content": text, "event_time": time} for name, text, time, of in TURNS if of == session]
        body = {"messages": messages, "session_id": session, "user_id": "caroline" if session != "s2" else "melanie"}
        assert (await tenant.http.post("/v1/memories", json=body)).status_code == 201
    return tenant


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


async def test_reranking(talk: Tenant) -> None:
    answer = await talk.recall("Which sport event did Melanie take part in?", rerank="on", explain=True)
    assert answer["hits"][0]["text"] == "I ran a charity race for mental health."
    assert answer["reranked"] >= 1
    assert 0 <= answer["hits"][0]["explain"]["rerank"] <= 1
    assert answer["timings_ms"]["rerank"] > 0
    assert (await talk.recall("sport", rerank="off"))["reranked"] == 0


async def test_a_deadline_degrades_and_never_fails(talk: Tenant) -> None:
    answer = await talk.recall("dog", deadline_ms=1, rerank="on")
    assert set(answer["degraded"]) <= {"dense", "lexical", "rerank"}
    assert answer["degraded"]


async def test_with_the_embedder_down_the_lexical_arm_answers(
    app: FastAPI, talk: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.errors import InferenceUnavailable

    async def down(*_: object, **__: object) -> None:
        raise InferenceUnavailable("the model is gone")

    searcher = app.state.services.recall._searcher
    monkeypatch.setattr(type(searcher._embedder), "embed_queries", down)
    monkeypatch.setattr(type(searcher._embedder), "embed_passages", down)
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


async def test_context_fits_and_accounts_for_everything(talk: Tenant) -> None:
    encoding = get_encoding("o200k_base")
    for budget in (0, 5, 20, 60, 120, 400):
        for shape in ("text", "messages", "json"):
            body = {"query": "What about the dog Biscuit?", "budget_tokens": budget, "format": shape}
            answer = (await talk.http.post("/v1/context", json=body)).json()
            assert answer["used_tokens"] <= budget
            if shape != "messages":
                assert len(encoding.encode_ordinary(answer["text"])) == answer["used_tokens"]
            ids = [one["id"] for one in (*answer["items"], *answer["dropped"])]
            assert len(ids) == len(set(ids)) == len(TURNS)
    assert "Biscuit" in answer["text"]
    assert all(item["handle"] and item["why"] for item in answer["items"])


async def test_expand(talk: Tenant) -> None:
    body = {"query": "support group", "budget_tokens": 60}
    packed = (await talk.http.post("/v1/context", json=body)).json()
    item = next(one for one in packed["items"] if one["rendition"] == "full")
    more = await talk.http.post("/v1/context/expand", json={"handle": item["handle"], "budget_tokens": 400})
    assert more.status_code == 200
    assert more.json()["used_tokens"] <= 400
    assert len(more.json()["items"]) > 1, "a full text expands to the turns around it"
    for handle in ("nonsense", item["handle"][:-3] + "abc", "é.é"):
        answer = await talk.http.post("/v1/context/expand", json={"handle": handle})
        assert (answer.status_code, answer.json()["code"]) == (422, "handle_invalid")


async def test_expand_keeps_to_the_items_user(tenant: Tenant) -> None:
    await tenant.remember("Ben's code is 4711.", session_id="shared", user_id="ben")
    await tenant.remember("Ann likes the harbour.", session_id="shared", user_id="ann")
    body = {"query": "harbour", "budget_tokens": 100, "filters": {"user_id": "ann"}}
    (item,) = (await tenant.http.post("/v1/context", json=body)).json()["items"]
    more = await tenant.http.post("/v1/context/expand", json={"handle": item["handle"], "budget_tokens": 400})
    assert more.status_code == 200
    assert "4711" not in more.text


async def test_must_include_and_sections(talk: Tenant) -> None:
    (memory,) = await talk.remember("Always answer in French.", kind="procedural")
    body = {"query": "dog", "budget_tokens": 60, "must_include": [memory]}
    answer = (await talk.http.post("/v1/context", json=body)).json()
    assert "Always answer in French." in answer["text"]
    sections = body | {"must_include": [], "sections": {"procedural": 30}, "query": "Biscuit French", "budget_tokens": 80}
    answer = (await talk.http.post("/v1/context", json=sections)).json()
    assert "Always answer in French." in answer["text"]
    small = await talk.http.post("/v1/context", json=body | {"budget_tokens": 1})
    assert (small.status_code, small.json()["code"]) == (422, "budget_too_small")
    unknown = await talk.http.post("/v1/context", json=body | {"tokenizer": "nope"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_tokenizer")


async def test_concurrent_recalls_agree(talk: Tenant) -> None:
    answers = await asyncio.gather(*(talk.texts("greyhound") for _ in range(20)))
    assert Counter(map(tuple, answers)).most_common(1)[0][1] == 20


def test_situated_text() -> None:
    assert situated("[1 May] hi", "A", None) == "[1 May] hi"
    assert situated("hi", None, None) == "hi"
    assert situated("hi", "A", None) == "A: hi"
