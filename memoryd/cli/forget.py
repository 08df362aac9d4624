"""``memoryd forget``."""

from uuid import UUID

import click

from memoryd.cli.connection import Connection, connecting
from memoryd.cli.refusals import REFUSED
from memoryd.cli.shown import confirmed, prose, unasked
from memoryd.client import NotFound


@click.command()
@click.argument("memory_ids", nargs=-1, required=True, type=click.UUID, metavar="ID...")
@click.option("--purge", is_flag=True, help="Erase every trace of them: it cannot be undone.")
@click.option("--reason", default=None, help="For the history.")
@unasked
@connecting
def forget(connection: Connection, memory_ids: tuple[UUID, ...], purge: bool, reason: str | None, yes: bool) -> None:
    """Take memories out of recall. Exit status 1 when one is not there."""
    confirmed(f"Erase {len(memory_ids):,} for good?", yes or not purge)
    missing = 0
    with connection.client() as memoryd:
        for one in memory_ids:
            try:
                memoryd.forget(one, purge=purge, reason=reason)
            except NotFound as error:
                missing += 1
                click.echo(f"memoryd: {one}: {prose(str(error))}", err=True)
            else:
                click.echo(f"{one} {'purged' if purge else 'forgotten'}")
    if missing:
        raise SystemExit(REFUSED)
