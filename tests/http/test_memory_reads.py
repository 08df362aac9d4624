"""Lists, single memories and histories: with a recall's filters, and at another moment."""

import pytest

from memoryd.http import pages
from tests.http.conftest import Tenant

Params = dict[str, str | list[str]]


async def _listed(tenant: Tenant, **params: str | list[str]) -> list[str]:
    """Texts, page by page, two at a time."""
    texts: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await tenant.http.get("/v1/memories", params={"limit": "2", **params, **cursor})
        assert answer.status_code == 200, answer.text
        texts += [one["text"] for one in answer.json()["memories"]]
        if answer.json()["next_cursor"] is None:
            return texts
        cursor = {"cursor": answer.json()["next_cursor"]}


async def _changed(tenant: Tenant) -> tuple[str, dict[str, str]]:
    """A memory with three revisions, and the time of each."""
    (memory,) = await tenant.remember("The budget is 4000 euros.", topics=["money"])
    path = f"/v1/memories/{memory}"
    times = {"first": (await tenant.http.get(path)).json()["updated_at"]}
    times["second"] = (await tenant.http.patch(path, json={"text": "The budget is 5500 euros."})).json()["updated_at"]
    await tenant.http.delete(path)
    times["deleted"] = (await tenant.http.get(f"{path}/history")).json()["revisions"][0]["updated_at"]
    return path, times


FILTERED: list[tuple[Params, list[str]]] = [
    ({"kind": "semantic"}, ["b"]),
    ({"kind": ["semantic", "preference"]}, ["b", "c"]),
    ({"source_type": ["note", "web"]}, ["a", "c"]),
    ({"topics_any": ["x", "z"]}, ["a", "c"]),
    ({"topics_all": ["x", "y"]}, ["a"]),
    ({"min_confidence": "0.6"}, ["a", "b"]),
    ({"metadata.n": "1"}, ["a"]),
    ({"metadata.n": '"1"'}, ["b"]),
    ({"metadata.flag": "true"}, ["c"]),
    ({"metadata.who": "Ada Lovelace", "metadata.n": "1"}, ["a"]),
    ({"user_id": "u", "agent_id": "g", "session_id": "s"}, ["c"]),
    ({"event_after": "2025-02-01T00:00:00Z", "event_before": "2025-04-01T00:00:00Z"}, ["b"]),
]


async def _shelf(tenant: Tenant) -> None:
    await tenant.remember(
        "a",
        topics=["x", "y"],
        source={"type": "note"},
        metadata={"n": 1, "who": "Ada Lovelace"},
        event_time="2025-01-01T00:00:00Z",
    )
    await tenant.remember("b", kind="semantic", confidence=0.6, metadata={"n": "1"}, event_time="2025-03-01T00:00:00Z")
    await tenant.remember(
        "c",
        kind="preference",
        topics=["z"],
        source={"type": "web"},
        confidence=0.3,
        metadata={"flag": True},
        user_id="u",
        agent_id="g",
        session_id="s",
    )


async def test_a_list_takes_the_filters_of_a_recall(tenant: Tenant) -> None:
    await _shelf(tenant)
    for params, expected in FILTERED:
        assert await _listed(tenant, **params) == expected, params


async def test_created_is_when_the_memory_was_made_and_not_its_revision(tenant: Tenant) -> None:
    (old,) = await tenant.remember("the old lighthouse")
    (new,) = await tenant.remember("the new lighthouse")
    made = (await tenant.http.get(f"/v1/memories/{new}")).json()["created_at"]
    await tenant.http.patch(f"/v1/memories/{old}", json={"topics": ["sea"]})
    assert await _listed(tenant, created_before=made) == ["the old lighthouse"]
    assert await _listed(tenant, created_after=made) == ["the new lighthouse"]
    assert await tenant.texts("lighthouse", filters={"created_before": made}) == ["the old lighthouse"]
    assert await tenant.texts("lighthouse", filters={"created_after": made}) == ["the new lighthouse"]


@pytest.mark.parametrize(
    "params",
    [
        {"kind": "dream"},
        {"min_confidence": "2"},
        {"known_at": "yesterday"},
        {"as_of": "2025-01-01T00:00:00"},
        {"metadata.": "x"},
        {"metadata.n": ["1", "2"]},
        {"metadata.n": "1e999"},
        {"metadata.n": "a\0"},
        {"topics_any": [f"t{n}" for n in range(33)]},
        {f"metadata.{n}": "1" for n in range(17)},
    ],
)
async def test_bad_filters_are_refused(tenant: Tenant, params: Params) -> None:
    answer = await tenant.http.get("/v1/memories", params=params)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text


