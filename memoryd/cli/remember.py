"""``memoryd remember``."""

import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO, get_args
from uuid import UUID

import click

from memoryd.cli.bars import Count
from memoryd.cli.connection import PATIENT, Connection, connecting
from memoryd.cli.lines import objects, texts
from memoryd.cli.shown import as_json, line
from memoryd.cli.values import Moment, Pair, words
from memoryd.client import Kind, NewMemory
from memoryd.client.questions import Scalar

# What a small machine embeds in some seconds: a request is not long on its way.
_BATCH, _BATCH_CHARS = 200, 500_000


@click.command()
@click.argument("text", nargs=-1, required=True)
@click.option("--space", default="default", show_default=True, help="Where; made if missing.")
@click.option("--kind", type=click.Choice(get_args(Kind)), default="episodic", show_default=True)
@click.option("--user", "user_id", default=None, help="Whom it is about.")
@click.option("--agent", "agent_id", default=None, help="Who writes it.")
@click.option("--session", "session_id", default=None, help="Where it was said.")
@click.option("--event-time", type=Moment(), default=None, help="When it happened.")
@click.option("--valid-from", type=Moment(), default=None, help="Since when it is true.")
@click.option("--valid-to", type=Moment(), default=None, help="Until when it was true.")
@click.option("--topic", "topics", multiple=True, help="May be repeated.")
@click.option("--confidence", type=click.FloatRange(0, 1), default=1.0, show_default=True)
@click.option("--source-type", default="conversation", show_default=True)
@click.option("--source-uri", default=None, help="Where it is from.")
@click.option("--metadata", multiple=True, type=Pair(), help="May be repeated.")
@click.option("--external-id", default=None, help="Your own name for it: the same is stored once.")
@click.option("--supersedes", type=click.UUID, default=None, help="The memory that ends with it.")
@click.option("--lines", "by", flag_value="lines", help="TEXT is a file, or `-`: each line is a memory.")
@click.option("--jsonl", "by", flag_value="jsonl", help="TEXT is a file, or `-`: each line is an object as in the REST API.")
@connecting
@as_json
def remember(
    connection: Connection,
    text: tuple[str, ...],
    space: str,
    kind: Kind,
    user_id: str | None,
    agent_id: str | None,
    session_id: str | None,
    event_time: datetime | None,
    valid_from: datetime | None,
    valid_to: datetime | None,
    topics: tuple[str, ...],
    confidence: float,
    source_type: str,
    source_uri: str | None,
    metadata: tuple[tuple[str, Scalar], ...],
    external_id: str | None,
    supersedes: UUID | None,
    by: str | None,
    as_json: bool,
) -> None:
    """Store a memory, or one for each line. `-` is standard input.

    What was stored before is answered as `duplicate`: a command that broke off can be given again.
    """
    like = NewMemory(
        "" if by else words(text),
        space=space,
        kind=kind,
        user_id=user_id,
        agent_id=agent_id,
        session_id=session_id,
        event_time=event_time,
        valid_from=valid_from,
        valid_to=valid_to,
        topics=topics,
        confidence=confidence,
        source_type=source_type,
        source_uri=source_uri,
        metadata=dict(metadata),
        external_id=external_id,
        supersedes=supersedes,
    )
    if by is None:
        with connection.client() as memoryd:
            (written,) = memoryd.remember(like)
        if as_json:
            line(written)
        else:
            click.echo(f"{written.id} {written.status}")
        return
    if external_id is not None or supersedes is not None:
        raise click.UsageError("--external-id and --supersedes are of one memory; in JSON lines each has its own")
    _many(connection, text, like, by, as_json)


def _many(connection: Connection, source: tuple[str, ...], like: NewMemory, by: str, as_json: bool) -> None:
    ended: Counter[str] = Counter()
    with _opened(source) as file, connection.client(retries=PATIENT) as memoryd, Count("remembering") as count:
        for batch in _batches((texts if by == "lines" else objects)(file, like)):
            written = memoryd.remember(*batch)
            ended.update(one.status for one in written)
            count.add(len(written))
            if as_json:
                for one in written:
                    line(one)
    if not as_json:
        click.echo(f"{ended['created']:,} created, {ended['duplicate']:,} duplicates")


@contextmanager
def _opened(source: tuple[str, ...]) -> Iterator[TextIO]:
    if len(source) != 1:
        raise click.UsageError("give one file, or `-`")
    with ExitStack() as stack:
        try:
            if source[0] == "-":
                file: TextIO = stack.enter_context(io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8"))
            else:
                file = stack.enter_context(Path(source[0]).open(encoding="utf-8"))
        except OSError as error:
            raise click.UsageError(f"{source[0]} cannot be read: {error.strerror}") from error
        try:
            yield file
        except UnicodeDecodeError as error:
            raise click.UsageError(f"{source[0]} is not UTF-8: {error}") from error


def _batches(memories: Iterable[NewMemory]) -> Iterator[list[NewMemory]]:
    batch: list[NewMemory] = []
    room = _BATCH_CHARS
    for one in memories:
        if batch and (len(batch) == _BATCH or len(one.text) > room):
            yield batch
            batch, room = [], _BATCH_CHARS
        batch.append(one)
        room -= len(one.text)
    if batch:
        yield batch
