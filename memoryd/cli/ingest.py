"""``memoryd ingest``: a folder, files or an archive into a knowledge base."""

import json
import sys
from pathlib import Path

import click

from ingestion.sources.globs import check
from memoryd.cli.bars import Bars
from memoryd.cli.connection import PATIENT, Connection, connecting
from memoryd.cli.jobs import left_running
from memoryd.cli.shown import as_json, document, plain, table
from memoryd.client import Ingestion, JobItem, Memoryd, NotFound, Options, Walk, Which

_FAILED, _HINDERED, _INTERRUPTED = 1, 2, 130
# More are in `memoryd jobs show`.
_SHOWN = 50


class _Glob(click.ParamType[str]):
    """A glob that is understood: what was meant to stay out must not be sent because it was taken literally."""

    name = "glob"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            check(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(exists=True, path_type=Path))
@click.option("--kb", "name", required=True, help="The knowledge base.")
@click.option("--include", multiple=True, type=_Glob(), help="Only paths that match, such as '**/*.md'; may be repeated.")
@click.option("--exclude", multiple=True, type=_Glob(), help="No paths that match; may be repeated.")
@click.option("--prefix", default="", help="In front of every document's id, such as 'handbook/'.")
@click.option(
    "--prune", is_flag=True, help="Remove the documents whose id begins with the prefix and that are not in the source."
)
@click.option("--all", "everything", is_flag=True, help="Send also what has not changed: after a change of the chunking.")
@click.option("--publish", is_flag=True, help="Publish when all is through and no document failed.")
@click.option("--note", default=None, help="Of the version that is published.")
@click.option("--create", is_flag=True, help="Make the knowledge base if it is missing.")
@click.option("--space", default="default", show_default=True, help="Of a knowledge base that is made.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Stay until the documents are through.")
@connecting
@as_json
def ingest(
    connection: Connection,
    sources: tuple[Path, ...],
    name: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    prefix: str,
    prune: bool,
    everything: bool,
    publish: bool,
    note: str | None,
    create: bool,
    space: str,
    wait: bool,
    as_json: bool,
) -> None:
    """Put files, folders and archives into a knowledge base. What has not changed is not sent.

    Exit status 0: all good; 1: a document failed, see the table; 2: it could not be done; 130: interrupted.
    """
    options = Options(prune=prefix if prune else None, everything=everything, publish=publish, note=note)
    begun: Ingestion | None = None
    try:
        with (
            connection.client(_HINDERED, retries=PATIENT) as memoryd,
            Walk(sources, Which(prefix, include, exclude)) as files,
            Bars() as bars,
        ):
            if create:
                _made(memoryd, name, space)
            begun = memoryd.knowledge.ingest_local(name, files, options=options, report=bars.local)
            for which, glob in files.idle:
                click.echo(f"memoryd: warning: --{which} {plain(glob)} matched nothing", err=True)
            live = None
            if wait or not begun.jobs:
                finished = memoryd.knowledge.finish(name, begun, on_change=bars.job)
                begun, live = finished.ingestion, finished.live
            lossy = [job for job in begun.jobs if job.counters.failed]
            failed = [item for job in lossy for item in memoryd.jobs.items(job.id, state="failed")]
    except KeyboardInterrupt:
        if begun is not None and begun.jobs:
            if begun.publish:
                click.echo(_to_be_published(name, begun), err=True)
            left_running([job.id for job in begun.jobs])
        # A job may have been ordered whose answer did not come.
        click.echo(f"interrupted: nothing more is sent; a job that was ordered goes on: memoryd jobs list --kb {name}", err=True)
        sys.exit(_INTERRUPTED)
    (_as_json if as_json else _as_text)(name, begun, failed, live)
    ended = all(job.state == "succeeded" for job in begun.jobs) if wait else True
    sys.exit(_FAILED if begun.refused or failed or not ended else 0)


def _made(memoryd: Memoryd, name: str, space: str) -> None:
    try:
        memoryd.knowledge.get(name)
    except NotFound:
        memoryd.knowledge.create(name, space=space)


def _as_json(name: str, ingestion: Ingestion, failed: list[JobItem], live: int | None) -> None:
    refused = [{"document_id": one.document_id, "reason": one.reason, "detail": one.detail} for one in ingestion.refused]
    items = [{"document_id": one.document_id, "reason": one.reason, "detail": one.detail} for one in failed]
    said = {
        "kb": name,
        "sent": ingestion.sent,
        "unchanged": ingestion.unchanged,
        "removed": ingestion.removed,
        "bytes": ingestion.bytes,
        "jobs": [{"id": str(job.id), "state": job.state} for job in ingestion.jobs],
        "failed": refused + items,
        "live": live,
    }
    document(json.dumps(said, ensure_ascii=False))


def _as_text(name: str, ingestion: Ingestion, failed: list[JobItem], live: int | None) -> None:
    rows = [(one.document_id, one.reason, one.detail) for one in ingestion.refused]
    rows += [(one.document_id, one.reason or "", one.detail or "") for one in failed]
    if rows:
        table(("FAILED", "REASON", "DETAIL"), rows[:_SHOWN])
    if len(rows) > _SHOWN:
        click.echo(f"… and {len(rows) - _SHOWN:,} more")
    click.echo(
        f"{name}: {ingestion.sent:,} sent, {ingestion.unchanged:,} unchanged, {ingestion.removed:,} removed, {len(rows):,} failed"
    )
    for job in ingestion.jobs:
        if job.error is not None:
            click.echo(f"job {job.id} {job.state}: {plain(job.error.detail)} [{job.error.code}]")
        else:
            click.echo(f"job {job.id} {job.state}" + ("" if job.final else f": memoryd jobs show --watch {job.id}"))
    if live is not None:
        click.echo(f"{name}@live is version {live}")
    elif ingestion.jobs:
        click.echo(_next(name, ingestion))


def _next(name: str, ingestion: Ingestion) -> str:
    """What there is to do where nothing was published."""
    changes = f"see the changes: memoryd kb diff {name}"
    if not all(job.final for job in ingestion.jobs):
        if ingestion.publish:
            return _to_be_published(name, ingestion)
        return f"when all is through, {changes}; publish them: memoryd kb publish {name}"
    # Publishing what a job could not, or what is not whole, is no advice: the reason stands above.
    if any(job.state == "cancelled" or job.error is not None for job in ingestion.jobs):
        return f"nothing was published; {changes}; drop them: memoryd kb discard {name}"
    without = ", without what failed" if any(job.counters.failed for job in ingestion.jobs) else ""
    return f"{changes}; publish them{without}: memoryd kb publish {name}"


def _to_be_published(name: str, ingestion: Ingestion) -> str:
    if ingestion.by_job:
        return "the job publishes by itself when it is through and no document failed"
    return f"when these jobs are through: memoryd kb publish {name}"
