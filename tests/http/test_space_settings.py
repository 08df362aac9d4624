"""Reranking as a request or a space has it."""

from typing import Any

import pytest
from fastapi import FastAPI

from memoryd.memory.reranking import RerankMode, RerankPolicy, RerankWish, StoredReranking, agreed
from retrieval.errors import InferenceUnavailable
from retrieval.inference.registry import MS_MARCO_MINILM
from retrieval.rerank import RerankPlan
from tests.http.conftest import Tenant

PLAN = RerankPlan(20, 1_000.0)


async def change(tenant: Tenant, name: str = "default", **fields: object) -> dict[str, Any]:
    answer = await tenant.http.patch(f"/v1/spaces/{name}", json=fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("asked", "default", "plan"),
    [
        (RerankMode.AUTO, None, None),
        (RerankMode.AUTO, RerankMode.ON, PLAN),
        (RerankMode.AUTO, RerankWish(depth=5), RerankPlan(5, 1_000.0)),
        (RerankMode.ON, RerankMode.OFF, PLAN),
        (RerankMode.OFF, RerankMode.ON, None),
        (RerankWish(budget_ms=50.0), RerankMode.OFF, RerankPlan(20, 50.0)),
        (RerankWish(), None, PLAN),
    ],
)
def test_the_request_counts_before_the_space_and_the_space_before_the_installation(
    asked: RerankMode | RerankWish, default: RerankMode | RerankWish | None, plan: RerankPlan | None
) -> None:
    assert RerankPolicy(auto=False, plan=PLAN, model="m").plan_of(asked, default) == plan


def test_spaces_that_differ_say_nothing() -> None:
    assert agreed([]) is None
    assert agreed([None, RerankMode.ON, RerankMode.ON]) is RerankMode.ON
    assert agreed([RerankMode.OFF, RerankMode.ON]) is None
    assert agreed([RerankWish(depth=3), RerankWish(depth=3), None]) == RerankWish(depth=3)
    assert agreed([RerankWish(depth=3), RerankMode.ON]) is None


@pytest.mark.parametrize("setting", [RerankMode.ON, RerankMode.OFF, RerankWish(), RerankWish(3), RerankWish(3, 20.5)])
def test_a_stored_setting_is_read_as_it_was_written(setting: RerankMode | RerankWish) -> None:
    stored = StoredReranking.read(StoredReranking(setting).written())
    assert stored is not None
    assert stored.value == setting


async def test_a_request_says_how_deep(talk: Tenant) -> None:
    query = "Which sport event did Melanie take part in?"
    for depth in (1, 3):
        answer = await talk.recall(
            query, rerank={"depth": depth, "budget_ms": 30_000.0, "model": MS_MARCO_MINILM.name}, explain=True
        )
        assert (answer["reranked"], answer["degraded"]) == (depth, [])
        assert sum(hit["explain"]["rerank"] is not None for hit in answer["hits"]) == depth
    context = await talk.http.post("/v1/context", json={"query": query, "rerank": {"depth": 2, "budget_ms": 30_000}})
    assert (context.status_code, context.json()["degraded"]) == (200, [])


@pytest.mark.parametrize(
    "rerank", [{"depth": 0}, {"depth": 201}, {"budget_ms": 0}, {"deep": 1}, "always", 3, {"model": "other/model"}]
)
async def test_what_cannot_be_had_is_refused(talk: Tenant, rerank: object) -> None:
    for path in ("/v1/recall", "/v1/context"):
        answer = await talk.http.post(path, json={"query": "sport", "rerank": rerank})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
        assert "rerank" in answer.json()["detail"]


async def test_a_space_says_what_auto_means(talk: Tenant) -> None:
    assert (await talk.recall("sport"))["reranked"] == 0
    assert (await change(talk, rerank={"depth": 2, "budget_ms": 30_000}))["rerank"] == {"depth": 2, "budget_ms": 30_000}
    assert (await talk.recall("sport"))["reranked"] == 2
    assert (await talk.recall("sport", spaces=["default"]))["reranked"] == 2
    assert (await talk.recall("sport", sources=[{"space": "default"}]))["reranked"] == 2
    assert (await talk.recall("sport", rerank="off"))["reranked"] == 0
    await talk.remember("A heron in another space", space="other")
    await change(talk, "other", rerank="off")
    assert (await talk.recall("sport"))["reranked"] == 0, "the two differ"
    assert (await change(talk, description="talks"))["rerank"] == {"depth": 2, "budget_ms": 30_000}, "what is missing stays"
    changed = await change(talk, rerank=None)
    assert (changed["rerank"], changed["description"]) == (None, "talks")
    assert (await talk.recall("sport", spaces=["default"]))["reranked"] == 0
    listed = (await talk.http.get("/v1/spaces")).json()["spaces"]
    assert {one["name"]: one["rerank"] for one in listed} == {"default": None, "other": "off"}


async def test_a_space_is_made_with_it_and_changed_once_by_a_key(tenant: Tenant) -> None:
    key = {"Idempotency-Key": "once"}
    for _ in range(2):  # a refusal is no answer to be repeated
        refused = await tenant.http.patch("/v1/spaces/plain", json={"rerank": "off"}, headers=key)
        assert (refused.status_code, refused.json()["code"]) == (404, "space_not_found")
    plain = await tenant.http.post("/v1/spaces", json={"name": "plain", "rerank": "on"})
    assert (plain.status_code, plain.json()["rerank"]) == (201, "on")
    path = "/v1/spaces/plain"
    assert (await tenant.http.patch(path, json={"rerank": "off"}, headers=key)).json()["rerank"] == "off"
    await change(tenant, "plain", rerank="on")
    assert (await tenant.http.patch(path, json={"rerank": "off"}, headers=key)).json()["rerank"] == "on", "it was done already"
    for wrong in ({"rerank": "auto"}, {"rerank": {"model": "m"}}, {"name": "new"}):
        assert (await tenant.http.patch(path, json=wrong)).status_code == 422
    audit = (await tenant.http.get("/v1/audit", params={"action": "space.update"})).json()["entries"]
    assert len(audit) == 2


async def test_only_an_admin_of_the_space_changes_it(tenant: Tenant, other: Tenant) -> None:
    await tenant.remember("heron", space="mine")
    assert (await other.http.patch("/v1/spaces/mine", json={"rerank": "on"})).status_code == 404
    confined = {"name": "k", "actions": ["admin", "read"], "spaces": ["default"]}
    reader = {"name": "r", "actions": ["read"]}
    for wish, status in ((confined, 404), (reader, 403)):
        key = (await tenant.http.post("/v1/keys", json=wish)).json()["key"]
        headers = {"Authorization": f"Bearer {key}"}
        assert (await tenant.http.patch("/v1/spaces/mine", json={"rerank": "on"}, headers=headers)).status_code == status


async def test_a_reranker_that_fails_leaves_the_fused_order(app: FastAPI, talk: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(*_: object, **__: object) -> None:
        raise InferenceUnavailable("the model is gone")

    fused = await talk.texts("Biscuit", rerank="off")
    monkeypatch.setattr(type(app.state.services.recall._searcher._reranker), "score", down)
    answer = await talk.recall("Biscuit", rerank={"depth": 3})
    assert (answer["degraded"], answer["reranked"]) == (["rerank"], 0)
    assert [hit["text"] for hit in answer["hits"]] == fused
