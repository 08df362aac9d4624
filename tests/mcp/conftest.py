"""The application of the REST tests, called as an agent's client calls it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import BlobResourceContents, CallToolResult, ContentBlock, TextContent, TextResourceContents

from tests.http.conftest import Tenant, anonymous, app, operator, other, tenant

__all__ = ["anonymous", "app", "operator", "other", "tenant"]

URL = "http://memoryd.test/mcp"


@asynccontextmanager
async def connected(app: FastAPI, key: str | None, *, mode: str = "auto") -> AsyncIterator[Client]:
    """The official SDK's client, in-process."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), headers=headers, timeout=60) as http,
        Client(streamable_http_client(URL, http_client=http), mode=mode) as client,
    ):
        yield client


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The running application on a port of this machine; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    serving = asyncio.ensure_future(server.serve([listener]))
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
async def agent(app: FastAPI, tenant: Tenant) -> AsyncIterator[Client]:
    """A client with the tenant's key, open in the task of the fixture."""
    context: AbstractAsyncContextManager[Client] = connected(app, tenant.key)
    ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    # The client's cancel scopes must be entered and left by one task; a fixture's two halves are run by two.
    async def hold() -> None:
        async with context as client:
            ready.set_result(client)
            await done.wait()

    task = asyncio.create_task(hold())
    task.add_done_callback(lambda ended: ready.done() or ready.cancel())  # a client that could not connect
    try:
        yield await ready
    except asyncio.CancelledError:
        await task
        raise
    done.set()
    await task


def text(result: CallToolResult) -> str:
    """What the model reads."""
    (block,) = result.content
    return plain(block)


def plain(block: ContentBlock | TextResourceContents | BlobResourceContents) -> str:
    """The text of a block that is one."""
    assert isinstance(block, TextContent | TextResourceContents)
    return block.text
