"""``memoryd migrate``: what comes before the roles of an installation on external stores."""

import click

from memoryd.database_wiring import prepare_database
from memoryd.settings import Settings


@click.command()
def migrate() -> None:
    """Bring the database to this version. Needs MEMORYD_OWNER_DATABASE_URL; safe to repeat."""
    applied = prepare_database(Settings())
    click.echo(f"applied {', '.join(applied)}" if applied else "nothing to apply")
