"""Searching knowledge bases over HTTP, alone and beside memories: what is cited, capped, pinned, packed and expanded."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from memoryd.stores.database import Database
from memoryd.stores.generations import live_generation
from retrieval.scope import Action, Scope
from tests.http.conftest import Tenant, client
from tests.one_model import embedder_of
from tests.stores.knowledge.bookcase import Bookcase, Doc, Embed, Part, doc

LEAVE = Doc(
    "Employee handbook",
    (
        Part("Parental leave is sixteen weeks at full pay.", ("Leave", "Parental leave"), 12),
        Part("The weeks can be taken until the child's third birthday.", ("Leave", "Parental leave"), 13),
        Part("Sick leave needs a note from the third day.", ("Leave", "Sick leave"), 14),
    ),
    {"team": "hr", "edition": 3},
    "https://example.org/handbook.pdf",
)
TRAVEL = Doc(
    "Travel policy", (Part("Trains are first class when the journey takes four hours.", ("Trains",)),), {"team": "finance"}
)
QUESTION = "How long is parental leave?"

Make = Callable[..., Awaitable[Bookcase]]


@pytest.fixture
def bookcase(app: FastAPI, database: Database, tenant: Tenant) -> Make:
    embed: Embed = embedder_of(app).embed_passages

    async def make(name: str = "handbook", space: str = "default") -> Bookcase:
        generation = await live_generation(database)
        assert generation is not None
        scope = Scope(tenant.tenant_id, "test", frozenset(Action))
        return await Bookcase.make(database, scope, generation.number, embed, name=name, space=space)

    return make


@pytest.fixture
async def handbook(bookcase: Make) -> Bookcase:
    made = await bookcase()
    await made.publish({"handbook.pdf": LEAVE, "travel.md": TRAVEL})
    return made


async def search(tenant: Tenant, name: str = "handbook", query: str = QUESTION, **fields: object) -> dict[str, Any]:
    answer = await tenant.http.post(f"/v1/knowledge-bases/{name}/search", json={"query": query, **fields})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def texts(found: dict[str, Any]) -> list[str]:
    return [hit["text"] for hit in found["hits"]]


async def test_a_hit_says_where_it_stands(tenant: Tenant, handbook: Bookcase) -> None:
    found = await search(tenant, explain=True)
    assert found["degraded"] == []
    best = found["hits"][0]
    assert best["text"] == LEAVE.parts[0].text
    assert best["id"] == str(handbook.chunk_id("handbook.pdf", 0))
    assert (best["kind"], best["external_id"], best["space"]) == ("knowledge", "handbook.pdf", "default")
    assert best["metadata"] == {"team": "hr", "edition": 3}
    assert best["source"] == {"type": "document", "uri": "https://example.org/handbook.pdf"}
    assert best["knowledge"] == {
        "kb": "handbook",
        "version": 1,
        "document_id": "handbook.pdf",
        "title": "Employee handbook",
        "section": ["Leave", "Parental leave"],
        "pages": [12, 12],
        "span": [0, 44],
        "media_type": "text/markdown",
        "uri": "https://example.org/handbook.pdf",
    }
    assert set(best["explain"]["arms"]) == {"dense", "lexical"}
    assert found["hits"][-1]["knowledge"]["pages"] is None


async def test_reranking_reads_the_prefix_too(tenant: Tenant, handbook: Bookcase) -> None:
    found = await search(tenant, rerank="on", explain=True)
    assert found["reranked"] == 4
    assert found["hits"][0]["text"] == LEAVE.parts[0].text
    assert all(0 <= hit["explain"]["rerank"] <= 1 for hit in found["hits"])


async def test_filters_choose_documents(tenant: Tenant, handbook: Bookcase) -> None:
    assert set(texts(await search(tenant, filters={"metadata": {"team": "finance"}}))) == {TRAVEL.parts[0].text}
    assert len(texts(await search(tenant, filters={"document_ids": ["handbook.pdf", "none"]}))) == 3
    assert texts(await search(tenant, filters={"metadata": {"team": "hr", "edition": 4}})) == []


async def test_versions_are_chosen_by_name_and_number(tenant: Tenant, handbook: Bookcase) -> None:
    await handbook.tag("spring", 1)
    shorter = Doc("Employee handbook", (Part("Parental leave is ten weeks.", ("Leave",)),))
    await handbook.stage({"handbook.pdf": shorter})
    assert "ten weeks" not in str(await search(tenant))
    await handbook.publish()
    for version, weeks in (("live", "ten"), ("2", "ten"), ("1", "sixteen"), ("spring", "sixteen")):
        hit = (await search(tenant, version=version))["hits"][0]
        assert f"{weeks} weeks" in hit["text"]
        recalled = await tenant.recall(QUESTION, sources=[{"kb": f"handbook@{version}"}])
        assert (recalled["hits"][0]["text"], recalled["hits"][0]["score"]) == (hit["text"], hit["score"])
    assert texts(await tenant.recall(QUESTION, sources=[{"kb": "handbook"}])) == texts(await search(tenant))


@pytest.mark.parametrize("version", ["3", "autumn"])
async def test_an_unknown_version_is_not_found(tenant: Tenant, handbook: Bookcase, version: str) -> None:
    answer = await tenant.http.post("/v1/knowledge-bases/handbook/search", json={"query": QUESTION, "version": version})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_collected_version_is_gone(tenant: Tenant, handbook: Bookcase) -> None:
    await handbook.publish({"travel.md": None})
    await handbook.collect()
    for path, body in (
        ("/v1/knowledge-bases/handbook/search", {"version": "1"}),
        ("/v1/recall", {"sources": [{"kb": "handbook@1"}]}),
        ("/v1/context", {"sources": [{"kb": "handbook@1"}]}),
    ):
        answer = await tenant.http.post(path, json={"query": QUESTION, **body})
        assert (answer.status_code, answer.json()["code"]) == (410, "version_gone")


async def test_before_the_first_publish_there_is_nothing_to_read(tenant: Tenant, bookcase: Make) -> None:
    made = await bookcase("drafts")
    await made.stage({"a": doc("Parental leave is a secret.")})
    for version in ("live", "1"):
        answer = await tenant.http.post("/v1/knowledge-bases/drafts/search", json={"query": QUESTION, "version": version})
        assert answer.status_code == 404


async def test_another_tenant_finds_no_such_knowledge_base(tenant: Tenant, other: Tenant, handbook: Bookcase) -> None:
    assert texts(await search(tenant))
    for path, body in (
        ("/v1/knowledge-bases/handbook/search", {}),
        ("/v1/recall", {"sources": [{"kb": "handbook"}]}),
        ("/v1/context", {"sources": [{"kb": "handbook@1"}]}),
    ):
        answer = await other.http.post(path, json={"query": QUESTION, **body})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    packed = await tenant.http.post("/v1/context", json={"query": QUESTION, "sources": [{"kb": "handbook"}]})
    handle = packed.json()["items"][0]["handle"]
    assert (await other.http.post("/v1/context/expand", json={"handle": handle})).status_code == 422


async def test_a_confined_key_sees_knowledge_bases_of_its_spaces(app: FastAPI, tenant: Tenant, bookcase: Make) -> None:
    for space in ("hr", "sales"):
        await tenant.http.post("/v1/spaces", json={"name": space})
        made = await bookcase(f"of-{space}", space)
        await made.publish({"d": doc(f"Parental leave, says {space}.")})
    key = await tenant.http.post("/v1/keys", json={"name": "hr", "actions": ["read"], "spaces": ["hr"]})
    async with client(app, key.json()["key"]) as http:
        body = {"query": QUESTION}
        seen = await http.post("/v1/knowledge-bases/of-hr/search", json=body)
        assert [hit["space"] for hit in seen.json()["hits"]] == ["hr"]
        assert (await http.post("/v1/knowledge-bases/of-sales/search", json=body)).status_code == 404
        both = {"query": QUESTION, "sources": [{"kb": "of-hr"}, {"kb": "of-sales"}]}
        assert (await http.post("/v1/recall", json=both)).status_code == 404


async def test_memories_and_knowledge_bases_are_searched_together(tenant: Tenant, handbook: Bookcase) -> None:
    await tenant.remember("Maya is on parental leave until May.", "Trains make Maya sick.")
    assert all(hit["kind"] != "knowledge" for hit in (await tenant.recall(QUESTION))["hits"])
    found = await tenant.recall(QUESTION, sources=[{"kb": "handbook"}, {"space": "default"}])
    assert found["degraded"] == []
    kinds = {hit["text"]: hit["kind"] for hit in found["hits"]}
    assert len(kinds) == 6
    assert kinds[LEAVE.parts[0].text] == "knowledge"
    assert kinds["Maya is on parental leave until May."] == "episodic"
    only = await tenant.recall(QUESTION, sources=[{"space": "default"}])
    assert sorted(texts(only)) == ["Maya is on parental leave until May.", "Trains make Maya sick."]
    assert all(hit["knowledge"] is None for hit in only["hits"])


async def test_filters_of_the_recall_are_of_memories(tenant: Tenant, handbook: Bookcase) -> None:
    await tenant.remember("Maya is on parental leave.", user_id="maya")
    await tenant.remember("Bo is on parental leave.", user_id="bo")
    sources = [{"kb": "handbook", "filters": {"metadata": {"team": "finance"}}}, {"space": "default"}]
    found = await tenant.recall(QUESTION, sources=sources, filters={"user_id": "bo"})
    assert set(texts(found)) == {"Bo is on parental leave.", TRAVEL.parts[0].text}


async def test_a_cap_leaves_its_places_to_the_others(tenant: Tenant, bookcase: Make) -> None:
    made = await bookcase("leaves")
    await made.publish({f"d{n}": doc(f"Parental leave is {n} weeks long, how long is parental leave?") for n in range(130)})
    small = await bookcase("small")
    await small.publish({f"d{n}": doc(f"Garden tools, list {n}.") for n in range(3)})
    for space in ("far", "near"):
        await tenant.http.post("/v1/spaces", json={"name": space})
    await tenant.remember(*(f"How long is parental leave? It is {n} weeks long." for n in range(130)), space="near")
    await tenant.remember("The shed is green.", "The lamp is blue.", space="far")
    sources = [
        {"kb": "leaves", "limit": 2},
        {"kb": "small"},
        {"space": "near", "limit": 1},
        {"space": "far", "limit": 1},
    ]
    for rerank in ("off", "on"):
        found = await tenant.recall(QUESTION, sources=sources, limit=10, rerank=rerank)
        came = [hit["knowledge"]["kb"] if hit["knowledge"] else hit["space"] for hit in found["hits"]]
        assert sorted(came) == ["far", "leaves", "leaves", "near", "small", "small", "small"]
        scores = [hit["score"] for hit in found["hits"]]
        assert scores == sorted(scores, reverse=True)
    packed = await tenant.http.post("/v1/context", json={"query": QUESTION, "sources": sources, "budget_tokens": 2_000})
    assert len(packed.json()["items"]) + len(packed.json()["dropped"]) == 7


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"sources": [{"kb": "handbook"}], "spaces": ["default"]}, "not both"),
        ({"sources": [{"kb": "handbook"}, {"kb": "handbook@1"}]}, "twice"),
        ({"sources": [{"space": "default"}, {"space": "default", "limit": 3}]}, "twice"),
        ({"sources": [{"kb": "handbook"}], "filters": {"user_id": "maya"}}, "no space"),
        ({"sources": [{"kb": "handbook"}], "as_of": "2024-01-01T00:00:00Z"}, "no space"),
        ({"sources": []}, "sources"),
        ({"sources": [{}]}, "kb"),
        ({"sources": ["handbook"]}, "sources"),
        ({"sources": [{"kb": "handbook", "space": "default"}]}, "kb"),
        ({"sources": [{"kb": "Hand book"}]}, "kb"),
        ({"sources": [{"kb": "handbook@"}]}, "kb"),
        ({"sources": [{"kb": f"handbook@{10**15}"}]}, "kb"),
        ({"sources": [{"kb": "handbook", "filters": {"document_ids": ["a\0"]}}]}, "document_ids"),
        ({"sources": [{"kb": "handbook", "filters": {"metadata": {"a": "\0"}}}]}, "metadata"),
        ({"sources": [{"kb": "handbook", "limit": 0}]}, "limit"),
        ({"sources": [{"kb": f"kb{n}"} for n in range(11)]}, "sources"),
    ],
)
async def test_what_sources_may_not_say(tenant: Tenant, handbook: Bookcase, body: dict[str, object], said: str) -> None:
    for path in ("/v1/recall", "/v1/context"):
        answer = await tenant.http.post(path, json={"query": QUESTION, **body})
        assert answer.status_code == 422
        assert said in answer.text


async def test_an_unknown_space_or_knowledge_base_is_not_found(tenant: Tenant, handbook: Bookcase) -> None:
    for source, code in (({"space": "nowhere"}, "space_not_found"), ({"kb": "nothing"}, "not_found")):
        answer = await tenant.http.post("/v1/recall", json={"query": QUESTION, "sources": [{"kb": "handbook"}, source]})
        assert (answer.status_code, answer.json()["code"]) == (404, code)


async def _packed(http: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    answer = await http.post("/v1/context", json={"query": QUESTION, **fields})
    assert answer.status_code == 200, answer.text
    packed: dict[str, Any] = answer.json()
    return packed


async def test_chunks_are_packed_beside_memories(tenant: Tenant, handbook: Bookcase) -> None:
    await tenant.remember("Maya is on parental leave until May.", event_time="2024-02-03T00:00:00Z")
    sources = [{"kb": "handbook"}, {"space": "default"}]
    packed = await _packed(tenant.http, sources=sources, budget_tokens=600, explain=True)
    assert packed["used_tokens"] <= 600
    assert "\n# Employee handbook, Leave › Parental leave, page 12\n" in packed["text"]
    assert "\n# Travel policy, Trains\n" in packed["text"]
    assert "\n# 3 February 2024\n" in packed["text"]
    cited = {item["external_id"]: item for item in packed["items"]}["travel.md"]
    assert cited["section"] == "knowledge"
    assert cited["knowledge"]["kb"] == "handbook"
    assert cited["knowledge"]["span"] == [0, len(TRAVEL.parts[0].text)]
    assert cited["explain"]["arms"]
    memory = next(item for item in packed["items"] if item["section"] == "episodic")
    assert memory["knowledge"] is None
    for form in ("json", "messages"):
        other = await _packed(tenant.http, sources=sources, budget_tokens=600, format=form)
        assert "Employee handbook, Leave › Parental leave, page 12" in other["text"]
        assert other["used_tokens"] <= 600


async def test_a_section_budget_keeps_room_for_knowledge(tenant: Tenant, bookcase: Make) -> None:
    made = await bookcase("garden")
    await made.publish({"d": Doc("Garden", (Part("Roses want sun. " * 3, ("Roses",)),))})
    await tenant.remember(*(f"Parental leave of person {n} is {n + 2} weeks long." for n in range(40)))
    sources = [{"kb": "garden"}, {"space": "default"}]
    without = await _packed(tenant.http, sources=sources, budget_tokens=250)
    kept = await _packed(tenant.http, sources=sources, budget_tokens=250, sections={"knowledge": 100})
    assert "Roses" not in without["text"]
    assert "# knowledge, Garden, Roses" in kept["text"]


async def test_a_handle_shows_the_chunk_and_then_its_section(tenant: Tenant, bookcase: Make) -> None:
    about = " ".join(f"Rule {n}: everybody asks the office in writing before day {n}." for n in range(30))
    parts = (Part(f"Parental leave is sixteen weeks. {about}", ("Leave",), 3), Part("Then comes the end of it.", ("Leave",), 4))
    made = await bookcase("rules")
    await made.publish({"rules.md": Doc("Rules", parts)})
    packed = await _packed(tenant.http, sources=[{"kb": "rules", "limit": 1}], budget_tokens=110)
    (item,) = packed["items"]
    assert item["rendition"] in {"gist", "excerpt"}
    # The live version moves on; the handle means the one that was shown.
    await made.publish({"rules.md": Doc("Rules", (Part("There are no rules.", ()),))})
    whole = await tenant.http.post("/v1/context/expand", json={"handle": item["handle"], "budget_tokens": 2_000})
    (chunk,) = whole.json()["items"]
    assert chunk["rendition"] == "full"
    assert "Rule 29" in whole.json()["text"]
    assert "Then comes" not in whole.json()["text"]
    assert (chunk["knowledge"]["version"], chunk["knowledge"]["span"]) == (1, [0, len(parts[0].text)])
    section = await tenant.http.post("/v1/context/expand", json={"handle": chunk["handle"], "budget_tokens": 2_000})
    (shown,) = section.json()["items"]
    assert "Then comes the end of it." in section.json()["text"]
    assert "# Rules, Leave, pages 3–4" in section.json()["text"]
    assert shown["knowledge"]["span"] == [0, len(parts[0].text) + 1 + len(parts[1].text)]
    small = await tenant.http.post("/v1/context/expand", json={"handle": chunk["handle"], "budget_tokens": 20})
    assert (small.status_code, small.json()["code"]) == (422, "budget_too_small")
    await made.collect()
    gone = await tenant.http.post("/v1/context/expand", json={"handle": item["handle"]})
    assert (gone.status_code, gone.json()["code"]) == (410, "version_gone")


async def test_a_section_is_shown_around_the_chunk_that_was_found(tenant: Tenant, bookcase: Make) -> None:
    about = " ".join(f"Rule {n}: everybody asks the office in writing before day {n}." for n in range(60))
    found = "A dog may lie under the desk of whoever brought it."
    await (await bookcase("rules")).publish(
        {"rules.md": Doc("Rules", tuple(Part(text, ("Rules",)) for text in (about, found, about)))}
    )
    sources = [{"kb": "rules", "limit": 1}]
    (item,) = (await _packed(tenant.http, query="bringing pets", sources=sources, arms=["dense"], budget_tokens=60))["items"]
    assert item["spans"] == [[0, len(found)]]
    section = await tenant.http.post("/v1/context/expand", json={"handle": item["handle"], "budget_tokens": 300})
    assert section.json()["items"][0]["rendition"] == "excerpt"
    assert found in section.json()["text"]
