"""Contexts and their handles through the API: what expands to what, and what a deadline leaves."""

from typing import Any
from uuid import uuid4

import pytest
from bpe_openai import get_encoding

from memoryd.memory import context as contexts
from memoryd.stores.revisions import PgMemoryReader
from tests.http.conftest import TURNS, Tenant

FILLER = "The weather that afternoon was mild and nothing much happened in the village. "
LONG = (
    FILLER * 40
    + "Caroline sold her garden in Lisbon to a beekeeper. "
    + FILLER * 60
    + "The mayor opened the bridge. "
    + FILLER * 20
)


async def packed(tenant: Tenant, query: str, budget: int, **fields: object) -> dict[str, Any]:
    answer = await tenant.http.post("/v1/context", json={"query": query, "budget_tokens": budget, **fields})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def expanded(tenant: Tenant, handle: str, budget: int = 400) -> tuple[int, dict[str, Any]]:
    answer = await tenant.http.post("/v1/context/expand", json={"handle": handle, "budget_tokens": budget})
    body: dict[str, Any] = answer.json()
    return answer.status_code, body


def shown_chars(item: dict[str, Any]) -> int:
    return sum(end - start for start, end in item["spans"])


async def test_each_expansion_shows_more_until_there_is_no_more(tenant: Tenant) -> None:
    await tenant.remember(LONG)
    (item,) = (await packed(tenant, "Who bought the garden in Lisbon?", 50))["items"]
    assert item["rendition"] == "gist"
    seen = [shown_chars(item)]
    for budget in (200, 400, 800, 3000):
        status, more = await expanded(tenant, item["handle"], budget)
        assert status == 200, more
        assert more["used_tokens"] <= budget
        (item,) = more["items"]
        assert "sold her garden in Lisbon" in more["text"], "what is shown stays around what was asked"
        seen.append(shown_chars(item))
    assert seen == sorted(set(seen))
    assert (item["rendition"], seen[-1]) == ("full", len(LONG.strip()))


async def test_the_passage_that_was_found_by_its_meaning_is_what_is_shown(tenant: Tenant) -> None:
    (memory,) = await tenant.remember(f"{FILLER * 50}Our greyhound broke his leg, and the vet put it in plaster. {FILLER * 50}")
    (hit,) = (await tenant.recall("pet injuries", arms=["dense"]))["hits"]
    start, end = hit["passage"]
    assert start > 1_000
    for fields in ({}, {"must_include": [memory]}):
        (item,) = (await packed(tenant, "pet injuries", 250, arms=["dense"], **fields))["items"]
        (first,) = item["spans"]
        assert start <= first[0] < first[1] <= end
        seen = [shown_chars(item)]
        for budget in (400, 1000):
            status, more = await expanded(tenant, item["handle"], budget)
            assert status == 200, more
            (item,) = more["items"]
            assert any(a <= first[0] and first[1] <= b for a, b in item["spans"])
            seen.append(shown_chars(item))
        assert seen == sorted(seen)
        assert seen[-1] > 3 * seen[0]


async def test_the_same_is_not_shown_again_when_the_budget_holds_no_more(tenant: Tenant) -> None:
    await tenant.remember(LONG)
    (item,) = (await packed(tenant, "Who bought the garden in Lisbon?", 250))["items"]
    assert item["rendition"] == "excerpt"
    status, problem = await expanded(tenant, item["handle"], 100)
    assert (status, problem["code"]) == (422, "budget_too_small")
    needed = int(problem["detail"].split(" tokens")[0].rsplit(" ", 1)[1])
    status, more = await expanded(tenant, item["handle"], needed)
    assert (status, more["used_tokens"]) == (200, needed)
    assert (await expanded(tenant, item["handle"], needed - 1))[0] == 422


