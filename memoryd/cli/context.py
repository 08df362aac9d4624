"""``memoryd context`` and ``memoryd expand``."""

import json
import sys
from collections import Counter
from typing import get_args
from uuid import UUID

import click

from memoryd.cli.asking import asking
from memoryd.cli.connection import Connection, connecting
from memoryd.cli.hits import missing
from memoryd.cli.shown import as_json, document, line, note, prose, table
from memoryd.client import Context, Question
from memoryd.client.recalling import DEFAULT_TOKENIZER, Format, Order


@click.command()
@asking
@click.option(
    "--budget", type=click.IntRange(0, 200_000), default=1_024, show_default=True, help="Tokens that all of it may take."
)
@click.option("--tokenizer", default=DEFAULT_TOKENIZER, show_default=True, help="What tokens are counted with.")
@click.option("--format", "form", type=click.Choice(get_args(Format)), default="text", show_default=True)
@click.option("--order", type=click.Choice(get_args(Order)), default="best_first", show_default=True)
@click.option("--must", type=click.UUID, multiple=True, help="A memory that is shown whatever it scores; may be repeated.")
@click.option("--session", default=None, help="A session to show beside memories, under the one budget.")
@click.option("--session-budget", type=click.IntRange(0, 200_000), default=None, help="At most so many tokens for it.")
@click.option("--manifest", is_flag=True, help="Also what is shown of each item, and what is not, on standard error.")
@connecting
@as_json
def context(
    connection: Connection,
    question: Question,
    budget: int,
    tokenizer: str,
    form: Format,
    order: Order,
    must: tuple[UUID, ...],
    session: str | None,
    session_budget: int | None,
    manifest: bool,
    as_json: bool,
) -> None:
    """What a model should see of memory for a question, within a budget of tokens.

    The context goes to standard output, and what was left out to standard error.
    """
    with connection.client() as memoryd:
        found = memoryd.context(
            question,
            budget_tokens=budget,
            tokenizer=tokenizer,
            form=form,
            order=order,
            must_include=must,
            session_id=session,
            session_tokens=session_budget,
        )
    if as_json:
        line(found)
        return
    _packed(found)
    if manifest:
        _manifest(found)
    _summed_up(found)


@click.command()
@click.argument("handle")
@click.option("--budget", type=click.IntRange(0, 200_000), default=512, show_default=True, help="Tokens that all of it may take.")
@click.option("--tokenizer", default=DEFAULT_TOKENIZER, show_default=True, help="What tokens are counted with.")
@connecting
@as_json
def expand(connection: Connection, handle: str, budget: int, tokenizer: str, as_json: bool) -> None:
    """More of one item of a context, by its handle, which `memoryd context --json` shows."""
    with connection.client() as memoryd:
        found = memoryd.expand(handle, budget_tokens=budget, tokenizer=tokenizer)
    if as_json:
        line(found)
        return
    _packed(found)
    _summed_up(found)


def _summed_up(found: Context) -> None:
    reasons = Counter(one.reason for one in found.dropped)
    left = "".join(f", {count:,} {reason}" for reason, count in reasons.most_common())
    note(f"{found.used_tokens:,} of {found.budget_tokens:,} tokens ({found.tokenizer}): {len(found.items):,} shown{left}")
    missing(found.degraded)


def _packed(found: Context) -> None:
    if found.messages is not None:
        document(json.dumps([one.model_dump() for one in found.messages], ensure_ascii=False, indent=2))
    elif found.text:
        # What goes to a model is as it is; what goes to a terminal cannot move its cursor.
        click.echo(prose(found.text) if sys.stdout.isatty() else found.text)


def _manifest(found: Context) -> None:
    rows: list[tuple[object, ...]] = [(f"[{one.citation}]", one.rendition, one.tokens, one.why, one.id) for one in found.items]
    rows += [("", f"not: {one.reason}", None, "" if one.of is None else f"for {one.of}", one.id) for one in found.dropped]
    table(("", "SHOWN", "TOKENS", "WHY", "ID"), rows, right=("TOKENS",), error=True)
