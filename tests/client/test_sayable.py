"""What is said in a request: nothing that was given is lost on the way, and what cannot be said is refused."""

import json
import math
from collections.abc import Callable

import httpx
import pytest
from pydantic import JsonValue

from memoryd.client import Filters, NotFound, Question, Reranking, Unsayable
from tests.client.conftest import Side
from tests.client.service import NOW, STREAM, Pieces, Service, problem

EMPTY: dict[str, JsonValue] = {"hits": [], "degraded": [], "timings_ms": {}}
SESSION = {"id": "s", "space": "default", "agents": [], "head": 4, "messages": 4, "bytes": 1, "state_bytes": 0, "ttl_s": 60} | {
    "visible": [],
    "committed": [],
    "created_at": NOW,
    "expires_at": NOW,
}


def sent(service: Service) -> dict[str, JsonValue]:
    """The body of the last request."""
    body: dict[str, JsonValue] = json.loads(service.asked[-1].content)
    return body


def test_to_rerank_as_the_installation_does_is_said(side: Side, service: Service) -> None:
    service.answers = [httpx.Response(200, json=EMPTY)] * 2
    side.value(side.client.recall(Question("x", rerank=Reranking())))
    assert sent(service)["rerank"] == {}
    side.value(side.knowledge.search("handbook", "x", rerank=Reranking()))
    assert sent(service)["rerank"] == {}
    assert service.asked[-1].headers["content-type"] == "application/json"


def test_no_arms_are_not_all_arms(side: Side, service: Service) -> None:
    service.answers = [httpx.Response(200, json=EMPTY)] * 2
    side.value(side.client.recall(Question("x", arms=[])))
    assert sent(service)["arms"] == []
    side.value(side.knowledge.search("handbook", "x", arms=[]))
    assert sent(service)["arms"] == []


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_number_that_json_does_not_know(side: Side, service: Service, number: float) -> None:
    calls: list[Callable[[], object]] = [
        lambda: side.value(side.client.sessions.put_state("s", "k", {"deep": [number]})),
        lambda: side.items(side.client.memories.list(filters=Filters(metadata={"k": number}))),
    ]
    for call in calls:
        with pytest.raises(Unsayable, match="infinity"):
            call()
    assert service.asked == []


def test_half_a_surrogate_pair(side: Side, service: Service) -> None:
    with pytest.raises(Unsayable, match="surrogate"):
        side.value(side.client.sessions.put_state("s", "k", {"deep": ["\ud800"]}))
    assert service.asked == []


@pytest.mark.parametrize("text", ["a\nb", 'say "no"', "back\\slash", "tab\t", "ü"])
def test_texts_of_filters_are_json(text: str) -> None:
    (value,) = Filters(metadata={"k": text}).query().values()
    assert isinstance(value, str)
    assert json.loads(value) == text


def test_what_is_the_tenants_setting_again(side: Side, service: Service) -> None:
    service.answers = [httpx.Response(200, json=SESSION)] * 3
    side.value(side.client.sessions.configure("s", auto_commit=None))
    side.value(side.client.sessions.configure("s", ttl_s=60))
    side.value(side.client.sessions.configure("s", auto_commit="off"))
    assert [json.loads(one.content) for one in service.asked] == [{"auto_commit": None}, {"ttl_s": 60}, {"auto_commit": "off"}]


def test_a_session_that_goes_between_two_connections_is_gone(side: Side, service: Service) -> None:
    missing = problem(404, "not_found")
    service.answers = [
        httpx.Response(200, json=SESSION),
        httpx.Response(200, stream=Pieces(b"retry: 0\n\n"), headers=STREAM),
        missing,
        missing,
    ]
    assert [one.kind for one in side.items(side.client.sessions.events("s"))] == ["gone"]
    with pytest.raises(NotFound):
        side.items(side.client.sessions.events("s", after=4))
