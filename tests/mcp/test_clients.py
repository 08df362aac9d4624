"""Other ways in: a second, independent client; several at once; and ``memoryd mcp`` on standard input and output."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE

import pytest
from fastapi import FastAPI
from fastmcp import Client as FastClient
from fastmcp.client.transports import StreamableHttpTransport
from mcp import Client, StdioServerParameters

from tests.http.conftest import Tenant
from tests.mcp.conftest import connected, served, text


def _stdio(url: str, key: str) -> StdioServerParameters:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEMORYD_")}
    return StdioServerParameters(
        command=sys.executable, args=["-m", "memoryd", "mcp"], env=environment | {"MEMORYD_URL": url, "MEMORYD_API_KEY": key}
    )


async def test_fastmcps_client_works_too(app: FastAPI, tenant: Tenant) -> None:
    async with served(app) as url:
        transport = StreamableHttpTransport(f"{url}/mcp", headers={"Authorization": f"Bearer {tenant.key}"})
        async with FastClient(transport) as client:
            assert {tool.name for tool in await client.list_tools()} >= {"recall", "remember", "expand"}
            told = await client.call_tool("remember", {"text": "Ada keeps her notes in a blue tin."})
            found = await client.call_tool("recall", {"query": "Where are Ada's notes?"})
            assert found.structured_content is not None
            assert [hit["id"] for hit in found.structured_content["hits"]] == [told.structured_content["id"]]
            refused = await client.call_tool("recall", {}, raise_on_error=False)
            assert refused.is_error
            assert "memoryd://spaces" in {str(one.uri) for one in await client.list_resources()}
            assert "recall" in (await client.get_prompt("use_memory")).model_dump_json()


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_stdio_says_what_http_says(app: FastAPI, tenant: Tenant, mode: str) -> None:
    async with served(app) as url, connected(app, tenant.key) as direct, Client(_stdio(url, tenant.key), mode=mode) as client:
        assert client.instructions == direct.instructions
        assert (await client.list_tools()).tools == (await direct.list_tools()).tools
        told = await client.call_tool("remember", {"text": "The red boat leaves at six."})
        assert (await client.call_tool("remember", {"text": "The red boat leaves at six."})).structured_content == {
            "id": told.structured_content["id"], "status": "duplicate",
        }  # fmt: skip
        asked = {"query": "When does the red boat leave?"}
        for tool in ("recall", "context"):
            assert text(await client.call_tool(tool, asked)) == text(await direct.call_tool(tool, asked))
        said = {"action": "append", "session_id": "s", "messages": [{"role": "user", "content": "At six."}]}
        assert (await client.call_tool("session", said)).structured_content["appended"] == 1
        read = {"action": "read", "session_id": "s"}
        assert "At six." in text(await client.call_tool("session", read)) == text(await direct.call_tool("session", read))
        refused = await client.call_tool("forget", {"id": "nothing"})
        assert refused.structured_content["code"] == "invalid_request"
        assert (await client.list_resources()).resources == (await direct.list_resources()).resources
        assert (await client.read_resource("memoryd://spaces")).contents == (
            await direct.read_resource("memoryd://spaces")
        ).contents
        assert (await client.get_prompt("use_memory")).messages == (await direct.get_prompt("use_memory")).messages


async def test_stdio_tells_a_refused_key_and_survives_a_server_that_is_away(app: FastAPI, tenant: Tenant) -> None:
    async with served(app) as url, Client(_stdio(url, "mdk_nonsense")) as client:
        refused = await client.call_tool("recall", {"query": "x"})
        assert refused.structured_content["code"] == "unauthenticated"
        assert "MEMORYD_KEY" in text(refused)
    async with Client(_stdio(url, tenant.key)) as client:
        away = await client.call_tool("remember", {"text": "said to nobody"})
        assert away.structured_content["code"] == "store_unavailable"
        assert "is it running?" in text(away)
    assert (await tenant.http.get("/v1/memories")).json()["memories"] == []


async def test_standard_output_carries_nothing_but_the_protocol(app: FastAPI, tenant: Tenant) -> None:
    lines = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "recall", "arguments": {"query": "x"}}},
    ]  # fmt: skip
    async with served(app) as url:
        server = _stdio(url, tenant.key)
        process = await asyncio.create_subprocess_exec(
            server.command, *server.args, env=server.env, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        for line in lines:
            process.stdin.write(json.dumps(line).encode() + b"\n")
        answers = [json.loads(await process.stdout.readline()) for _ in range(2)]
        process.stdin.close()
        rest = await process.stdout.read()
        assert await process.wait() == 0
    assert [one["id"] for one in answers] == [1, 2]
    assert answers[1]["result"]["structuredContent"]["hits"] == []
    assert rest == b""


async def test_calls_repeated_at_once_store_one_memory(app: FastAPI, tenant: Tenant) -> None:
    async with connected(app, tenant.key) as agent:
        arguments = {"text": "Said by many at once.", "idempotency_key": "once"}
        answers = await asyncio.gather(*(agent.call_tool("remember", arguments) for _ in range(8)))
        for _ in range(3):  # what met one still in progress is told to try again, and then finds it
            answers = [await agent.call_tool("remember", arguments) if one.is_error else one for one in answers]
    assert len({one.structured_content["id"] for one in answers}) == 1
    assert len((await tenant.http.get("/v1/memories")).json()["memories"]) == 1


async def test_a_client_that_was_idle_or_cut_off_goes_on(app: FastAPI, tenant: Tenant) -> None:
    """Any replica answers any request: the second server has never seen this client's handshake."""
    async with connected(app, tenant.key, mode="legacy") as agent:
        await agent.call_tool("remember", {"text": "before the cut"})
        async with connected(app, tenant.key, mode="legacy") as again:
            assert "before the cut" in text(await again.call_tool("recall", {"query": "cut"}))
        assert "before the cut" in text(await agent.call_tool("recall", {"query": "cut"}))
