"""MCP over standard input and output: what desktop applications and editors start."""

import asyncio
import os
import signal
from contextlib import suppress

from mcp.server.stdio import stdio_server

from memoryd.mcp.installation import Where
from memoryd.mcp.remote import Remote
from memoryd.mcp.server import create_server
from retrieval.errors import MemorydError


async def serve(where: Where) -> None:
    """Until standard input ends, or SIGTERM. What anything else writes to standard output goes to standard error meanwhile."""
    remote = Remote(where)
    _stop_on_sigterm(where)
    try:
        async with stdio_server() as (incoming, outgoing):
            # An embedded memoryd starts while the client still reads who we are.
            starting = asyncio.create_task(_begun(where))
            server = create_server(remote)
            await server.run(incoming, outgoing, server.create_initialization_options())
            starting.cancel()
    finally:
        await remote.close()
        await where.close()


async def _begun(where: Where) -> None:
    with suppress(MemorydError):  # the first call meets it again, and can tell it to somebody
        await where.find(None)


_STOPPING: set[asyncio.Task[None]] = set()


def _stop_on_sigterm(where: Where) -> None:
    """Reading standard input cannot be interrupted: stop what was started, and leave."""

    async def leave() -> None:
        try:
            await where.close()
        finally:
            os._exit(128 + signal.SIGTERM)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: _STOPPING.add(loop.create_task(leave())))
