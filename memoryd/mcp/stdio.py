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
    """Until standard input or a signal ends it. What anything else writes to standard output goes to standard error meanwhile."""
    remote = Remote(where)
    _stop_on_signals(where)
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
# Ctrl-C, a terminal that is closed, and what applications send. The embedded memoryd is in a session of its own: nobody else
# would end it.
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _stop_on_signals(where: Where) -> None:
    """Reading standard input cannot be interrupted: stop what was started, and leave. A second signal does not wait for that."""

    async def leave(number: signal.Signals) -> None:
        try:
            await where.close()
        finally:
            os._exit(128 + number)

    def end(number: signal.Signals) -> None:
        _STOPPING.add(loop.create_task(leave(number)))

    loop = asyncio.get_running_loop()
    for number in _ENDS:
        loop.add_signal_handler(number, end, number)
