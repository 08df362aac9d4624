"""``memoryd session state``, ``set``, ``unset``, ``checkpoint``, ``checkpoints`` and ``restore``."""

import json
from uuid import UUID

import click
from pydantic import JsonValue

from memoryd.cli.connection import Connection, connecting
from memoryd.cli.shown import as_json, line, minute, table
from memoryd.cli.values import standard_input
from memoryd.client import Checkpoint


@click.command()
@click.argument("session_id")
@click.argument("entry", metavar="[KEY]", required=False)
@connecting
@as_json
def state(connection: Connection, session_id: str, entry: str | None, as_json: bool) -> None:
    """The state of a session: every key, or the value of one as JSON."""
    with connection.client() as memoryd:
        found = memoryd.sessions.state(session_id) if entry is None else [memoryd.sessions.get_state(session_id, entry)]
    if as_json:
        for one in found:
            line(one)
    elif entry is None:
        rows = [(one.key, one.version, json.dumps(one.value, ensure_ascii=False)) for one in found]
        table(("KEY", "VERSION", "VALUE"), rows, right=("VERSION",))
    else:
        click.echo(json.dumps(found[0].value))


@click.command("set")
@click.argument("session_id")
@click.argument("entry", metavar="KEY")
@click.argument("value")
@click.option("--version", type=click.IntRange(1), default=None, help="Only if the key still has this version.")
@click.option("--new", "absent", is_flag=True, help="Only if there is no such key yet.")
@connecting
@as_json
def set_value(
    connection: Connection, session_id: str, entry: str, value: str, version: int | None, absent: bool, as_json: bool
) -> None:
    """Set a key of the state. VALUE is JSON, or else a text; `-` is standard input."""
    if version is not None and absent:
        raise click.UsageError("--version and --new exclude each other")
    given = _json(standard_input() if value == "-" else value)
    with connection.client() as memoryd:
        written = memoryd.sessions.put_state(session_id, entry, given, version=version, absent=absent)
    if as_json:
        line(written)
    else:
        click.echo(f"{session_id}: {written.key} has version {written.version}")


@click.command()
@click.argument("session_id")
@click.argument("entry", metavar="KEY")
@click.option("--version", type=click.IntRange(1), default=None, help="Only if the key still has this version.")
@connecting
def unset(connection: Connection, session_id: str, entry: str, version: int | None) -> None:
    """Delete a key of the state."""
    with connection.client() as memoryd:
        memoryd.sessions.delete_state(session_id, entry, version=version)
    click.echo(f"{session_id}: {entry} is gone")


@click.command()
@click.argument("session_id")
@click.option("--label", default=None, help="Those with one outlive those without.")
@click.option("--step", type=click.IntRange(0), default=None, help="The agent's own count.")
@connecting
@as_json
def checkpoint(connection: Connection, session_id: str, label: str | None, step: int | None, as_json: bool) -> None:
    """Remember this moment of a session: messages, state, step, label."""
    with connection.client() as memoryd:
        made = memoryd.sessions.checkpoint(session_id, label=label, step=step)
    if as_json:
        line(made)
    else:
        click.echo(f"checkpoint {made.id} at message {made.position}")


@click.command()
@click.argument("session_id")
@connecting
@as_json
def checkpoints(connection: Connection, session_id: str, as_json: bool) -> None:
    """Checkpoints that are kept, oldest first."""
    with connection.client() as memoryd:
        found = memoryd.sessions.checkpoints(session_id)
    if as_json:
        for one in found:
            line(one)
        return
    rows = [(one.id, one.position, one.step, _label(one), minute(one.created_at)) for one in found]
    table(("CHECKPOINT", "MESSAGE", "STEP", "LABEL", "MADE"), rows, right=("MESSAGE", "STEP"))


@click.command()
@click.argument("session_id")
@click.argument("checkpoint_id", type=click.UUID)
@connecting
@as_json
def restore(connection: Connection, session_id: str, checkpoint_id: UUID, as_json: bool) -> None:
    """Take a session back to a checkpoint; what it prints takes that back."""
    with connection.client() as memoryd:
        done = memoryd.sessions.restore(session_id, checkpoint_id)
    if as_json:
        line(done)
        return
    click.echo(
        f"{session_id}: {done.set_aside:,} messages set aside; take it back: memoryd session restore {session_id} {done.undo}"
    )


def _label(one: Checkpoint) -> str | None:
    return "made by a restore" if one.automatic and one.label is None else one.label


def _json(text: str) -> JsonValue:
    try:
        found: JsonValue = json.loads(text)
    except ValueError:
        return text
    return found
