"""``memoryd kb``: knowledge bases and their versions."""

from typing import get_args

import click

from memoryd.cli.connection import Connection, connecting
from memoryd.cli.hits import hits
from memoryd.cli.kb_documents import collect, documents, original
from memoryd.cli.kb_settings import change, create, show
from memoryd.cli.shown import as_json, confirmed, line, minute, table, unasked
from memoryd.cli.values import Pair, base_and_version, words
from memoryd.client import Version
from memoryd.client.questions import Rerank, Scalar


@click.group()
def kb() -> None:
    """Knowledge bases: documents in versions that are published and rolled back."""


@kb.command("list")
@connecting
@as_json
def list_bases(connection: Connection, as_json: bool) -> None:
    """All that the key may see."""
    with connection.client() as memoryd:
        found = list(memoryd.knowledge.list())
    if as_json:
        for base in found:
            line(base)
        return
    rows = [(one.name, one.space, one.live, one.newest, one.description) for one in found]
    table(("NAME", "SPACE", "LIVE", "NEWEST", "DESCRIPTION"), rows, right=("LIVE", "NEWEST"))


@kb.command("versions")
@click.argument("name")
@connecting
@as_json
def versions(connection: Connection, name: str, as_json: bool) -> None:
    """Versions, newest first; `*` is live."""
    with connection.client() as memoryd:
        found = list(memoryd.knowledge.versions(name))
    if as_json:
        for one in found:
            line(one)
        return
    rows = []
    for one in found:
        live, tags = "*" if one.live else "", " ".join(one.tags)
        rows.append((live, one.version, one.state, one.documents, one.chunks, minute(one.published_at), tags, one.note))
    names = ("", "VERSION", "STATE", "DOCUMENTS", "CHUNKS", "PUBLISHED", "TAGS", "NOTE")
    table(names, rows, right=("VERSION", "DOCUMENTS", "CHUNKS"))


@kb.command("search")
@click.argument("name")
@click.argument("query", nargs=-1, required=True)
@click.option("--version", default=None, help="A number, a tag or `live`, which is the default; or say it as NAME@VERSION.")
@click.option("-k", "--k", "limit", type=click.IntRange(1, 100), default=10, show_default=True, help="At most so many hits.")
@click.option("--document", "documents", multiple=True, help="Only in this document; may be repeated.")
@click.option("--metadata", multiple=True, type=Pair(), help="Only in documents with this value; may be repeated.")
@click.option(
    "--rerank", type=click.Choice(get_args(Rerank)), default="auto", show_default=True, help="Whether a model reads them."
)
@click.option("--explain", is_flag=True, help="Why each hit is where it is.")
@connecting
@as_json
def search(
    connection: Connection,
    name: str,
    query: tuple[str, ...],
    version: str | None,
    limit: int,
    documents: tuple[str, ...],
    metadata: tuple[tuple[str, Scalar], ...],
    rerank: Rerank,
    explain: bool,
    as_json: bool,
) -> None:
    """Find passages of one knowledge base."""
    name, version = base_and_version(name, version)
    with connection.client() as memoryd:
        found = memoryd.knowledge.search(
            name,
            words(query),
            version=version,
            limit=limit,
            document_ids=documents,
            metadata=dict(metadata),
            rerank=rerank,
            explain=explain,
        )
    if as_json:
        line(found)
    else:
        hits(found)


@kb.command("publish")
@click.argument("name")
@click.option("--note", default=None, help="What changed, for people.")
@connecting
@as_json
def publish(connection: Connection, name: str, note: str | None, as_json: bool) -> None:
    """Make the draft the next version, and live."""
    with connection.client() as memoryd:
        version = memoryd.knowledge.publish(name, note=note)
    _moved(name, version, as_json)


@kb.command("discard")
@click.argument("name")
@unasked
@connecting
def discard(connection: Connection, name: str, yes: bool) -> None:
    """Drop the draft: all that was staged and not published. Versions stay."""
    confirmed(f"Drop all that was staged for {name} and not published?", yes)
    with connection.client() as memoryd:
        memoryd.knowledge.discard(name)
    click.echo(f"{name} has no draft any more")


@kb.command("delete")
@click.argument("name")
@unasked
@connecting
def delete(connection: Connection, name: str, yes: bool) -> None:
    """Delete a knowledge base for good, with all its versions and originals."""
    confirmed(f"Delete {name} with all its versions and originals?", yes)
    with connection.client() as memoryd:
        memoryd.knowledge.delete(name)
    click.echo(f"{name} is deleted")


@kb.command("rollback")
@click.argument("name")
@click.argument("to")
@connecting
@as_json
def rollback(connection: Connection, name: str, to: str, as_json: bool) -> None:
    """Make an earlier (or later) version live: its number or a tag."""
    with connection.client() as memoryd:
        version = memoryd.knowledge.rollback(name, to)
    _moved(name, version, as_json)


@kb.command("tag")
@click.argument("name")
@click.argument("tag")
@click.argument("version", default="live")
@click.option("--remove", is_flag=True, help="Take the name away.")
@connecting
def tag(connection: Connection, name: str, tag: str, version: str, remove: bool) -> None:
    """Name a version (default: the live one). It is kept whatever the retention says."""
    with connection.client() as memoryd:
        if remove:
            memoryd.knowledge.untag(name, tag)
        else:
            memoryd.knowledge.tag(name, tag, version)
    click.echo(f"{name}@{tag} is gone" if remove else f"{name}@{tag} is {name}@{version}")


@kb.command("diff")
@click.argument("name")
@click.option("--before", default=None, help="A number, a tag or `live`; default: what AFTER was based on.")
@click.option("--after", default="draft", show_default=True, help="A number, a tag, `live` or `draft`.")
@connecting
@as_json
def diff(connection: Connection, name: str, before: str | None, after: str, as_json: bool) -> None:
    """What changed between two versions; by default, what a publish would change."""
    with connection.client() as memoryd:
        whole = memoryd.knowledge.diff(name, before=before, after=after)
        changes = list(memoryd.knowledge.changes(name, before=before, after=after))
    if as_json:
        line(whole.model_copy(update={"changes": changes, "next_cursor": None}))
        return
    marks = {"added": "+", "removed": "-", "changed": "~"}
    table(
        ("", "DOCUMENT", "CHUNKS+", "CHUNKS-"),
        [(marks[one.change], one.document_id, one.chunks_added, one.chunks_removed) for one in changes],
        right=("CHUNKS+", "CHUNKS-"),
    )
    for what, counts in (("documents", whole.documents), ("chunks", whole.chunks)):
        parts = [f"{number:,} {word}" for word, number in counts.model_dump().items() if number]
        click.echo(f"{what}: {', '.join(parts) or 'none'}")


for command in (show, create, change, documents, original, collect):
    kb.add_command(command)


def _moved(name: str, version: Version, as_json: bool) -> None:
    if as_json:
        line(version)
        return
    click.echo(f"{name}@live is version {version.version}: {version.documents:,} documents, {version.chunks:,} chunks")
