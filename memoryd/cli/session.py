"""``memoryd session``: the group, and the life of sessions."""

from itertools import islice
from typing import get_args

import click

from memoryd.cli.connection import Connection, connecting
from memoryd.cli.session_messages import append, context, messages
from memoryd.cli.session_settings import settings
from memoryd.cli.session_state import checkpoint, checkpoints, restore, set_value, state, unset
from memoryd.cli.shown import as_json, confirmed, fields, line, minute, seconds, table, unasked
from memoryd.client import Session
from memoryd.client.session_models import Role


@click.group()
def session() -> None:
    """Sessions: working memory, with messages, state and checkpoints."""


@session.command("list")
@click.option("--user", "user_id", default=None, help="Only of this user.")
@click.option("--agent", "agent_id", default=None, help="Only those in which this agent said something.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="So many, the newest.")
@connecting
@as_json
def list_sessions(connection: Connection, user_id: str | None, agent_id: str | None, limit: int, as_json: bool) -> None:
    """Sessions that have not ended, newest first."""
    with connection.client() as memoryd:
        found = list(islice(memoryd.sessions.list(user_id=user_id, agent_id=agent_id), limit))
    if as_json:
        for one in found:
            line(one)
        return
    rows = [(one.id, one.space, one.user_id, one.messages, minute(one.created_at), minute(one.expires_at)) for one in found]
    table(("SESSION", "SPACE", "USER", "MESSAGES", "BEGUN", "EXPIRES"), rows, right=("MESSAGES",))


@session.command("show")
@click.argument("session_id")
@connecting
@as_json
def show(connection: Connection, session_id: str, as_json: bool) -> None:
    """One session as it stands."""
    with connection.client() as memoryd:
        found = memoryd.sessions.get(session_id)
    if as_json:
        line(found)
    else:
        _described(found)


@session.command("commit")
@click.argument("session_id")
@click.option("--role", "roles", multiple=True, type=click.Choice(get_args(Role)), help="Of these; default: user, assistant.")
@connecting
@as_json
def commit(connection: Connection, session_id: str, roles: tuple[Role, ...], as_json: bool) -> None:
    """Make memories of the messages that were not committed yet. Safe to repeat."""
    with connection.client() as memoryd:
        done = memoryd.sessions.commit(session_id, roles=roles or None)
    if as_json:
        line(done)
    else:
        click.echo(f"{done.created:,} created, {done.duplicates:,} duplicates, {done.passed_over:,} passed over")


@session.command("snapshot")
@click.argument("session_id")
@connecting
@as_json
def snapshot(connection: Connection, session_id: str, as_json: bool) -> None:
    """Copy a session to object storage now; the worker does so at intervals."""
    with connection.client() as memoryd:
        made = memoryd.sessions.snapshot(session_id)
    if as_json:
        line(made)
    else:
        click.echo(f"snapshot {made.id} of {session_id}: up to message {made.head}, {made.bytes:,} bytes")


@session.command("snapshots")
@click.argument("session_id")
@connecting
@as_json
def snapshots(connection: Connection, session_id: str, as_json: bool) -> None:
    """Copies that are kept, newest first."""
    with connection.client() as memoryd:
        found = memoryd.sessions.snapshots(session_id)
    if as_json:
        for one in found:
            line(one)
        return
    rows = [(one.id, minute(one.taken_at), one.head, one.bytes, one.reason) for one in found]
    table(("SNAPSHOT", "MADE", "HEAD", "BYTES", "WHY"), rows, right=("HEAD", "BYTES"))


@session.command("delete")
@click.argument("session_id")
@unasked
@connecting
def delete(connection: Connection, session_id: str, yes: bool) -> None:
    """Erase a session and its snapshots, for good. What was committed stays in long-term memory."""
    confirmed(f"Erase the session {session_id} for good?", yes)
    with connection.client() as memoryd:
        memoryd.sessions.delete(session_id)
    click.echo(f"session {session_id} is gone")


for command in (append, messages, context, state, set_value, unset, checkpoint, checkpoints, restore, settings):
    session.add_command(command)


def _described(found: Session) -> None:
    fields(
        [
            ("session", found.id),
            ("space", found.space),
            ("user", found.user_id),
            ("agents", ", ".join(found.agents) or None),
            ("messages", found.messages),
            ("head", found.head),
            ("bytes", found.bytes),
            ("committed", _ranges(found.committed)),
            ("lives", f"{seconds(found.ttl_s)} after its last use"),
            ("commits itself", found.auto_commit or "as the tenant's settings say"),
            ("begun", minute(found.created_at)),
            ("expires", minute(found.expires_at)),
        ]
    )


def _ranges(given: list[tuple[int, int | None]]) -> str | None:
    return ", ".join(f"{first}–{'' if last is None else last}" for first, last in given) or None
