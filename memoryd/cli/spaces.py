"""``memoryd spaces``."""

import click

from memoryd.cli.connection import Connection, connecting
from memoryd.cli.shown import as_json, day, line, table


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
