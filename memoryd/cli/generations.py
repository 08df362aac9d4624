"""``memoryd generations``: changing the embedding model."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import click

from memoryd.cli.bars import Bars
from memoryd.cli.connection import PATIENT, Connection, connecting
from memoryd.cli.shown import as_json, fields, line, seconds, table
from memoryd.client import Generation, Memoryd
from memoryd.client.generation_models import GenerationScope

_FAILED = 1
_INTERRUPTED = 130


@click.group()
def generations() -> None:
    """Embedding models: put another one beside the one that serves, verify it, and cut over.

    The installation's need the operator's key in MEMORYD_API_KEY, a tenant's own its admin key.
    """


@generations.command("create")
@click.option(
    "--model", required=True, help="A known model (see `memoryd models list`); with the operator's key any in the model cache."
)
@click.option("--scope", type=click.Choice(get_args(GenerationScope)), default=None, help="Default: what the key is of.")
@click.option("--kb", default=None, help="The knowledge base, with --scope knowledge_base.")
@click.option("--watch", is_flag=True, help="Stay until it is verified; Ctrl-C leaves the worker at it.")
@connecting
@as_json
def create(connection: Connection, model: str, scope: GenerationScope | None, kb: str | None, watch: bool, as_json: bool) -> None:
    """Begin to embed everything with another model. With --watch exit status 1 when its verification did not pass."""
    with connection.client(retries=PATIENT if watch else None) as memoryd:
        made = memoryd.generations.create(model, scope=scope, knowledge_base=kb)
        if watch:
            number = made.number
            made = watched(number, lambda tell: memoryd.generations.wait(number, on_change=tell))
    _told(made, as_json)
    sys.exit(_FAILED if watch and not made.passed else 0)


@generations.command("list")
@connecting
@as_json
def list_generations(connection: Connection, as_json: bool) -> None:
    """Generations by number."""
    with connection.client() as memoryd:
        found = list(memoryd.generations.list())
    if as_json:
        for one in found:
            line(one)
        return
    rows = [(one.number, one.scope, one.model, one.dimension, _state(one), _done(one)) for one in found]
    table(("NUMBER", "SCOPE", "MODEL", "DIMENSION", "STATE", "DONE"), rows, right=("NUMBER", "DIMENSION", "DONE"))


@generations.command("show")
@click.argument("number", type=int)
@click.option("--watch", is_flag=True, help="Stay until it is verified; Ctrl-C leaves the worker at it.")
@connecting
@as_json
def show(connection: Connection, number: int, watch: bool, as_json: bool) -> None:
    """A generation, how far it is, and what its last verification found. With --watch exit status 1 when it is paused."""
    with connection.client(retries=PATIENT if watch else None) as memoryd:
        if watch:
            found = watched(number, lambda tell: memoryd.generations.wait(number, on_change=tell))
        else:
            found = memoryd.generations.get(number)
    _told(found, as_json)
    sys.exit(_FAILED if watch and not found.ready else 0)


@generations.command("verify")
@click.argument("number", type=int)
@click.option(
    "--queries",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="JSON: questions with the lists of ids that answer them.",
)
@connecting
@as_json
def verify(connection: Connection, number: int, queries: Path | None, as_json: bool) -> None:
    """Measure again. Exit status 1 when it did not pass."""
    asked = None if queries is None else _questions(queries)
    with connection.client() as memoryd:
        found = watched(number, lambda tell: memoryd.generations.verify(number, queries=asked, on_change=tell))
    _told(found, as_json)
    sys.exit(0 if found.passed else _FAILED)


def watched(number: int, wait: Callable[[Callable[[Generation], None]], Generation]) -> Generation:
    """The generation when it was verified, or is paused; Ctrl-C says how to come back, and ends the command."""
    try:
        with Bars() as bars:
            found = wait(bars.generation)
    except KeyboardInterrupt:
        click.echo(f"generation {number} goes on. Follow it: memoryd generations show --watch {number}", err=True)
        sys.exit(_INTERRUPTED)
    if found.paused and not found.ready:
        click.echo(f"generation {number} is paused. Let it go on: memoryd generations resume {number}", err=True)
    return found


def _commanded(name: str, help_: str, tell: Callable[[Memoryd, int], Generation]) -> None:
    @generations.command(name, help=help_)
    @click.argument("number", type=int)
    @connecting
    @as_json
    def command(connection: Connection, number: int, as_json: bool) -> None:
        with connection.client() as memoryd:
            found = tell(memoryd, number)
        _told(found, as_json)


def _moved(name: str, help_: str, tell: Callable[[Memoryd, int, str | None], Generation]) -> None:
    @generations.command(name, help=help_)
    @click.argument("number", type=int)
    @click.option("--force", default=None, help="A reason to go on where the service advises against it; it is kept.")
    @connecting
    @as_json
    def command(connection: Connection, number: int, force: str | None, as_json: bool) -> None:
        with connection.client() as memoryd:
            found = tell(memoryd, number, force)
        _told(found, as_json)


_commanded(
    "pause", "Let the worker leave it alone; writes go on reaching it.", lambda memoryd, one: memoryd.generations.pause(one)
)
_commanded("resume", "Let the worker go on where it was.", lambda memoryd, one: memoryd.generations.resume(one))
_commanded("retire", "Give it up for good: its vectors go.", lambda memoryd, one: memoryd.generations.retire(one))
_moved("cutover", "Answer reads from it.", lambda memoryd, one, force: memoryd.generations.cut_over(one, force=force))
_moved(
    "rollback",
    "Answer reads from what it replaced again.",
    lambda memoryd, one, force: memoryd.generations.roll_back(one, force=force),
)


def _questions(path: Path) -> dict[str, list[str]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(query): [str(one) for one in ids] for query, ids in found.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise click.UsageError(f'{path}: must be JSON such as {{"question": ["id", "id"]}}') from error


def _told(found: Generation, as_json: bool) -> None:
    if as_json:
        line(found)
        return
    progress = found.progress
    pairs: list[tuple[str, object]] = [
        ("generation", found.number),
        ("model", f"{found.model} ({found.revision}, {found.dimension}-d)"),
        ("scope", found.scope if found.knowledge_base_id is None else f"{found.scope} {found.knowledge_base_id}"),
        ("state", _state(found)),
        ("items", _done(found)),
        ("items/s", _rate(progress.items_per_second)),
        ("tokens/s", _rate(progress.tokens_per_second)),
        ("time left", seconds(progress.eta_s) if progress.eta_s is not None and found.state == "building" else None),
        ("replaced", found.replaced),
        ("forced", found.forced),
        ("failure", found.failure),
    ]
    fields(pairs)
    checks = (found.report or {}).get("checks")
    if isinstance(checks, dict):
        rows = [(name, *_check(one)) for name, one in checks.items() if isinstance(one, dict)]
        table(("CHECK", "PASSED", "FIGURES"), rows)


def _check(one: Mapping[str, object]) -> tuple[str, str]:
    said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in one.items() if name != "passed" and value is not None)
    return "yes" if one.get("passed") is True else "NO", said


def _state(one: Generation) -> str:
    marks = {"paused": one.paused, "incomplete": one.incomplete, "measuring": one.measuring}
    said = [one.state, *(mark for mark, holds in marks.items() if holds)]
    return ", ".join(said)


def _done(one: Generation) -> str:
    progress = one.progress
    return f"{progress.done:,}" if progress.total is None else f"{progress.done:,}/{progress.total:,}"


def _rate(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"
