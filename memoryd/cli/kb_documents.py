"""``memoryd kb documents``, ``original`` and ``collect``."""

import json
from itertools import islice
from pathlib import Path

import click

from memoryd.cli.connection import Connection, connecting
from memoryd.cli.shown import as_json, document, line, plain, table
from memoryd.cli.values import base_and_version


@click.command()
@click.argument("name")
@click.option("--version", default=None, help="A number, a tag or `live`, which is the default; or say it as NAME@VERSION.")
@click.option("--limit", type=click.IntRange(1), default=None, help="At most so many; default: all.")
@connecting
@as_json
def documents(connection: Connection, name: str, version: str | None, limit: int | None, as_json: bool) -> None:
    """Documents of a version, by id."""
    name, version = base_and_version(name, version)
    with connection.client() as memoryd:
        found = list(islice(memoryd.knowledge.documents(name, version=version), limit))
    if as_json:
        for one in found:
            line(one)
        return
    rows = [(one.document_id, one.bytes, one.pages, one.chunks, one.since, one.title, len(one.warnings) or None) for one in found]
    names = ("DOCUMENT", "BYTES", "PAGES", "CHUNKS", "SINCE", "TITLE", "WARNINGS")
    table(names, rows, right=("BYTES", "PAGES", "CHUNKS", "SINCE", "WARNINGS"))


@click.command()
@click.argument("name")
@click.argument("document_id", metavar="DOCUMENT")
@click.argument("to", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--version", default=None, help="A number, a tag or `live`, which is the default; or say it as NAME@VERSION.")
@connecting
@as_json
def original(connection: Connection, name: str, document_id: str, to: Path, version: str | None, as_json: bool) -> None:
    """Write a document's bytes, as they came, to FILE."""
    name, version = base_and_version(name, version)
    try:
        with connection.client() as memoryd:
            size = memoryd.knowledge.original(name, document_id, to, version=version)
    except OSError as error:
        raise click.UsageError(f"{to} cannot be written: {error.strerror}") from error
    if as_json:
        document(json.dumps({"file": str(to), "bytes": size}))
    else:
        click.echo(f"{plain(to)}: {size:,} bytes")


@click.command()
@click.argument("name")
@connecting
@as_json
def collect(connection: Connection, name: str, as_json: bool) -> None:
    """Give up versions that the retention does not keep, now; the service does so by itself in time."""
    with connection.client() as memoryd:
        done = memoryd.knowledge.collect(name)
    if as_json:
        line(done)
    else:
        given_up = ", ".join(map(str, done.versions)) or "none"
        click.echo(f"versions given up: {given_up}; {done.documents:,} documents and {done.chunks:,} chunks went")
