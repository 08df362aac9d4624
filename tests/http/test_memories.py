"""Writing, reading, changing and forgetting, through the API."""

import asyncio
from uuid import uuid4

import pytest

from tests.http.conftest import Tenant

LONG = " ".join(f"Paragraph {n} speaks of harbours, herons and number {n * 7919}." for n in range(400))


async def test_the_next_recall_finds_what_was_written(tenant: Tenant) -> None:
    for n in range(5):
        (memory,) = await tenant.remember(f"locker {n} opens with the word zebra{n}")
        hits = (await tenant.recall(f"zebra{n}"))["hits"]
        assert hits[0]["id"] == memory


async def test_every_field_comes_back(tenant: Tenant) -> None:
    sent = {
        "text": "Maya is allergic to hazelnuts.",
        "space": "family",
        "kind": "preference",
        "user_id": "maya",
        "agent_id": "cook",
        "session_id": "s-1",
        "event_time": "2025-03-01T10:00:00+02:00",
        "valid_from": "2025-01-01T00:00:00Z",
        "valid_to": "2030-01-01T00:00:00Z",
        "topics": ["health", "food"],
        "confidence": 0.8,
        "source": {"type": "note", "uri": "https://example.org/1"},
        "metadata": {"a": {"b": [1, None, "ü"]}, "n": 1.5},
        "external_id": "x-1",
    }
    answer = await tenant.http.post("/v1/memories", json={"memories": [sent]})
    memory = answer.json()["results"][0]
    assert memory["status"] == "created"
    got = await tenant.http.get(f"/v1/memories/{memory['id']}")
    assert got.headers["etag"] == '"1"'
    body = got.json()
    for name in ("text", "space", "kind", "user_id", "agent_id", "session_id", "topics", "confidence", "source", "metadata"):
        assert body[name] == sent[name], name
    assert body["event_time"] == "2025-03-01T08:00:00Z"
    assert (body["revision"], body["external_id"]) == (1, "x-1")


async def test_messages_become_episodic_turns(tenant: Tenant) -> None:
    body = {
        "messages": [
            {"role": "user", "name": "Caroline", "content": "I adopted a greyhound.", "event_time": "2025-05-08T13:56:00Z"},
            {"role": "assistant", "content": "Congratulations!"},
        ],
        "session_id": "s1",
        "event_time": "2025-05-08T14:00:00Z",
    }
    answer = await tenant.http.post("/v1/memories", json=body)
    first, second = [one["id"] for one in answer.json()["results"]]
    one = (await tenant.http.get(f"/v1/memories/{first}")).json()
    two = (await tenant.http.get(f"/v1/memories/{second}")).json()
    assert (one["kind"], one["speaker"], one["text"]) == ("episodic", "Caroline", "I adopted a greyhound.")
    assert (two["speaker"], two["event_time"]) == ("assistant", "2025-05-08T14:00:00Z")


async def test_duplicates_are_recognised(tenant: Tenant) -> None:
    thanks = {"text": "thanks!", "session_id": "s", "event_time": "2025-05-08T10:00:00Z"}
    later = thanks | {"event_time": "2025-05-09T10:00:00Z"}
    body = {"memories": [thanks, thanks, later]}
    results = (await tenant.http.post("/v1/memories", json=body)).json()["results"]
    assert [one["status"] for one in results] == ["created", "duplicate", "created"]
    assert results[0]["id"] == results[1]["id"] != results[2]["id"]
    again = (await tenant.http.post("/v1/memories", json=body)).json()["results"]
    assert [one["status"] for one in again] == ["duplicate"] * 3
    elsewhere = (await tenant.http.post("/v1/memories", json={"memories": [thanks | {"space": "other"}]})).json()
    assert elsewhere["results"][0]["status"] == "created"
    assert len((await tenant.http.get("/v1/memories", params={"space": "default"})).json()["memories"]) == 2


