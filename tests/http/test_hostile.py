"""What no schema describes: NULs, half surrogates, numbers beyond every range, forged cursors; in each field of each request."""

import base64
import json
from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx
import pytest

from tests.http.conftest import Tenant

JSON = {"content-type": "application/json"}
TIME = "2023-05-08T13:56:00Z"
ID = str(UUID(int=7))

# Each request with every field filled; each leaf is replaced in turn.
MEMORY = {
    "text": "text",
    "space": "default",
    "kind": "semantic",
    "user_id": "user",
    "agent_id": "agent",
    "session_id": "session",
    "event_time": TIME,
    "valid_from": TIME,
    "valid_to": "2024-05-08T13:56:00Z",
    "topics": ["topic"],
    "confidence": 0.5,
    "source": {"type": "web", "uri": "https://example.com"},
    "metadata": {"key": "value", "number": 1, "inner": {"list": ["x"]}},
    "external_id": "external",
    "supersedes": ID,
}
FILTERS = {
    "user_id": "user",
    "agent_id": "agent",
    "session_id": "session",
    "kinds": ["semantic"],
    "source_types": ["web"],
    "topics_any": ["topic"],
    "topics_all": ["topic"],
    "metadata": {"key": "value", "number": 1},
    "min_confidence": 0.5,
    "event_after": TIME,
    "event_before": TIME,
    "created_after": TIME,
    "created_before": TIME,
}
RECALL = {
    "query": "query",
    "spaces": ["default"],
    "filters": FILTERS,
    "limit": 3,
    "rerank": "off",
    "explain": True,
    "query_time": TIME,
    "as_of": TIME,
    "known_at": TIME,
    "deadline_ms": 1000,
    "arms": ["lexical"],
    "fusion": "rrf",
}
CONTEXT = RECALL | {"budget_tokens": 100, "tokenizer": "o200k_base", "sections": {"semantic": 10}, "must_include": [ID]}
BASES = "/v1/knowledge-bases"
CHUNKING = {"strategy": "fact", "max_tokens": 100, "overlap_tokens": 1}
DOCUMENT = {"document_id": "id", "file_name": "name.md", "title": "title", "uri": "uri", "metadata": {"key": ["value"]}}
CHOSEN = {"metadata": {"key": "value", "number": 1}, "document_ids": ["id"]}
SOURCES = [{"kb": "handbook@live", "limit": 1, "filters": CHOSEN}, {"space": "default", "limit": 1}]
BODIES: dict[str, tuple[str, str, dict[str, object]]] = {
    "memories": ("POST", "/v1/memories", {"memories": [MEMORY]}),
    "messages": ("POST", "/v1/memories", {"messages": [{"role": "user", "name": "n", "content": "c", "external_id": "e"}]}),
    "patch": ("PATCH", f"/v1/memories/{ID}", {"text": "text", "reason": "reason", "metadata": {"key": "value"}}),
    "revert": ("POST", f"/v1/memories/{ID}/revert", {"revision": 1, "reason": "reason"}),
    "recall": ("POST", "/v1/recall", RECALL),
    "context": ("POST", "/v1/context", CONTEXT),
    "expand": ("POST", "/v1/context/expand", {"handle": "handle", "budget_tokens": 100, "tokenizer": "o200k_base"}),
    "space": ("POST", "/v1/spaces", {"name": "name", "description": "description"}),
    "key": ("POST", "/v1/keys", {"name": "name", "actions": ["read"], "spaces": ["default"], "expires_at": TIME}),
    "rotate": ("POST", f"/v1/keys/{ID}/rotate", {"grace_s": 1}),
    "base": ("POST", BASES, {"name": "base", "space": "default", "description": "d", "chunking": CHUNKING, "retain": 1}),
    "base's patch": ("PATCH", f"{BASES}/none", {"description": "d", "chunking": CHUNKING, "retain": 1}),
    "publish": ("POST", f"{BASES}/none/publish", {"note": "note"}),
    "rollback": ("POST", f"{BASES}/none/rollback", {"to": "1"}),
    "tag": ("PUT", f"{BASES}/none/tags/tag", {"version": "1"}),
    "compare": ("POST", f"{BASES}/none/compare", {"documents": {"id": "0" * 64}}),
    "ingest": (
        "POST",
        f"{BASES}/none/jobs",
        {"documents": [DOCUMENT | {"text": "text"}], "remove": ["other"], "publish": True, "note": "note"},
    ),
    "ingest uploads": ("POST", f"{BASES}/none/jobs", {"documents": [DOCUMENT | {"upload": "0" * 64}]}),
    "ingest URLs": ("POST", f"{BASES}/none/jobs", {"documents": [DOCUMENT | {"url": "https://example.com"}]}),
    "search": ("POST", f"{BASES}/none/search", {"query": "query", "version": "1", "filters": CHOSEN, "limit": 1}),
    "recall of sources": ("POST", "/v1/recall", {"query": "query", "sources": SOURCES}),
    "replay": ("POST", "/v1/dead-letters/replay", {"job_id": ID, "items": [1]}),
}
HOSTILE = (
    '"a\\u0000b"',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u202e\\uffff"',
    '""',
    "1" + "0" * 400,
    "-" + "9" * 30,
    "9" * 5_000,
    "1e999",
    "NaN",
    "-1e-400",
    '"0001-01-01T00:00:00+23:59"',
    '"9999-12-31T23:59:59-23:59"',
    "null",
    "true",
    "[]",
    "{}",
    "[" * 500 + "]" * 500,
)


