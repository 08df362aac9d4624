"""``memoryd audit``: who did what in a tenant."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from uuid import UUID

import click

from memoryd.cli.connection import Connection, connecting
from memoryd.cli.shown import as_json, line, second, table
from memoryd.cli.values import Moment


@click.command()
@click.option("--action", default=None, help="Only those, such as memory.purge.")
@click.option("--object", "object_id", type=click.UUID, default=None, help="Only what was done to this memory, key or space.")
@click.option("--since", type=Moment(), default=None, help="From then on.")
@click.option("--until", type=Moment(), default=None, help="Before then.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="So many, the newest.")
@connecting
@as_json
def audit(
    connection: Connection,
    action: str | None,
    object_id: UUID | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Who did what in the tenant, newest first. Needs a key with `admin` that is not confined."""
    with connection.client() as memoryd:
        log = memoryd.audit.list(action=action, object_id=object_id, since=since, until=until)
        found = list(islice(log, limit))
    if as_json:
        for one in found:
            line(one)
        return
    rows = [(second(one.at), one.principal, one.action, _objects(one.object_ids), one.request_id) for one in found]
    table(("WHEN", "WHO", "WHAT", "TO", "REQUEST"), rows)


def _objects(ids: Sequence[UUID]) -> str | None:
    """One by its id, several by their number: a write of a thousand names them all."""
    return None if not ids else str(ids[0]) if len(ids) == 1 else f"{len(ids):,} objects"
