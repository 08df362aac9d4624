"""MCP over streamable HTTP, without sessions: every request stands alone, and any replica can answer it."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from memoryd.mcp.local import Local
from memoryd.mcp.server import create_server
from memoryd.services import Services


@asynccontextmanager
async def open_endpoint(use: Services) -> AsyncIterator[StreamableHTTPSessionManager]:
    """Whose ``handle_request`` is an ASGI application. Caller, limits, host and origin have been checked before it."""
    # The SDK logs what it cannot parse, as it came: content. What matters of it is answered, or logged by us.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    # Bodies are limited, and refused as problems, by the middleware.
    manager = StreamableHTTPSessionManager(
        create_server(Local(use)), json_response=True, stateless=True, max_request_body_size=sys.maxsize
    )
    ready, closing = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        async with manager.run():
            ready.set()
            await closing.wait()

    # In a task of its own: the SDK's must be entered and left by the same one, and a lifespan's two halves need not be.
    running = asyncio.create_task(run())
    try:
        await ready.wait()
        yield manager
    finally:
        closing.set()
        await running
