"""``memoryd memories``: single memories, what became of them, and the way back."""

from datetime import datetime
from itertools import islice
from uuid import UUID

import click

from memoryd.cli.asking import filtering
from memoryd.cli.connection import Connection, connecting
from memoryd.cli.shown import as_json, fields, indented, line, minute, shortened, table
from memoryd.cli.values import Moment
from memoryd.client import Filters, Memory

# Of a text, in a row of a table.
_LONGEST = 80


@click.group()
def memories() -> None:
    """Single memories: list and show them, what became of one, and back to an earlier state."""


@memories.command("list")
@click.option("--space", default=None, help="Of this space; default: of all that the key may use.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many, in order of arrival.")
@click.option("--as-of", type=Moment(), default=None, help="What was true then.")
@click.option("--known-at", type=Moment(), default=None, help="What the service knew then.")
@filtering
@connecting
@as_json
def list_memories(
    connection: Connection,
    filters: Filters,
    space: str | None,
    limit: int,
    as_of: datetime | None,
    known_at: datetime | None,
    as_json: bool,
) -> None:
    """Memories in the order in which they arrived."""
    with connection.client() as memoryd:
        found = list(islice(memoryd.memories.list(space=space, filters=filters, as_of=as_of, known_at=known_at), limit))
    if as_json:
        for one in found:
            line(one)
        return
    rows = [(one.id, one.kind, minute(one.event_time), _who(one), one.space, _begins(one.text)) for one in found]
    table(("MEMORY", "KIND", "WHEN", "WHO", "SPACE", "TEXT"), rows)


@memories.command("show")
@click.argument("memory_id", type=click.UUID)
@click.option("--as-of", type=Moment(), default=None, help="What was true then.")
@click.option("--known-at", type=Moment(), default=None, help="What the service knew then.")
@connecting
@as_json
def show(connection: Connection, memory_id: UUID, as_of: datetime | None, known_at: datetime | None, as_json: bool) -> None:
    """One memory as it stands."""
    with connection.client() as memoryd:
        found = memoryd.memories.get(memory_id, as_of=as_of, known_at=known_at)
    if as_json:
        line(found)
    else:
        _described(found)


@memories.command("history")
@click.argument("memory_id", type=click.UUID)
@click.option("--known-at", type=Moment(), default=None, help="As it was then.")
@connecting
@as_json
def history(connection: Connection, memory_id: UUID, known_at: datetime | None, as_json: bool) -> None:
    """Every revision, newest first: what it said, who made it so, and why. Also of one that was forgotten."""
    with connection.client() as memoryd:
        found = list(memoryd.memories.history(memory_id, known_at=known_at))
    if as_json:
        for one in found:
            line(one)
        return
    rows = [(one.revision, one.action, minute(one.updated_at), one.actor, one.reason, _begins(one.text)) for one in found]
    table(("REVISION", "WHAT", "WHEN", "BY", "WHY", "TEXT"), rows, right=("REVISION",))


@memories.command("revert")
@click.argument("memory_id", type=click.UUID)
@click.argument("revision", type=click.IntRange(1))
@click.option("--reason", default=None, help="For the history.")
@connecting
@as_json
def revert(connection: Connection, memory_id: UUID, revision: int, reason: str | None, as_json: bool) -> None:
    """Make an earlier revision current again. It undoes `memoryd forget` and supersession too, but no purge."""
    with connection.client() as memoryd:
        found = memoryd.memories.revert(memory_id, revision, reason=reason)
    if as_json:
        line(found)
    else:
        click.echo(f"{found.id} is as in revision {revision} again, which is now revision {found.revision}")


def _described(found: Memory) -> None:
    source = found.source.type if found.source.uri is None else f"{found.source.type} {found.source.uri}"
    fields(
        [
            ("memory", found.id),
            ("space", found.space),
            ("kind", found.kind),
            ("user", found.user_id),
            ("agent", found.agent_id),
            ("session", found.session_id),
            ("when", minute(found.event_time)),
            ("valid", _span(found.valid_from, found.valid_to)),
            ("topics", ", ".join(found.topics) or None),
            ("source", source),
            ("supersedes", found.supersedes),
            ("superseded by", found.superseded_by),
            ("revision", found.revision),
            ("written", minute(found.created_at)),
            ("changed", minute(found.updated_at)),
        ]
    )
    indented(found.text)


def _span(first: datetime | None, last: datetime | None) -> str | None:
    return None if first is None and last is None else f"{minute(first) or ''} – {minute(last) or ''}".strip()


def _who(one: Memory) -> str | None:
    return one.speaker or one.user_id


def _begins(text: str) -> str:
    """As much of it as fits a row."""
    return shortened(" ".join(text.split()), _LONGEST)