async def test_a_full_turn_expands_to_those_around_it_even_when_only_they_fit(tenant: Tenant) -> None:
    said = ["We met at the fountain.", "Then the greyhound " + "barked and " * 60 + "slept.", "I was glad of it."]
    for text in said:
        await tenant.remember(text, session_id="walk", user_id="ann")
    body = await packed(tenant, "greyhound", 300)
    item = next(one for one in body["items"] if "greyhound" in said[1] and shown_chars(one) > 100)
    assert item["rendition"] == "full"
    _, roomy = await expanded(tenant, item["handle"], 400)
    assert len(roomy["items"]) == 3
    _, tight = await expanded(tenant, item["handle"], 60)
    assert "fountain" in tight["text"]
    assert "glad" in tight["text"]


async def test_a_chat_that_arrived_in_another_order_is_read_in_its_own(tenant: Tenant) -> None:
    said = [f"Turn {n} of the walk with the greyhound." for n in "abcdefg"]
    for minute in (3, 6, 0, 5, 1, 4, 2):
        await tenant.remember(said[minute], session_id="walk", event_time=f"2024-05-04T10:0{minute}:00Z")
    body = await packed(tenant, "greyhound", 400, order="chronological")
    assert [line.split(" ", 1)[1] for line in body["text"].splitlines() if line[0].isdigit()] == said
    middle = next(line.split()[0] for line in body["text"].splitlines() if "Turn d" in line)
    handle = next(one["handle"] for one in body["items"] if one["citation"] == int(middle))
    _, more = await expanded(tenant, handle, 55)
    shown = [line.split(" ", 1)[1] for line in more["text"].splitlines() if line[0].isdigit()]
    assert said[2:5] == shown, "the turns beside it"


async def test_a_handle_expands_to_the_revision_that_was_shown(tenant: Tenant) -> None:
    (memory,) = await tenant.remember(LONG)
    (now,) = (await packed(tenant, "garden in Lisbon", 60))["items"]
    before = (await tenant.http.get(f"/v1/memories/{memory}")).json()["updated_at"]
    patch = await tenant.http.patch(f"/v1/memories/{memory}", json={"text": LONG.replace("a beekeeper", "a notary")})
    assert patch.status_code == 200
    (then,) = (await packed(tenant, "garden in Lisbon", 60, known_at=before))["items"]
    (new,) = (await packed(tenant, "garden in Lisbon", 60))["items"]
    for handle, buyer in ((now["handle"], "beekeeper"), (then["handle"], "beekeeper"), (new["handle"], "notary")):
        status, more = await expanded(tenant, handle, 3000)
        assert (status, buyer in more["text"]) == (200, True)
    await tenant.http.delete(f"/v1/memories/{memory}")
    assert [(await expanded(tenant, one["handle"], 3000))[0] for one in (now, then, new)] == [404, 200, 404]
    await tenant.http.delete(f"/v1/memories/{memory}", params={"purge": True})
    assert [(await expanded(tenant, one["handle"], 3000))[0] for one in (now, then, new)] == [404, 404, 404]


async def test_the_turns_around_are_those_of_that_time(tenant: Tenant) -> None:
    at = "2024-05-04T10:00:00Z"
    (turn,) = await tenant.remember("Biscuit the greyhound ran.", session_id="s", event_time=at)
    (other,) = await tenant.remember("It was raining.", session_id="s", event_time=at)
    known = (await tenant.http.get(f"/v1/memories/{other}")).json()["updated_at"]
    await tenant.http.patch(f"/v1/memories/{other}", json={"text": "It was snowing."})
    await tenant.remember("Nobody had said this yet.", session_id="s", event_time=at)

    async def around(**fields: object) -> str:
        items = (await packed(tenant, "greyhound", 200, **fields))["items"]
        item = next(one for one in items if one["id"] == turn)
        status, more = await expanded(tenant, item["handle"])
        assert status == 200
        text: str = more["text"]
        return text

    now, then = await around(), await around(known_at=known)
    assert ("snowing" in now, "raining" in now, "Nobody" in now) == (True, False, True)
    assert ("snowing" in then, "raining" in then, "Nobody" in then) == (False, True, False)
    assert "snowing" in await around(as_of="2025-01-01T00:00:00Z")


