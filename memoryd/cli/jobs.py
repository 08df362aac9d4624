"""``memoryd jobs``: how jobs go on, and what they are told."""

import sys
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NoReturn, get_args
from uuid import UUID

import click

from memoryd.cli.bars import Bars, said
from memoryd.cli.connection import PATIENT, Connection, connecting
from memoryd.cli.shown import as_json, fields, line, second, seconds, table
from memoryd.client import Job, JobItem, Memoryd
from memoryd.client.job_models import ItemState, JobState

_STATES: dict[str, ItemState] = {one: one for one in get_args(ItemState)}
_FAILED = 1
_INTERRUPTED = 130


@click.group()
def jobs() -> None:
    """Jobs: what becomes of the documents that were sent."""


@jobs.command("list")
@click.option("--state", type=click.Choice(get_args(JobState)), default=None, help="Only those.")
@click.option("--kb", default=None, help="Only those of a knowledge base.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="So many, the newest.")
@connecting
@as_json
def list_jobs(connection: Connection, state: JobState | None, kb: str | None, limit: int, as_json: bool) -> None:
    """Jobs, newest first."""
    with connection.client() as memoryd:
        found = [job for job, _ in zip(memoryd.jobs.list(state=state, kb=kb), range(limit), strict=False)]
    if as_json:
        for job in found:
            line(job)
        return
    rows = []
    for one in found:
        counters = one.counters
        documents = f"{counters.ended:,}/{counters.items:,}"
        publishes = "yes" if one.publish else None
        rows.append((one.id, one.kb, one.state, documents, counters.failed, counters.chunks, publishes, second(one.created_at)))
    names = ("JOB", "KB", "STATE", "DOCUMENTS", "FAILED", "CHUNKS", "PUBLISHES", "BEGUN")
    table(names, rows, right=("DOCUMENTS", "FAILED", "CHUNKS"))


@jobs.command("show")
@click.argument("job_id", type=click.UUID)
@click.option("--items", "of", type=click.Choice([*_STATES, "all"]), default="failed", show_default=True)
@click.option("--watch", is_flag=True, help="Stay until it has ended; Ctrl-C leaves the job running.")
@connecting
@as_json
def show(connection: Connection, job_id: UUID, of: str, watch: bool, as_json: bool) -> None:
    """A job, and its documents that failed. Exit status 1 when any did."""
    with connection.client(retries=PATIENT) as memoryd:
        job = watched(memoryd, job_id) if watch else memoryd.jobs.get(job_id)
        if as_json:
            line(job)
        else:
            _described(job)
        found = list(memoryd.jobs.items(job_id, state=_STATES.get(of)))
    if as_json:
        for item in found:
            line(item)
    elif found:
        outcomes(found)
    sys.exit(_FAILED if job.counters.failed or job.state == "failed" else 0)


def outcomes(items: list[JobItem]) -> None:
    """What became of documents."""
    table(("DOCUMENT", "STATE", "REASON", "DETAIL"), [(one.document_id, one.state, one.reason, one.detail) for one in items])


def watched(memoryd: Memoryd, job_id: UUID) -> Job:
    """The job when it has ended; Ctrl-C says how to come back, and ends the command."""
    try:
        with Bars() as bars:
            return memoryd.jobs.wait(job_id, on_change=bars.job)
    except KeyboardInterrupt:
        left_running([job_id])


def left_running(ids: Sequence[UUID]) -> NoReturn:
    """Say that they go on without us, and how to follow them."""
    for one in ids:
        click.echo(f"job {one} goes on. Follow it: memoryd jobs show --watch {one}; stop it: memoryd jobs cancel {one}", err=True)
    sys.exit(_INTERRUPTED)


def _commanded(name: str, help_: str, tell: Callable[[Memoryd, UUID], Job]) -> None:
    @jobs.command(name, help=help_)
    @click.argument("job_id", type=click.UUID)
    @connecting
    @as_json
    def command(connection: Connection, job_id: UUID, as_json: bool) -> None:
        with connection.client() as memoryd:
            job = tell(memoryd, job_id)
        if as_json:
            line(job)
        else:
            click.echo(said(job))


_commanded("cancel", "Stop a job for good; what it stored stays in the draft.", lambda memoryd, one: memoryd.jobs.cancel(one))
_commanded("pause", "Stop a job at its next checkpoint.", lambda memoryd, one: memoryd.jobs.pause(one))
_commanded("resume", "Let a paused job go on.", lambda memoryd, one: memoryd.jobs.resume(one))
_commanded("retry", "Do the failed documents of a job again.", lambda memoryd, one: memoryd.jobs.retry(one))


@jobs.command("dead")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="So many, those of the oldest job first.")
@connecting
@as_json
def dead(connection: Connection, limit: int, as_json: bool) -> None:
    """Dead letters: documents that were tried as often as may be."""
    with connection.client() as memoryd:
        found = list(islice(memoryd.jobs.dead_letters(), limit))
    if as_json:
        for letter in found:
            line(letter)
        return
    rows = [(one.job_id, one.item, one.document_id, one.attempts, one.reason, one.detail) for one in found]
    table(("JOB", "ITEM", "DOCUMENT", "ATTEMPTS", "REASON", "DETAIL"), rows, right=("ITEM", "ATTEMPTS"))


@jobs.command("replay")
@click.argument("job_id", type=click.UUID)
@click.option(
    "--item", "items", type=click.IntRange(0), multiple=True, help="Only this one; may be repeated. Default: all of them."
)
@connecting
@as_json
def replay(connection: Connection, job_id: UUID, items: tuple[int, ...], as_json: bool) -> None:
    """Do dead letters of a job again, with all their attempts."""
    with connection.client() as memoryd:
        done = memoryd.jobs.replay(job_id, items=items or None)
    if as_json:
        line(done)
        return
    click.echo(f"queued again: {done.replayed:,}")
    click.echo(said(done.job))


def _described(job: Job) -> None:
    counters = job.counters
    pairs: list[tuple[str, object]] = [
        ("job", job.id),
        ("kind", job.kind),
        ("kb", job.kb),
        ("state", job.state if job.wish is None else f"{job.state}, {job.wish} asked for"),
        ("documents", f"{counters.ended:,} of {counters.items:,}"),
        ("succeeded", counters.succeeded),
        ("unchanged", counters.unchanged),
        ("failed", counters.failed),
        ("cancelled", counters.cancelled),
        ("chunks", counters.chunks),
        ("tokens", counters.tokens),
        ("publishes", "when it is through and no document failed" if job.publish else "no"),
        ("note", job.note),
        ("version", job.version),
        ("chunks/s", job.per_second.chunks),
        ("time left", None if job.eta_s is None else seconds(job.eta_s)),
        ("begun", second(job.created_at)),
        ("ended", second(job.finished_at)),
    ]
    if job.error is not None:
        pairs.append(("error", f"{job.error.detail} [{job.error.code}]"))
    fields(pairs)