def _leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        inner: list[tuple[str | int, object]] = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        yield path
        return
    for key, one in inner:
        yield from _leaves(one, (*path, key))


def _with(body: object, path: tuple[str | int, ...], raw: str) -> str:
    """The body as JSON with ``raw`` at the path."""
    return json.dumps(_marked(body, path)).replace('"HERE"', raw)


def _marked(value: object, path: tuple[str | int, ...]) -> object:
    if isinstance(value, dict) and path:
        return {key: _marked(one, path[1:]) if key == path[0] else one for key, one in value.items()}
    if isinstance(value, list) and path:
        return [_marked(one, path[1:]) if index == path[0] else one for index, one in enumerate(value)]
    return "HERE"


@pytest.mark.parametrize("name", BODIES)
async def test_no_value_of_any_field_breaks_the_server(tenant: Tenant, name: str) -> None:
    method, path, body = BODIES[name]
    for leaf in _leaves(body):
        for raw in HOSTILE:
            answer = await tenant.http.request(method, path, content=_with(body, leaf, raw), headers=JSON)
            assert answer.status_code < 500, (leaf, raw[:40], answer.text)
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json", (leaf, raw[:40])
            answer.content.decode()  # half a surrogate would not have been encoded


def _objects(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from _objects(one, (*path, key))


def _with_name(value: object, path: tuple[str | int, ...]) -> object:
    """The same with one field more in the object at the path."""
    if isinstance(value, list):
        return [_with_name(one, path[1:]) if index == path[0] else one for index, one in enumerate(value)]
    assert isinstance(value, dict)
    if path:
        return {key: _with_name(one, path[1:]) if key == path[0] else one for key, one in value.items()}
    return {**value, "HERE": "0"}


@pytest.mark.parametrize("name", BODIES)
async def test_no_name_of_any_field_breaks_the_server(tenant: Tenant, name: str) -> None:
    method, path, body = BODIES[name]
    for where in _objects(body):
        for raw in ('"\\ud800"', '"a\\u0000b"', '""', f'"{"x" * 10_000}"'):
            content = json.dumps(_with_name(body, where)).replace('"HERE"', raw)
            answer = await tenant.http.request(method, path, content=content, headers=JSON)
            assert answer.status_code < 500, (where, raw[:40], answer.text)
            answer.content.decode()
            if not where:
                assert answer.status_code == 422, (raw[:40], answer.text)


@pytest.mark.parametrize("raw", ['"a\\u0000b"', '"\\ud800"'])
async def test_what_cannot_be_stored_is_refused_wherever_it_stands(tenant: Tenant, raw: str) -> None:
    for method, path, body in BODIES.values():
        for leaf in _leaves(body):
            answer = await tenant.http.request(method, path, content=_with(body, leaf, raw), headers=JSON)
            assert answer.status_code == 422, (path, leaf, answer.text)


async def test_extreme_metadata_comes_back_as_sent(tenant: Tenant) -> None:
    metadata = {"big": 10**300, "small": -(10**300), "float": 1.5e300, "tiny": 5e-324, "exact": 9007199254740993, "": "empty"}
    memory = (await tenant.remember("numbers", metadata=metadata))[0]
    back = (await tenant.http.get(f"/v1/memories/{memory}")).json()["metadata"]
    assert back.pop("float") == 15 * 10**299, "the same number, which Python reads as an integer without its exponent"
    assert back == {key: value for key, value in metadata.items() if key != "float"}
    for key, value in metadata.items():
        if key:
            assert await tenant.texts("numbers", filters={"metadata": {key: value}}) == ["numbers"], key


CURSORS = ["0", "-1", "9" * 18, "9" * 19, "1.5", "²", "a\0b", "\ud800", "", " 1", str(uuid4()), "%00", "x" * 300]
CURSORS += ["²:x", "٣:x", "9" * 400 + ":x", "1:\ud800"]


LISTS = ["/v1/memories", "/v1/spaces", "/v1/keys", f"/v1/memories/{ID}/history", "/v1/admin/tenants", "/v1/jobs"]
LISTS += ["/v1/sessions", "/v1/dead-letters", f"/v1/jobs/{ID}/items", BASES]
LISTS += [f"{BASES}/none/{of}" for of in ("versions", "documents", "chunks?document_id=id", "diff?after=1")]


@pytest.mark.parametrize("path", LISTS)
async def test_forged_cursors(tenant: Tenant, operator: httpx.AsyncClient, path: str) -> None:
    http = operator if "admin" in path else tenant.http
    for text in CURSORS:
        forged = base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).rstrip(b"=").decode()
        for cursor in (forged, forged + "=", text.encode("utf-8", "replace").decode()):
            answer = await http.get(httpx.URL(path).copy_merge_params({"cursor": cursor}))
            assert answer.status_code in {200, 404, 422}, (text, answer.text)