async def test_must_include_is_read_at_once_and_as_it_was(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await tenant.remember(*(f"Rule {n}: be brief." for n in range(50)), kind="procedural")
    known = (await tenant.http.get(f"/v1/memories/{ids[0]}")).json()["updated_at"]
    await tenant.http.patch(f"/v1/memories/{ids[0]}", json={"text": "Rule 0: be long."})
    asked: list[int] = []
    get_many = PgMemoryReader.get_many

    async def counted(self: PgMemoryReader, scope: Any, memory_ids: Any, at: Any) -> Any:
        asked.append(len(memory_ids))
        return await get_many(self, scope, memory_ids, at)

    async def refused(*_: object) -> None:
        raise AssertionError("read one by one")

    monkeypatch.setattr(PgMemoryReader, "get_many", counted)
    monkeypatch.setattr(PgMemoryReader, "get", refused)
    body = await packed(tenant, "harbour", 2000, must_include=ids)
    assert {one["id"] for one in body["items"]} == set(ids)
    assert "Rule 0: be long." in body["text"]
    assert asked == [50]
    assert "Rule 0: be brief." in (await packed(tenant, "harbour", 2000, must_include=ids[:1], known_at=known))["text"]
    unknown = {"query": "harbour", "must_include": [*ids[:2], str(uuid4())]}
    assert (await tenant.http.post("/v1/context", json=unknown)).status_code == 404


async def test_what_must_be_in_does_not_flatten_the_ranking_of_the_rest(tenant: Tenant) -> None:
    await tenant.remember(*(f"The harbour of town {n} is quiet in winter and full in summer." for n in range(30)))
    (rule,) = await tenant.remember("Answer in French.", kind="procedural")
    plain = await packed(tenant, "harbour of town 7", 200, fusion="rrf")
    ruled = await packed(tenant, "harbour of town 7", 220, fusion="rrf", must_include=[rule])
    kept = {one["id"] for one in ruled["items"]} - {rule}
    assert len(kept - {one["id"] for one in plain["items"]}) <= 1
    assert next(one["why"] for one in ruled["items"] if one["id"] == rule).startswith("must_include, rank 1")
    best = min(plain["items"], key=lambda one: int(one["why"].split()[1]))
    assert best["id"] in kept


async def test_late_packing_looks_at_fewer_candidates_and_says_so(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    await tenant.remember(*(f"The harbour of town {n} is quiet." for n in range(30)))
    (rule,) = await tenant.remember("Answer in French.", kind="procedural")
    monkeypatch.setattr(contexts, "_MS_A_CANDIDATE", 1e9)
    body = await packed(tenant, "harbour", 1000, deadline_ms=20_000, must_include=[rule])
    assert body["degraded"] == ["packing"]
    assert rule in {one["id"] for one in body["items"]}
    assert sum(one["reason"] == "out_of_time" for one in body["dropped"]) == 20
    assert len(body["items"]) + len(body["dropped"]) == 31
    monkeypatch.undo()
    assert (await packed(tenant, "harbour", 1000, deadline_ms=20_000))["degraded"] == []


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


async def test_facts_of_two_users_are_both_shown_with_whom_they_are_about(tenant: Tenant) -> None:
    for user in ("alice", "bob"):
        await tenant.remember("Is allergic to peanuts.", user_id=user, kind="semantic")
    both = await packed(tenant, "peanuts", 300)
    assert sorted(one["user_id"] for one in both["items"]) == ["alice", "bob"]
    assert both["dropped"] == []
    assert all(f"# user {user}, undated\n" in both["text"] for user in ("alice", "bob"))
    hers = await packed(tenant, "peanuts", 300, filters={"user_id": "alice"})
    assert hers["items"][0]["user_id"] == "alice"
    assert "alice" not in hers["text"]


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
