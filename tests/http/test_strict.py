"""What is refused instead of being guessed: unknown parameters, doubtful JSON, other methods; and refusals that stay short."""

import time
from collections.abc import Sequence

import httpx
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, iter_route_contexts

from memoryd.http.problems import error_response
from memoryd.http.strict import StrictRoute
from retrieval.errors import InferenceError, InferenceOverloaded, InferenceUnavailable
from tests.http.conftest import Tenant

JSON = {"content-type": "application/json"}


def test_every_route_is_strict(app: FastAPI) -> None:
    routes = [
        context.original_route
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, APIRoute) and str(context.path).startswith("/v1/")
    ]
    assert len(routes) > 20
    assert [route.path for route in routes if not isinstance(route, StrictRoute)] == []


@pytest.mark.parametrize(
    "target",
    [
        *("/v1/memories?spaces=a", "/v1/memories?limit=1&limit=2", "/v1/memories?metadata=x", "/v1/keys?Limit=3"),
        *("/v1/audit?object=x", "/v1/spaces?limit=1&x", "/v1/memories?cursor=a&user_id=u&user=v"),
    ],
)
async def test_an_unknown_or_doubled_parameter_is_refused(tenant: Tenant, target: str) -> None:
    answer = await tenant.http.get(target)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_a_field_is_named_as_it_is_called(tenant: Tenant) -> None:
    """Also where its name is that of a part of a request."""
    answer = await tenant.http.post("/v1/recall", json={"query": 5, "filters": {"metadata": {"body": []}}})
    assert {one["field"] for one in answer.json()["errors"]} >= {"query"}
    assert not [one for one in answer.json()["errors"] if one["field"] in {"body", "filters.metadata"}]
    answer = await tenant.http.get("/v1/memories?limit=0")
    assert [one["field"] for one in answer.json()["errors"]] == ["limit"]
    answer = await tenant.http.post("/v1/recall")
    assert [one["field"] for one in answer.json()["errors"]] == ["body"]


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain"])
async def test_json_that_is_not_said_to_be_json(tenant: Tenant, kind: str) -> None:
    answer = await tenant.http.post("/v1/recall", content=b'{"query": "a"}', headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["detail"] == "body: send it as JSON, with Content-Type: application/json"


async def test_known_parameters_are_not(tenant: Tenant, anonymous: httpx.AsyncClient) -> None:
    await tenant.remember("x", metadata={"k": "v"})
    target = "/v1/memories?kind=semantic&kind=episodic&metadata.k=v&limit=5&as_of=2030-01-01T00:00:00Z"
    answer = await tenant.http.get(target)
    assert (answer.status_code, len(answer.json()["memories"])) == (200, 1), answer.text
    assert (await anonymous.get("/livez?from=balancer")).status_code == 200


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"query": "a", "query": "b"}', "stands twice"),
        (b'{"query": "a", "filters": {"metadata": {"k": 1, "k": 2}}}', "stands twice"),
        (b'{"query": "a", "filters": {"min_confidence": NaN}}', "NaN"),
        (b'{"query": "a", "limit": -Infinity}', "Infinity"),
        (b'{"query": "caf\xe9"}', "UTF-8"),
        ('{"query": "a"}'.encode("utf-16"), "UTF-8"),
        (b'{"query": "a"', "line 1"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"[" * 200_000, "deep"),
        (b'{"query": "a", "limit": ' + b"9" * 10_000 + b"}", "digits"),
    ],
)
async def test_doubtful_json_is_refused(tenant: Tenant, raw: bytes, why: str) -> None:
    answer = await tenant.http.post("/v1/recall", content=raw, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body"), answer.text
    assert why in answer.json()["detail"]
    assert len(answer.content) < 2_000


async def test_a_name_that_stands_twice_is_found_in_linear_time(tenant: Tenant) -> None:
    names = ",".join(f'"n{n}":0' for n in range(200_000))
    started = time.perf_counter()
    answer = await tenant.http.post("/v1/recall", content=f'{{{names},"n199999":1}}', headers=JSON)
    assert answer.status_code == 400
    assert "n199999" in answer.json()["detail"]
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "body",
    [
        {"query": "x", "f" * 100_000: 1},
        {"query": "x", "filters": {"metadata": {"k" * 100_000: []}}},
        {"query": "x", "filters": {"e" * 100_000: {"f" * 100_000: 1}}},
        {"query": "x", "arms": ["a" * 100_000] * 4},
        {"query": "x", "query_time": "9" * 100_000},
        {"query": "x", "spaces": ["s" * 100_000]},
        {"query": "x", **{f"{n}" * 90: 1 for n in range(10, 99)}},
    ],
)
async def test_no_refusal_echoes_what_is_huge(tenant: Tenant, body: dict[str, object]) -> None:
    answer = await tenant.http.post("/v1/recall", json=body)
    assert answer.status_code == 422
    assert len(answer.content) < 10_000
    huge = await tenant.http.get("/v1/memories", params={"p" * 20_000: "v" * 20_000})
    assert huge.status_code == 422
    assert len(huge.content) < 2_000


