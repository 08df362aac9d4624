"""``memoryd session settings``."""

from typing import get_args

import click

from memoryd.cli.connection import Connection, connecting
from memoryd.cli.shown import as_json, fields, line, seconds
from memoryd.client.session_models import AutoCommit, SessionSettings


@click.command()
@click.option(
    "--auto-commit",
    type=click.Choice(get_args(AutoCommit)),
    default=None,
    help="When sessions make memories of their messages by themselves; each may say otherwise.",
)
@click.option("--idle", "idle_s", type=int, default=None, help="Seconds without a new message, for `idle`.")
@connecting
@as_json
def settings(connection: Connection, auto_commit: AutoCommit | None, idle_s: int | None, as_json: bool) -> None:
    """What the tenant's sessions do unless they say otherwise; changes what is given, with a key with `admin`."""
    given = {"auto_commit": auto_commit, "idle_s": idle_s}
    changes = {name: value for name, value in given.items() if value is not None}
    with connection.client() as memoryd:
        found = memoryd.sessions.settings()
        if changes:
            found = memoryd.sessions.replace_settings(SessionSettings.model_validate(found.model_dump() | changes))
    if as_json:
        line(found)
    else:
        fields([("commit themselves", found.auto_commit), ("idle", f"after {seconds(found.idle_s)} without a new message")])