@pytest.mark.parametrize(
    "value", ["%00", "a%00b", "%ed%a0%80", "%ff", "%F0%9F%92%A9", "1" * 5_000, "%20", "%2f..%2f", "%0d%0aX:1"]
)
async def test_queries_and_paths(tenant: Tenant, value: str) -> None:
    names = ("space", "user_id", "agent_id", "session_id", "kind", "event_after", "event_before", "limit", "cursor")
    for target in (
        *(f"/v1/memories?{name}={value}" for name in names),
        f"/v1/memories?{value}={value}",
        f"/v1/memories/{value}",
        f"/v1/memories/{value}/history",
        f"/v1/keys/{value}",
        f"/v1/{value}",
    ):
        answer = await tenant.http.get(target)
        assert answer.status_code in {200, 400, 404, 405, 422}, (target[:60], answer.text)
    memory = (await tenant.remember("to forget"))[0]
    answer = await tenant.http.delete(f"/v1/memories/{memory}?reason={value}&purge=maybe")
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("name", ["m%FCller", "m%F6ller", "%FF", "%ED%A0%80", "%C3%28"])
async def test_names_that_are_not_utf8_are_refused_and_not_taken_for_one(tenant: Tenant, name: str) -> None:
    said = {"messages": [{"role": "user", "content": "hello"}]}
    for method, target, body in (
        ("POST", f"/v1/sessions/{name}/messages", said),
        ("GET", f"/v1/sessions/{name}/context", None),
        ("GET", f"/v1/sessions/{name}", None),
        ("PUT", f"/v1/sessions/s/effects/{name}", {"value": 1}),
        ("PUT", f"/v1/sessions/s/state/{name}", {"value": 1}),
        ("POST", f"/v1/knowledge-bases/{name}/search", {"query": "x"}),
        ("PATCH", f"/v1/spaces/{name}", {"rerank": None}),
    ):
        answer = await tenant.http.request(method, target, json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_path"), (target, answer.text)
    # The character that stands for them is a name like any other.
    for spelled in ("%EF%BF%BD", "m%C3%BCller"):
        assert (await tenant.http.post(f"/v1/sessions/{spelled}/messages", json=said)).status_code == 201


async def test_headers(tenant: Tenant) -> None:
    memory = (await tenant.remember("to change"))[0]
    for value in (b"\xff\xfe", b"a\x01b", b"\xe2\x82\xac", b"x" * 300, b'"1"x', b"9" * 60, b"*, *", b'W/"1"', b""):
        for name in (b"If-Match", b"Idempotency-Key", b"X-Request-ID", b"Accept"):
            answer = await tenant.http.patch(f"/v1/memories/{memory}", json={"text": "changed"}, headers={name: value})
            assert answer.status_code < 500, (name, value, answer.text)
        for name in (b"Authorization", b"X-API-Key"):
            raw = b"Bearer " + value if name == b"Authorization" else value
            answer = await tenant.http.get("/v1/memories", headers={b"Authorization": b"", name: raw})
            assert answer.status_code == 401, (name, value, answer.text)


@pytest.mark.parametrize(
    ("metadata", "refused"),
    [
        ({"a": "\0"}, True),
        ({"a\0": 1}, True),
        ({"a": ["x\\", {"b": "\\\0"}]}, True),
        ({"a": "\\u0000"}, False),
        ({"a": "\\\\u0000\\"}, False),
        ({"a": "\ud800"}, True),
        ({"a": {"b": "é" * 9_000}}, True),
    ],
)
async def test_a_nul_in_metadata_is_told_from_its_name(tenant: Tenant, metadata: dict[str, object], refused: bool) -> None:
    body = json.dumps({"memories": [{"text": f"{metadata}".encode("ascii", "replace").decode(), "metadata": metadata}]})
    answer = await tenant.http.post("/v1/memories", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == (422 if refused else 201), answer.text
    if not refused:
        (written,) = answer.json()["results"]
        assert (await tenant.http.get(f"/v1/memories/{written['id']}")).json()["metadata"] == metadata