async def test_a_trailing_slash_is_another_path(tenant: Tenant, operator: httpx.AsyncClient) -> None:
    for http, path in ((tenant.http, "/v1/memories/"), (tenant.http, "/v1/keys/"), (operator, "/v1/admin/tenants/")):
        for method in ("GET", "POST"):
            answer = await http.request(method, path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (path, method)
            assert "location" not in answer.headers


async def test_head_is_a_get_without_its_body(tenant: Tenant, anonymous: httpx.AsyncClient) -> None:
    (memory,) = await tenant.remember("head")
    path = f"/v1/memories/{memory}"
    head, get = await tenant.http.head(path), await tenant.http.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["etag"], head.headers["content-length"]) == (get.headers["etag"], get.headers["content-length"])
    for answer, status in (
        (await tenant.http.head("/v1/memories/no-id"), 422),
        (await tenant.http.head("/v1/recall"), 405),
        (await anonymous.head(path), 401),
        (await anonymous.head("/livez"), 200),
    ):
        assert (answer.status_code, answer.content) == (status, b"")


async def test_options_says_what_is_allowed(tenant: Tenant, anonymous: httpx.AsyncClient) -> None:
    for path, allowed in (
        ("/v1/memories", "GET, HEAD, POST, OPTIONS"),
        ("/v1/memories/x", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("/v1/recall", "POST, OPTIONS"),
    ):
        answer = await tenant.http.options(path)
        assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")
        refused = await tenant.http.request("TRACE", path)
        assert (refused.status_code, refused.headers["allow"]) == (405, allowed)
    assert (await tenant.http.options("/v1/nothing")).status_code == 404
    assert (await anonymous.options("/v1/memories")).status_code == 401


@pytest.mark.parametrize("error", [InferenceError("x"), InferenceUnavailable("x"), InferenceOverloaded("x", retry_after_s=7)])
def test_whoever_is_told_later_is_told_when(error: InferenceError) -> None:
    answer = error_response("id", error)
    assert answer.status_code in {429, 503}
    assert int(answer.headers["retry-after"]) >= 1


_SESSION = "/v1/sessions/s-1/messages"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/recall", {"query": "x", **{f"a{n}": 1 for n in range(100_000)}}, "body"),
        ("/v1/recall", {"query": "x", "filters": {f"a{n}": 1 for n in range(100_000)}}, "filters"),
        ("/v1/recall", {"query": "x", "filters": {"metadata": {f"a{n}": [] for n in range(100_000)}}}, "filters.metadata"),
        ("/v1/context", {"query": "x", "sections": {f"a{n}": "b" for n in range(100_000)}}, "sections"),
        ("/v1/memories", {"memories": [{"text": "x", **{f"a{n}": 1 for n in range(100_000)}}]}, "memories.memories.0"),
        (_SESSION, {"messages": [{"role": "user", "content": [1] * 100_000}]}, None),
    ],
)
async def test_a_million_faults_are_not_listed(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, object], field: str | None
) -> None:
    listed: list[int] = []
    errors = RequestValidationError.errors

    def counted(self: RequestValidationError) -> Sequence[object]:
        listed.append(len(errors(self)))
        return errors(self)

    monkeypatch.setattr(RequestValidationError, "errors", counted)
    answer = await tenant.http.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert max(listed) <= 3
    if field is not None:
        assert [one["field"] for one in answer.json()["errors"]] == [field]


async def test_a_few_unknown_fields_are_each_named(tenant: Tenant) -> None:
    answer = await tenant.http.post("/v1/recall", json={"query": "x", "limits": 3, "filter": {}})
    assert {one["field"] for one in answer.json()["errors"]} == {"limits", "filter"}
    many = await tenant.http.post("/v1/recall", json={"query": "x", **{f"{{a}}{n}": 1 for n in range(50)}})
    assert many.json()["errors"][0]["message"] == "50 unknown fields, such as {a}0, {a}1, {a}2"


async def test_a_query_that_is_not_utf_8_is_refused(tenant: Tenant) -> None:
    for query, status in (("user_id=m%FCller", 422), ("user_id=%EF%BF%BD", 200), ("user_id=m%C3%BCller", 200)):
        answer = await tenant.http.get(f"/v1/sessions?{query}")
        assert answer.status_code == status, answer.text
