"""Repeated requests, supersession of what was there already, conditional changes: the edges of writing."""

import asyncio

import pytest

from memoryd.access.service import MAX_NEW_SPACES
from tests.http.conftest import Tenant


async def test_a_repeated_patch_is_answered_the_same_whatever_happened_since(tenant: Tenant) -> None:
    (memory,) = await tenant.remember("the shop closes at six")
    path, once = f"/v1/memories/{memory}", {"Idempotency-Key": "p"}
    first = await tenant.http.patch(path, json={"text": "closes at seven"}, headers=once)
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    await tenant.http.patch(path, json={"text": "closes at eight"})
    await tenant.http.delete(path)
    again = await tenant.http.patch(path, json={"text": "closes at seven"}, headers=once)
    assert (again.status_code, again.headers["etag"], again.json()) == (200, '"2"', first.json())
    await tenant.http.delete(path, params={"purge": True})
    gone = await tenant.http.patch(path, json={"text": "closes at seven"}, headers=once)
    assert gone.status_code == 404, "what was purged is in no receipt either"


async def test_a_repeated_revert_is_answered_the_same(tenant: Tenant) -> None:
    (memory,) = await tenant.remember("the shop closes at six")
    path, once = f"/v1/memories/{memory}", {"Idempotency-Key": "r"}
    await tenant.http.patch(path, json={"text": "closes at seven"})
    first = await tenant.http.post(f"{path}/revert", json={"revision": 1}, headers=once)
    await tenant.http.delete(path)
    again = await tenant.http.post(f"{path}/revert", json={"revision": 1}, headers=once)
    assert (again.status_code, again.json()) == (200, first.json())


async def test_a_patch_that_changes_nothing_keeps_its_receipt(tenant: Tenant) -> None:
    (memory,) = await tenant.remember("open on Mondays")
    path, once = f"/v1/memories/{memory}", {"Idempotency-Key": "n"}
    first = await tenant.http.patch(path, json={"text": "open on Mondays"}, headers=once)
    assert (first.status_code, first.json()["revision"]) == (200, 1)
    await tenant.http.patch(path, json={"text": "open on Tuesdays"})
    again = await tenant.http.patch(path, json={"text": "open on Mondays"}, headers=once)
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await tenant.http.get(path)).json()["text"] == "open on Tuesdays"
    reused = await tenant.http.patch(path, json={"text": "other"}, headers=once)
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")


async def test_racing_patches_with_keys_all_apply_once(tenant: Tenant) -> None:
    """One that finds the memory moved on begins again; its key must not stay reserved without an answer."""
    (memory,) = await tenant.remember("counter")
    path = f"/v1/memories/{memory}"
    answers = await asyncio.gather(
        *(tenant.http.patch(path, json={"metadata": {"n": n}}, headers={"Idempotency-Key": f"k{n}"}) for n in range(3))
    )
    assert [answer.status_code for answer in answers] == [200] * 3
    assert sorted(answer.json()["revision"] for answer in answers) == [2, 3, 4]


async def test_a_duplicate_supersedes_what_it_names(tenant: Tenant) -> None:
    (oslo,) = await tenant.remember("Ada lives in Oslo.", kind="semantic")
    (rome,) = await tenant.remember("Ada lives in Rome.", kind="semantic")
    body = {"memories": [{"text": "Ada lives in Rome.", "kind": "semantic", "supersedes": oslo}]}
    for _ in range(2):  # the second time it is done already
        answer = await tenant.http.post("/v1/memories", json=body)
        assert (answer.status_code, answer.json()["results"][0]) == (
            201,
            {"id": rome, "external_id": None, "status": "duplicate"},
        )
        assert (await tenant.http.get(f"/v1/memories/{oslo}")).json()["superseded_by"] == rome
        assert await tenant.texts("where does Ada live") == ["Ada lives in Rome."]
    history = (await tenant.http.get(f"/v1/memories/{oslo}/history")).json()["revisions"]
    assert [one["action"] for one in history] == ["superseded", "created"]


