"""The endpoint as HTTP: credentials, hosts, origins, limits, problems, and the metadata that clients look for."""

import json

import httpx
import pytest
from fastapi import FastAPI

from memoryd.mcp.doors import open_doors
from tests.http.conftest import Tenant

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
HEADERS = {"Accept": "application/json, text/event-stream"}


async def test_without_a_key_it_says_where_to_read_about_keys(anonymous: httpx.AsyncClient) -> None:
    for headers in ({}, {"Authorization": "Bearer mdk_nonsense"}, {"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."}):
        answer = await anonymous.post("/mcp", json=LIST, headers=HEADERS | headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "unauthenticated"
        assert answer.headers["x-request-id"]
        where = answer.headers["www-authenticate"].removeprefix('Bearer resource_metadata="').removesuffix('"')
        metadata = (await anonymous.get(where)).json()
        assert metadata["resource"] == "http://memoryd.test/mcp"
        assert metadata["bearer_methods_supported"] == ["header"]


@pytest.mark.parametrize("path", ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"])
async def test_the_metadata_is_where_clients_look_for_it(anonymous: httpx.AsyncClient, path: str) -> None:
    assert (await anonymous.get(path)).json()["resource"] == "http://memoryd.test/mcp"
    assert (await anonymous.get(path, headers={"Host": "evil.example"})).status_code == 403


async def test_the_key_may_come_in_either_header(tenant: Tenant, anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.post("/mcp", json=LIST, headers=HEADERS | {"X-API-Key": tenant.key})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert {tool["name"] for tool in answer.json()["result"]["tools"]} >= {"recall", "remember"}


async def test_there_is_no_session_to_listen_to_or_to_end(tenant: Tenant) -> None:
    for method in ("GET", "DELETE"):
        answer = await tenant.http.request(method, "/mcp", headers={"Accept": "text/event-stream"})
        assert answer.status_code == 405
        assert {"POST"} <= set(answer.headers["allow"].split(", ")) <= {"POST", "OPTIONS"}
        assert answer.json()["code"] == "method_not_allowed"
    answer = await tenant.http.post("/mcp", json=LIST, headers=HEADERS)
    assert "mcp-session-id" not in answer.headers


async def test_pages_of_other_sites_and_rebound_names_are_turned_away(tenant: Tenant) -> None:
    for headers, status in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example:7077"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
        ({"Origin": "http://memoryd.test"}, 200),
        ({"Host": "127.0.0.1:7077"}, 200),
        ({"Host": "[::1]:7077"}, 200),
        ({"Host": "LOCALHOST:7077", "Origin": "http://localhost:7077"}, 200),
        ({"Host": "localhost:7077", "Origin": "http://localhost:3000"}, 403),
    ):
        answer = await tenant.http.post("/mcp", json=LIST, headers=HEADERS | headers)
        assert answer.status_code == status, (headers, answer.text)
        if status == 403:
            assert answer.json()["code"] == "forbidden"


def test_doors_follow_the_settings() -> None:
    def doors(host: str = "127.0.0.1", hosts: str = "", origins: str = "", url: str | None = None):  # type: ignore[no-untyped-def]
        return open_doors(host=host, public_url=url, allowed_hosts=hosts, allowed_origins=origins)

    assert doors(host="0.0.0.0").knows_host("memory.internal:80")  # noqa: S104
    assert doors(host="::").knows_host("memory.internal:80")
    assert not doors(host="0.0.0.0", hosts="a.example").knows_host("b.example")  # noqa: S104
    assert not doors().knows_host("memory.internal")
    assert not doors().knows_host("localhost.evil.example")
    assert not doors().knows_host("")
    assert doors(hosts="a.example, B.example").knows_host("b.example:443")
    assert doors(hosts="*").knows_host("any.example")
    assert doors(url="https://memory.example/").knows_host("memory.example")
    assert doors(url="https://memory.example/").resource("http", "10.0.0.1") == "https://memory.example/mcp"
    assert doors(origins="https://app.example").admits_origin("https://app.example", "memory.example")
    assert not doors(origins="https://app.example").admits_origin("https://app.example.evil", "memory.example")
    assert doors(origins="*").admits_origin("https://any.example", "memory.example")


async def test_bodies_are_limited_before_they_are_parsed(tenant: Tenant) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","x":"' + b"a" * (17 * 2**20) + b'"}'
    answer = await tenant.http.post("/mcp", content=body, headers=HEADERS | {"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["code"] == "payload_too_large"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"[" * 100_000, b'{"jsonrpc":"2.0"}', b'{"jsonrpc":"2.0","id":1,"method":"nope"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}', b"\xff\xfe", b'{"a":' * 5_000,
        json.dumps([LIST, LIST]).encode(),
    ],
)  # fmt: skip
async def test_malformed_messages_get_an_error_and_no_500(tenant: Tenant, body: bytes) -> None:
    answer = await tenant.http.post("/mcp", content=body, headers=HEADERS | {"Content-Type": "application/json"})
    assert answer.status_code < 500, answer.text
    assert "error" in answer.json() or answer.json().get("code")


async def test_an_unexpected_error_is_told_without_its_content(
    app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> object:
        raise RuntimeError("-".join(("the", "secret")))

    monkeypatch.setattr("memoryd.mcp.local.call", broken)
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "recall", "arguments": {"query": "x"}}}
    answer = await tenant.http.post("/mcp", json=call, headers=HEADERS | {"X-Request-ID": "req-7"})
    result = answer.json()["result"]
    assert result["isError"]
    assert result["structuredContent"]["code"] == "internal"
    assert "req-7" in result["content"][0]["text"]
    assert "the-secret" not in answer.text + caplog.text
    assert "RuntimeError" in caplog.text


async def test_bodies_are_small(tenant: Tenant) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "recall", "arguments": {"query": "x" * 3_000_000}},
    }
    answer = await tenant.http.post("/mcp", json=call, headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert "2097152" in answer.json()["detail"]
