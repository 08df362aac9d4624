"""``memoryd session append``, ``messages`` and ``context``."""

import sys
from contextlib import closing
from datetime import datetime
from typing import get_args

import click
from rich.text import Text

from memoryd.cli.connection import PATIENT, Connection, connecting
from memoryd.cli.hits import missing
from memoryd.cli.shown import as_json, console, line, minute, note, plain, prose
from memoryd.cli.values import Moment, words
from memoryd.client import Memoryd, NewMessage, SessionMessage
from memoryd.client.recalling import DEFAULT_TOKENIZER
from memoryd.client.session_models import Role


@click.command()
@click.argument("session_id")
@click.argument("text", nargs=-1, required=True)
@click.option("--role", type=click.Choice([one for one in get_args(Role) if one != "tool"]), default="user", show_default=True)
@click.option("--name", default=None, help="Who speaks.")
@click.option("--agent", "agent_id", default=None, help="The agent that says it.")
@click.option("--event-time", type=Moment(), default=None, help="When it was said.")
@click.option("--id", "own_id", default=None, help="Your own name for it: the same is appended once.")
@click.option("--pinned", is_flag=True, help="Show it in every context.")
@click.option("--space", default=None, help="Of a new session: where a commit goes.")
@click.option("--user", "user_id", default=None, help="Of a new session.")
@click.option("--ttl", "ttl_s", type=click.IntRange(10), default=None, help="Of a new session: seconds after its last use.")
@connecting
@as_json
def append(
    connection: Connection,
    session_id: str,
    text: tuple[str, ...],
    role: Role,
    name: str | None,
    agent_id: str | None,
    event_time: datetime | None,
    own_id: str | None,
    pinned: bool,
    space: str | None,
    user_id: str | None,
    ttl_s: int | None,
    as_json: bool,
) -> None:
    """Append a message; the first makes the session. `-` is standard input."""
    message = NewMessage(role, words(text), name=name, agent_id=agent_id, event_time=event_time, id=own_id, pinned=pinned)
    with connection.client() as memoryd:
        done = memoryd.sessions.append(session_id, message, space=space, user_id=user_id, ttl_s=ttl_s)
    if as_json:
        line(done)
    else:
        click.echo(f"{session_id}: message {done.results[0].position} {done.results[0].status}")


@click.command()
@click.argument("session_id")
@click.option("--after", type=click.IntRange(0), default=None, help="All those above this position, instead of the newest.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Of the newest, at most so many.")
@click.option("--follow", is_flag=True, help="Stay, and show messages as they come; Ctrl-C ends it.")
@connecting
@as_json
def messages(connection: Connection, session_id: str, after: int | None, limit: int, follow: bool, as_json: bool) -> None:
    """Messages in order."""
    show = line if as_json else _shown
    with connection.client(retries=PATIENT) as memoryd:
        last = after or 0
        given = (
            memoryd.sessions.messages(session_id, after=last) if after is not None else memoryd.sessions.newest(session_id, limit)
        )
        for message in given:
            last = message.position
            show(message)
        if follow:
            _follow(memoryd, session_id, last, as_json=as_json)


def _follow(memoryd: Memoryd, session_id: str, after: int, *, as_json: bool) -> None:
    with closing(memoryd.sessions.events(session_id, after=after)) as events:
        for event in events:
            if event.message is not None:
                (line if as_json else _shown)(event.message)
                sys.stdout.flush()
            elif event.kind == "restore":
                note("the session was taken back to a checkpoint", style="yellow")


@click.command()
@click.argument("session_id")
@click.option(
    "--budget", type=click.IntRange(0, 200_000), default=4_000, show_default=True, help="Tokens that all of it may take."
)
@click.option("--tokenizer", default=DEFAULT_TOKENIZER, show_default=True, help="What tokens are counted with.")
@connecting
@as_json
def context(connection: Connection, session_id: str, budget: int, tokenizer: str, as_json: bool) -> None:
    """What a model should see of a session: pinned messages, a summary, and the newest messages that fit."""
    with connection.client() as memoryd:
        found = memoryd.sessions.context(session_id, budget_tokens=budget, tokenizer=tokenizer)
    if as_json:
        line(found)
        return
    click.echo(prose(found.text) if sys.stdout.isatty() else found.text)
    omitted = f", {found.omitted:,} in neither window nor summary" if found.omitted else ""
    note(f"{found.used_tokens:,} of {found.budget_tokens:,} tokens: {len(found.messages):,} messages{omitted}")
    missing(found.degraded)


def _shown(message: SessionMessage) -> None:
    who = message.name or message.agent_id or message.role
    when = minute(message.event_time or message.recorded_at)
    head = Text(f"{message.position:>4}  ", style="dim").append(plain(who), style="bold cyan").append(f"  {when}", style="dim")
    if message.pinned:
        head.append("  pinned", style="yellow")
    out = console(sys.stdout.isatty())
    out.print(head)
    for one in _said(message):
        out.print(Text(f"      {one}"))


def _said(message: SessionMessage) -> list[str]:
    if isinstance(message.content, str):
        parts = prose(message.content).splitlines()
    else:
        parts = [plain(one.get("text") or f"({one.get('type')})") for one in message.content or ()]
    return parts + [f"calls {plain(one.get('name'))}" for one in message.tool_calls]