async def test_many_writers_of_the_same_memory_make_one(tenant: Tenant) -> None:
    bodies = [{"memories": [{"text": f"fact {n}", "external_id": f"e{n}"} for n in range(20)]} for _ in range(8)]
    answers = await asyncio.gather(*(tenant.http.post("/v1/memories", json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {201}
    statuses = [one["status"] for answer in answers for one in answer.json()["results"]]
    assert statuses.count("created") == 20
    page = (await tenant.http.get("/v1/memories", params={"limit": 100})).json()
    assert len(page["memories"]) == 20
    ids = {tuple(one["id"] for one in answer.json()["results"]) for answer in answers}
    assert len(ids) == 1


async def test_an_idempotency_key_writes_once(tenant: Tenant) -> None:
    body = {"memories": [{"text": "once only"}]}
    headers = {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(*(tenant.http.post("/v1/memories", json=body, headers=headers) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["results"][0]["status"] == "created"
    reused = await tenant.http.post("/v1/memories", json={"memories": [{"text": "other"}]}, headers=headers)
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")


async def test_idempotent_changes_apply_once(tenant: Tenant) -> None:
    (memory,) = await tenant.remember("the shop closes at six")
    path = f"/v1/memories/{memory}"
    for _ in range(2):
        answer = await tenant.http.patch(path, json={"text": "closes at seven"}, headers={"Idempotency-Key": "p"})
        assert (answer.status_code, answer.json()["revision"]) == (200, 2)
    for _ in range(2):
        answer = await tenant.http.post(f"{path}/revert", json={"revision": 1}, headers={"Idempotency-Key": "r"})
        assert (answer.status_code, answer.json()["revision"]) == (200, 3)
    for _ in range(2):
        assert (await tenant.http.delete(path, headers={"Idempotency-Key": "d"})).status_code == 204
    assert (await tenant.http.delete(path)).status_code == 404


async def test_a_thousand_at_once(tenant: Tenant) -> None:
    body = {"memories": [{"text": f"ledger entry {n} for account {n * 31}"} for n in range(1000)]}
    answer = await tenant.http.post("/v1/memories", json=body)
    assert answer.status_code == 201
    assert len({one["id"] for one in answer.json()["results"]}) == 1000
    assert (await tenant.texts("ledger entry 741"))[0] == "ledger entry 741 for account 22971"
    too_many = await tenant.http.post("/v1/memories", json={"memories": [{"text": "x"}] * 1001})
    assert too_many.status_code == 422


async def test_long_texts_are_found_to_their_last_word(tenant: Tenant) -> None:
    memory, _ = await tenant.remember(LONG + " The last word is quokka.", "unrelated")
    for query in ("quokka", "Paragraph 3 harbours"):
        hit = (await tenant.recall(query))["hits"][0]
        assert hit["id"] == memory
    start, end = (await tenant.recall("what is the last word? quokka"))["hits"][0]["passage"]
    assert "quokka" in (LONG + " The last word is quokka.")[start:end]
    assert end - start < len(LONG) / 2


async def test_patch_makes_a_revision(tenant: Tenant) -> None:
    (memory,) = await tenant.remember("The wedding is on 3 May.", user_id="maya")
    path = f"/v1/memories/{memory}"
    stale = await tenant.http.patch(path, json={"text": "x"}, headers={"If-Match": '"7"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    changed = await tenant.http.patch(
        path, json={"text": "The wedding is on 14 June.", "reason": "venue burnt down"}, headers={"If-Match": '"1"'}
    )
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert changed.json()["user_id"] == "maya"
    assert await tenant.texts("when is the wedding") == ["The wedding is on 14 June."]
    unchanged = await tenant.http.patch(path, json={"text": "The wedding is on 14 June."})
    assert unchanged.json()["revision"] == 2
    cleared = await tenant.http.patch(path, json={"user_id": None})
    assert (cleared.json()["user_id"], cleared.json()["revision"]) == (None, 3)
    assert await tenant.texts("when is the wedding") == ["The wedding is on 14 June."]
    history = (await tenant.http.get(f"{path}/history")).json()["revisions"]
    assert [(one["revision"], one["action"], one["reason"]) for one in history] == [
        (3, "updated", None), (2, "updated", "venue burnt down"), (1, "created", None),
    ]  # fmt: skip
    assert all(one["actor"].startswith("key:") for one in history)
    assert (await tenant.http.patch(path, json={"text": None})).status_code == 422


async def test_concurrent_patches_lose_nothing(tenant: Tenant) -> None:
    (memory,) = await tenant.remember("counter")
    path = f"/v1/memories/{memory}"
    matched = await asyncio.gather(
        *(tenant.http.patch(path, json={"metadata": {"n": n}}, headers={"If-Match": '"1"'}) for n in range(6))
    )
    assert sorted(answer.status_code for answer in matched) == [200] + [412] * 5


async def test_delete_and_revert(tenant: Tenant) -> None:
    (memory,) = await tenant.remember("the spare key is under the fern")
    path = f"/v1/memories/{memory}"
    assert (await tenant.http.delete(path, params={"reason": "moved"})).status_code == 204
    assert (await tenant.http.get(path)).status_code == 404
    assert await tenant.texts("spare key fern") == []
    assert (await tenant.http.get("/v1/memories")).json()["memories"] == []
    history = (await tenant.http.get(f"{path}/history")).json()["revisions"]
    assert [one["action"] for one in history] == ["deleted", "created"]
    assert (await tenant.http.post(f"{path}/revert", json={"revision": 2})).status_code == 404
    back = await tenant.http.post(f"{path}/revert", json={"revision": 1, "reason": "it was there after all"})
    assert (back.status_code, back.json()["revision"]) == (200, 3)
    assert await tenant.texts("spare key fern") == ["the spare key is under the fern"]


async def test_a_deleted_memory_can_be_said_again(tenant: Tenant) -> None:
    (memory,) = await tenant.remember("we meet on Mondays", kind="semantic")
    await tenant.http.delete(f"/v1/memories/{memory}")
    (again,) = await tenant.remember("we meet on Mondays", kind="semantic")
    assert again != memory
    back = await tenant.http.post(f"/v1/memories/{memory}/revert", json={"revision": 1})
    assert (back.status_code, back.json()["code"]) == (409, "already_exists")


async def test_purge_leaves_nothing(tenant: Tenant) -> None:
    (memory,) = await tenant.remember("the safe word is gorgonzola", topics=["secret"], metadata={"level": 3})
    path = f"/v1/memories/{memory}"
    await tenant.http.patch(path, json={"text": "the safe word is mascarpone"})
    assert (await tenant.http.delete(path, params={"purge": True})).status_code == 204
    assert (await tenant.http.get(f"{path}/history")).status_code == 404
    assert await tenant.texts("gorgonzola mascarpone safe word") == []
    assert (await tenant.http.delete(path, params={"purge": True})).status_code == 404
    assert (await tenant.http.post(f"{path}/revert", json={"revision": 1})).status_code == 404


async def test_supersession_closes_the_old_and_keeps_it_as_history(tenant: Tenant) -> None:
    (paris,) = await tenant.remember("Jonas lives in Paris.", kind="semantic", valid_from="2020-01-01T00:00:00Z")
    (rome,) = await tenant.remember("Jonas lives in Rome.", kind="semantic", valid_from="2024-06-01T00:00:00Z", supersedes=paris)
    assert await tenant.texts("where does Jonas live") == ["Jonas lives in Rome."]
    assert await tenant.texts("where does Jonas live", as_of="2022-01-01T00:00:00Z") == ["Jonas lives in Paris."]
    assert await tenant.texts("where does Jonas live", as_of="2025-01-01T00:00:00Z") == ["Jonas lives in Rome."]
    assert await tenant.texts("where does Jonas live", as_of="2019-01-01T00:00:00Z") == []
    old = (await tenant.http.get(f"/v1/memories/{paris}")).json()
    assert (old["superseded_by"], old["valid_to"]) == (rome, "2024-06-01T00:00:00Z")
    twice = await tenant.http.post("/v1/memories", json={"memories": [{"text": "Jonas lives in Oslo.", "supersedes": paris}]})
    assert (twice.status_code, twice.json()["code"]) == (409, "conflict")
    assert await tenant.texts("Jonas Oslo") == ["Jonas lives in Rome."]
    undone = await tenant.http.post(f"/v1/memories/{paris}/revert", json={"revision": 1})
    assert undone.status_code == 200
    assert set(await tenant.texts("where does Jonas live")) == {"Jonas lives in Rome.", "Jonas lives in Paris."}


async def test_back_in_rome(tenant: Tenant) -> None:
    """What was superseded can become true again; with no times given, each is true from when it was said."""
    (rome,) = await tenant.remember("Ada lives in Rome.", kind="semantic")
    said = (await tenant.http.get(f"/v1/memories/{rome}")).json()["created_at"]
    (oslo,) = await tenant.remember("Ada lives in Oslo.", kind="semantic", supersedes=rome)
    assert await tenant.texts("where does Ada live", as_of=said) == ["Ada lives in Rome."]
    (again,) = await tenant.remember("Ada lives in Rome.", kind="semantic", supersedes=oslo)
    assert again != rome
    assert await tenant.texts("where does Ada live") == ["Ada lives in Rome."]


async def test_writers_and_deleters_leave_nothing_unfindable(tenant: Tenant) -> None:
    """A memory that is created while its like is being deleted is indexed, or is refused: never stored and not found."""
    for n in range(8):
        (old,) = await tenant.remember(f"beacon{n} is lit", kind="semantic")
        write, _ = await asyncio.gather(
            tenant.http.post("/v1/memories", json={"memories": [{"text": f"beacon{n} is lit", "kind": "semantic"}]}),
            tenant.http.delete(f"/v1/memories/{old}"),
        )
        assert write.status_code in {201, 409}
        if write.status_code == 201:
            (result,) = write.json()["results"]
            alive = (await tenant.http.get(f"/v1/memories/{result['id']}")).status_code == 200
            assert alive == (f"beacon{n} is lit" in await tenant.texts(f"beacon{n}"))


async def test_known_at_sees_what_was_known(tenant: Tenant) -> None:
    (memory,) = await tenant.remember("The budget is 4000 euros.")
    path = f"/v1/memories/{memory}"
    first = (await tenant.http.get(path)).json()["updated_at"]
    await tenant.http.patch(path, json={"text": "The budget is 5500 euros."})
    second = (await tenant.http.get(path)).json()["updated_at"]
    await tenant.http.delete(path)
    assert await tenant.texts("what is the budget") == []
    assert await tenant.texts("what is the budget", known_at=first) == ["The budget is 4000 euros."]
    assert await tenant.texts("what is the budget", known_at=second) == ["The budget is 5500 euros."]
    assert await tenant.texts("what is the budget", known_at="2020-01-01T00:00:00Z") == []
    await tenant.http.post(f"{path}/revert", json={"revision": 2})
    assert await tenant.texts("what is the budget") == ["The budget is 5500 euros."]
    assert await tenant.texts("what is the budget", known_at=first) == ["The budget is 4000 euros."]


async def test_lists_page_in_order_of_arrival(tenant: Tenant) -> None:
    ids = await tenant.remember(*(f"note {n}" for n in range(23)), user_id="u")
    await tenant.remember("someone else's", user_id="v")
    seen: list[str] = []
    params: dict[str, str | int] = {"limit": 10, "user_id": "u"}
    while True:
        page = (await tenant.http.get("/v1/memories", params=params)).json()
        seen += [one["id"] for one in page["memories"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == ids
    assert (await tenant.http.get("/v1/memories", params={"cursor": "!!"})).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"memories": []},
        {"memories": [{"text": ""}]},
        {"memories": [{"text": "  \n"}]},
        {"memories": [{"text": "nul \u0000"}]},
        {"memories": [{"text": "x" * 200_001}]},
        {"memories": [{"text": "x", "unknown": 1}]},
        {"memories": [{"text": "x", "kind": "dream"}]},
        {"memories": [{"text": "x", "event_time": "2025-01-01T00:00:00"}]},
        {"memories": [{"text": "x", "event_time": "yesterday"}]},
        {"memories": [{"text": "x", "event_time": 1_700_000_000}]},
        {"memories": [{"text": "x", "event_time": "1700000000"}]},
        {"memories": [{"text": "x", "confidence": True}]},
        {"memories": [{"text": "x", "confidence": "1"}]},
        {"memories": [{"text": "x", "valid_from": "2025-01-02T00:00:00Z", "valid_to": "2025-01-01T00:00:00Z"}]},
        {"memories": [{"text": "x", "confidence": 1.5}]},
        {"memories": [{"text": "x", "metadata": {"a": "x" * 20_000}}]},
        {"memories": [{"text": "x", "metadata": {"a": [[[[[[[[[1]]]]]]]]]}}]},
        {"memories": [{"text": "x", "metadata": {"a\u0000": 1}}]},
        {"memories": [{"text": "x", "space": "no/slash"}]},
        {"memories": [{"text": "x", "topics": ["t"] * 33}]},
        {"memories": [{"text": "good"}, {"text": "x", "supersedes": "nope"}]},
        {"messages": [{"role": "oracle", "content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"memories": [{"text": "x"}], "messages": [{"content": "x"}]},
    ],
)
async def test_bad_input_is_refused_and_stores_nothing(tenant: Tenant, body: dict[str, object]) -> None:
    answer = await tenant.http.post("/v1/memories", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid_request"
    assert (await tenant.http.get("/v1/memories")).json()["memories"] == []


async def test_raw_nonsense_is_refused(tenant: Tenant) -> None:
    json = {"content-type": "application/json"}
    for content in (b"{", b"", b"[" * 100_000, b'{"memories": [{"text": "\\ud800"}]}', b"\xff\xfe", b'{"memories": NaN}'):
        answer = await tenant.http.post("/v1/memories", content=content, headers=json)
        assert answer.status_code in {400, 422}, (content[:20], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    large = await tenant.http.post("/v1/memories", content=b" " * (17 * 2**20), headers=json)
    assert (large.status_code, large.json()["code"]) == (413, "payload_too_large")


async def test_unknown_ids(tenant: Tenant) -> None:
    missing = f"/v1/memories/{uuid4()}"
    for answer in (
        await tenant.http.get(missing),
        await tenant.http.patch(missing, json={"text": "x"}),
        await tenant.http.delete(missing),
        await tenant.http.get(f"{missing}/history"),
        await tenant.http.post(f"{missing}/revert", json={"revision": 1}),
        await tenant.http.post("/v1/memories", json={"memories": [{"text": "x", "supersedes": str(uuid4())}]}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await tenant.http.get("/v1/memories")).json()["memories"] == []
