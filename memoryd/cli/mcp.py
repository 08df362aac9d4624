"""``memoryd mcp``: a Model Context Protocol server on standard input and output."""

import asyncio
from pathlib import Path

import click

from memoryd.embedded import datadir
from memoryd.logs import configure
from memoryd.mcp.installation import Address, Embedded, Given
from memoryd.mcp.stdio import serve


@click.command()
@click.option(
    "--url", envvar="MEMORYD_URL", help="A running server (MEMORYD_URL); without, memoryd on this machine, started if needed."
)
@click.option(
    "--key",
    envvar=["MEMORYD_KEY", "MEMORYD_API_KEY"],
    help="An API key of that server; better in MEMORYD_KEY, which `ps` does not show.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Of the memoryd on this machine.")
def mcp(url: str | None, key: str | None, data_dir: Path | None) -> None:
    """Serve MCP on standard input and output, for an agent that starts its servers itself."""
    configure("warning")
    if url is None:
        asyncio.run(serve(Embedded(data_dir or datadir.default_path())))
        return
    if data_dir is not None:
        raise click.UsageError("--url and --data-dir exclude each other")
    if not key:
        raise click.UsageError("set MEMORYD_KEY (or MEMORYD_API_KEY) to a key of that server")
    asyncio.run(serve(Given(Address(url.rstrip("/").removesuffix("/mcp"), key))))
