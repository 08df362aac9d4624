"""``memoryd mcp``: a Model Context Protocol server on standard input and output."""

import asyncio

import click

from memoryd.cli.connection import Connection, Here, connecting
from memoryd.logs import configure
from memoryd.mcp.installation import Address, Embedded, Given, Where
from memoryd.mcp.stdio import serve


@click.command()
@connecting
def mcp(connection: Connection) -> None:
    """Serve MCP on standard input and output, for an agent that starts its servers itself.

    For the service that any command would ask; where that is memoryd on this machine, it is started if needed.
    """
    configure("warning")
    asyncio.run(serve(_where(connection)))


def _where(connection: Connection) -> Where:
    found = connection.place()
    if isinstance(found, Here):
        return Embedded(found.path, found.key)
    return Given(Address(found.url.rstrip("/").removesuffix("/mcp"), found.key))
