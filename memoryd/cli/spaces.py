"""``memoryd spaces``."""

from typing import Literal

import click

from memoryd.cli.connection import Connection, connecting
from memoryd.cli.shown import as_json, day, line, table
from memoryd.client import UNSET
from memoryd.client.bases import Unset

_SETTINGS: dict[str | None, Literal["off", "on"] | Unset | None] = {
    None: UNSET,
    "installation": None,
    "on": "on",
    "off": "off",
}


@click.group()
def spaces() -> None:
    """Spaces: named memory banks that agents share."""


@spaces.command("list")
@connecting
@as_json
def list_spaces(connection: Connection, as_json: bool) -> None:
    """Those that the key may see, by name."""
    with connection.client() as memoryd:
        found = list(memoryd.spaces.list())
    if as_json:
        for one in found:
            line(one)
        return
    table(("NAME", "MADE", "DESCRIPTION"), [(one.name, day(one.created_at), one.description) for one in found])


@spaces.command("create")
@click.argument("name")
@click.option("--description", default=None)
@connecting
@as_json
def create_space(connection: Connection, name: str, description: str | None, as_json: bool) -> None:
    """Make a space on purpose; the first write to one makes it too. Needs a key with `admin`."""
    with connection.client() as memoryd:
        made = memoryd.spaces.create(name, description=description)
    if as_json:
        line(made)
    else:
        click.echo(f"space {made.name} ({made.id})")


@spaces.command("set")
@click.argument("name")
@click.option("--description", default=None, help="An empty one takes it away.")
@click.option(
    "--rerank",
    type=click.Choice(["on", "off", "installation"]),
    default=None,
    help="What `auto` means for its recalls; `installation`: as that has it.",
)
@connecting
@as_json
def set_space(connection: Connection, name: str, description: str | None, rerank: str | None, as_json: bool) -> None:
    """Change a space. Needs a key with `admin`."""
    if description is None and rerank is None:
        raise click.UsageError("give --description or --rerank")
    with connection.client() as memoryd:
        changed = memoryd.spaces.update(
            name, description=UNSET if description is None else description or None, rerank=_SETTINGS[rerank]
        )
    if as_json:
        line(changed)
    else:
        click.echo(f"space {changed.name} ({changed.id})")