async def test_a_memory_and_its_history_as_they_were_known(tenant: Tenant) -> None:
    path, times = await _changed(tenant)
    assert (await tenant.http.get(path)).status_code == 404
    first = await tenant.http.get(path, params={"known_at": times["first"]})
    assert (first.json()["text"], first.headers["etag"]) == ("The budget is 4000 euros.", '"1"')
    assert (await tenant.http.get(path, params={"known_at": times["second"]})).json()["text"] == "The budget is 5500 euros."
    for gone in (times["deleted"], "2020-01-01T00:00:00Z"):
        assert (await tenant.http.get(path, params={"known_at": gone})).status_code == 404
    history = (await tenant.http.get(f"{path}/history", params={"known_at": times["second"]})).json()["revisions"]
    assert [(one["revision"], one["retired_at"] is None) for one in history] == [(2, True), (1, False)]
    assert (await tenant.http.get(f"{path}/history", params={"known_at": "2020-01-01T00:00:00Z"})).status_code == 404


async def test_a_memory_and_its_history_as_of_a_time_in_the_world(tenant: Tenant) -> None:
    (memory,) = await tenant.remember("The ferry runs.", valid_from="2020-01-01T00:00:00Z")
    path = f"/v1/memories/{memory}"
    await tenant.http.patch(path, json={"valid_to": "2022-01-01T00:00:00Z"})
    assert (await tenant.http.get(path, params={"as_of": "2021-01-01T00:00:00Z"})).json()["revision"] == 2
    for other in ("2019-01-01T00:00:00Z", "2022-01-01T00:00:00Z"):
        assert (await tenant.http.get(path, params={"as_of": other})).status_code == 404
    history = (await tenant.http.get(f"{path}/history", params={"as_of": "2023-01-01T00:00:00Z"})).json()["revisions"]
    assert [one["revision"] for one in history] == [1], "the second revision says that it no longer ran"
    known = {"as_of": "2023-01-01T00:00:00Z", "known_at": history[0]["updated_at"]}
    assert (await tenant.http.get(path, params=known)).json()["revision"] == 1


async def test_a_list_at_another_moment_pages_through_all_of_it(tenant: Tenant) -> None:
    ids = await tenant.remember(*(f"note {n}" for n in range(5)), topics=["old"])
    known_at = (await tenant.http.get(f"/v1/memories/{ids[-1]}")).json()["updated_at"]
    await tenant.http.delete(f"/v1/memories/{ids[0]}")
    await tenant.http.patch(f"/v1/memories/{ids[1]}", json={"text": "changed", "topics": ["new"]})
    await tenant.remember("later")
    assert await _listed(tenant) == ["changed", "note 2", "note 3", "note 4", "later"]
    assert await _listed(tenant, known_at=known_at) == [f"note {n}" for n in range(5)]
    assert await _listed(tenant, known_at=known_at, topics_any="old") == [f"note {n}" for n in range(5)]
    assert await _listed(tenant, topics_any="new") == ["changed"]


async def test_a_list_as_of_shows_what_was_true_then(tenant: Tenant) -> None:
    (paris,) = await tenant.remember("Jonas lives in Paris.", kind="semantic", valid_from="2020-01-01T00:00:00Z")
    await tenant.remember("Jonas lives in Rome.", kind="semantic", valid_from="2024-06-01T00:00:00Z", supersedes=paris)
    assert await _listed(tenant) == ["Jonas lives in Rome."]
    assert await _listed(tenant, as_of="2022-01-01T00:00:00Z") == ["Jonas lives in Paris."]
    assert await _listed(tenant, as_of="2025-01-01T00:00:00Z") == ["Jonas lives in Rome."]


async def test_a_page_ends_when_its_texts_are_long(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_CHARACTERS", 250)
    texts = [f"{n} ".ljust(100, "x") for n in range(7)]
    ids = await tenant.remember(*texts)
    first = (await tenant.http.get("/v1/memories")).json()
    assert [one["text"] for one in first["memories"]] == texts[:3]
    assert await _listed(tenant, limit="200") == texts
    path = f"/v1/memories/{ids[0]}"
    for text in texts[1:]:
        await tenant.http.patch(path, json={"text": text + "!"})
    first = (await tenant.http.get(f"{path}/history")).json()
    assert [one["revision"] for one in first["revisions"]] == [7, 6, 5]
    second = (await tenant.http.get(f"{path}/history", params={"cursor": first["next_cursor"]})).json()
    assert [one["revision"] for one in second["revisions"]] == [4, 3, 2]
    third = (await tenant.http.get(f"{path}/history", params={"cursor": second["next_cursor"]})).json()
    assert ([one["revision"] for one in third["revisions"]], third["next_cursor"]) == ([1], None)


async def test_pages_are_read_in_steps_and_are_as_long_as_asked(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_STEP", 3)
    texts = [f"text {n}" for n in range(8)]
    await tenant.remember(*texts)
    for limit in (2, 3, 4, 7, 8, 50):
        answer = (await tenant.http.get("/v1/memories", params={"limit": limit})).json()
        assert [one["text"] for one in answer["memories"]] == texts[:limit]
        assert (answer["next_cursor"] is None) == (limit >= 8)
        assert await _listed(tenant, limit=str(limit)) == texts
