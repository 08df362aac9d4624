"""``memoryd recall``."""

import click

from memoryd.cli.asking import asking
from memoryd.cli.connection import Connection, connecting
from memoryd.cli.hits import hits
from memoryd.cli.shown import as_json, line
from memoryd.client import Question


@click.command()
@asking
@connecting
@as_json
def recall(connection: Connection, question: Question, as_json: bool) -> None:
    """Find memories, and with --kb passages of knowledge bases."""
    with connection.client() as memoryd:
        found = memoryd.recall(question)
    if as_json:
        line(found)
    else:
        hits(found)