async def test_a_duplicate_cannot_supersede_itself_or_its_own_successor(tenant: Tenant) -> None:
    (old,) = await tenant.remember("Ada lives in Oslo.", external_id="home-1")
    (new,) = await tenant.remember("Ada lives in Rome.", external_id="home-2", supersedes=old)
    for sent in (
        {"text": "Ada lives in Rome.", "external_id": "home-2", "supersedes": new},
        {"text": "Ada lives in Oslo.", "external_id": "home-1", "supersedes": new},
    ):
        answer = await tenant.http.post("/v1/memories", json={"memories": [sent]})
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), answer.text
    assert await tenant.texts("where does Ada live") == ["Ada lives in Rome."]


async def test_what_was_superseded_before_it_began_can_still_be_changed(tenant: Tenant) -> None:
    (old,) = await tenant.remember("The museum is open.", kind="semantic", valid_from="2024-01-01T00:00:00Z")
    await tenant.remember("The museum is closed.", kind="semantic", valid_from="2020-01-01T00:00:00Z", supersedes=old)
    path = f"/v1/memories/{old}"
    changed = await tenant.http.patch(path, json={"topics": ["museum"]})
    assert (changed.status_code, changed.json()["topics"]) == (200, ["museum"]), changed.text
    inverted = await tenant.http.patch(path, json={"valid_to": "2023-01-01T00:00:00Z"})
    assert inverted.status_code == 422
    # It was superseded, so its content can still be said again.
    answer = await tenant.http.post("/v1/memories", json={"memories": [{"text": "The museum is open.", "kind": "semantic"}]})
    assert answer.json()["results"][0]["status"] == "created"


async def test_a_backslash_is_no_nul(tenant: Tenant) -> None:
    metadata = {"code": "\\u0000", "\\u0000": "\\\\u0000 and \\"}
    (memory,) = await tenant.remember("a literal escape: \\u0000", metadata=metadata)
    assert (await tenant.http.get(f"/v1/memories/{memory}")).json()["metadata"] == metadata
    assert await tenant.texts("escape", filters={"metadata": {"code": "\\u0000"}}) == ["a literal escape: \\u0000"]
    for text in ("\0", "\\\0", "\\\\\0"):
        answer = await tenant.http.post("/v1/memories", json={"memories": [{"text": "x", "metadata": {"a": text}}]})
        assert answer.status_code == 422, text


async def test_a_trailing_slash_is_another_path(tenant: Tenant) -> None:
    for method in ("GET", "POST", "PATCH"):
        answer = await tenant.http.request(method, "/v1/memories/")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("*", 200),
        ('"1"', 200),
        ('"7", "1"', 200),
        ('"abc",,"1" , "9,9"', 200),
        ('"7", "8"', 412),
        ('"abc"', 412),
        ('W/"1"', 412),
        ('"1" x', 422),
        ("1", 422),
        ('"1', 422),
        (",", 422),
    ],
)
async def test_if_match_is_a_list_of_tags_or_a_star(tenant: Tenant, value: str, status: int) -> None:
    (memory,) = await tenant.remember("to change")
    answer = await tenant.http.patch(f"/v1/memories/{memory}", json={"text": "changed"}, headers={"If-Match": value})
    assert answer.status_code == status, answer.text


async def test_if_match_may_come_in_several_lines(tenant: Tenant) -> None:
    (memory,) = await tenant.remember("to change")
    lines = [("If-Match", '"7"'), ("If-Match", '"1"')]
    answer = await tenant.http.patch(f"/v1/memories/{memory}", json={"text": "changed"}, headers=lines)
    assert answer.status_code == 200, answer.text


async def test_one_write_makes_a_hundred_spaces_and_no_more(tenant: Tenant) -> None:
    def body(count: int) -> dict[str, object]:
        return {"memories": [{"text": f"note {n}", "space": f"s{n}"} for n in range(count)]}

    refused = await tenant.http.post("/v1/memories", json=body(MAX_NEW_SPACES + 1))
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert str(MAX_NEW_SPACES) in refused.json()["detail"]
    assert len((await tenant.http.get("/v1/spaces")).json()["spaces"]) == 1, "only the default: nothing was made"
    answers = await asyncio.gather(*(tenant.http.post("/v1/memories", json=body(MAX_NEW_SPACES)) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [201] * 3
    assert (await tenant.http.post("/v1/memories", json=body(MAX_NEW_SPACES + 1))).status_code == 201, "one new space"
