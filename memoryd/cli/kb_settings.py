"""``memoryd kb show``, ``create`` and ``set``: what a knowledge base is."""

from typing import get_args

import click

from memoryd.cli.connection import Connection, connecting
from memoryd.cli.shown import as_json, fields, line
from memoryd.client import UNSET, Chunking, KnowledgeBase, Memoryd, NotFound
from memoryd.client.models import Strategy

_DEFAULT = Chunking()


@click.command()
@click.argument("name")
@connecting
@as_json
def show(connection: Connection, name: str, as_json: bool) -> None:
    """One knowledge base."""
    with connection.client() as memoryd:
        base = memoryd.knowledge.get(name)
        draft = None if as_json else _draft(memoryd, name)
    _shown(base, as_json, draft)


@click.command()
@click.argument("name")
@click.option("--space", default="default", show_default=True, help="Keys that are confined to spaces see those of theirs.")
@click.option("--description", default=None)
@click.option("--strategy", type=click.Choice(get_args(Strategy)), default=_DEFAULT.strategy, show_default=True)
@click.option("--max-tokens", type=int, default=_DEFAULT.max_tokens, show_default=True, help="Of a chunk.")
@click.option("--overlap-tokens", type=int, default=_DEFAULT.overlap_tokens, show_default=True, help="Between neighbours.")
@click.option("--retain", type=int, default=None, help="Versions kept besides the live and the tagged ones; default: all.")
@connecting
@as_json
def create(
    connection: Connection,
    name: str,
    space: str,
    description: str | None,
    strategy: Strategy,
    max_tokens: int,
    overlap_tokens: int,
    retain: int | None,
    as_json: bool,
) -> None:
    """Make a knowledge base."""
    chunking = Chunking(strategy=strategy, max_tokens=max_tokens, overlap_tokens=overlap_tokens)
    with connection.client() as memoryd:
        base = memoryd.knowledge.create(name, space=space, description=description, chunking=chunking, retain=retain)
    _shown(base, as_json, None)


@click.command("set")
@click.argument("name")
@click.option("--description", default=None, help="An empty one takes it away.")
@click.option("--strategy", type=click.Choice(get_args(Strategy)), default=None)
@click.option("--max-tokens", type=int, default=None, help="Of a chunk.")
@click.option("--overlap-tokens", type=int, default=None, help="Between neighbours.")
@click.option("--retain", type=int, default=None, help="Versions kept besides the live and the tagged ones.")
@click.option("--retain-all", is_flag=True, help="Keep all versions.")
@connecting
@as_json
def change(
    connection: Connection,
    name: str,
    description: str | None,
    strategy: Strategy | None,
    max_tokens: int | None,
    overlap_tokens: int | None,
    retain: int | None,
    retain_all: bool,
    as_json: bool,
) -> None:
    """Change what is given. Documents keep their chunks until they are ingested again: `memoryd ingest --all`."""
    if retain is not None and retain_all:
        raise click.UsageError("--retain and --retain-all exclude each other")
    cuts = {"strategy": strategy, "max_tokens": max_tokens, "overlap_tokens": overlap_tokens}
    given = {key: value for key, value in cuts.items() if value is not None}
    if not given and description is None and retain is None and not retain_all:
        raise click.UsageError("there is nothing to change")
    with connection.client() as memoryd:
        base = memoryd.knowledge.update(
            name,
            description=UNSET if description is None else description or None,
            chunking=Chunking.model_validate(given) if given else UNSET,
            retain=UNSET if retain is None and not retain_all else retain,
        )
    _shown(base, as_json, None)


def _draft(memoryd: Memoryd, name: str) -> str | None:
    """What there is to say of it."""
    if memoryd.knowledge.draft(name) is None:
        return None
    try:
        empty = memoryd.knowledge.diff(name).empty
    except NotFound:
        # It was published or dropped just now.
        return None
    return "changes nothing" if empty else f"has changes to publish: memoryd kb diff {name}"


def _shown(base: KnowledgeBase, as_json: bool, draft: str | None) -> None:
    if as_json:
        line(base)
        return
    cut = base.chunking
    fields(
        [
            ("name", base.name),
            ("space", base.space),
            ("description", base.description),
            ("live", "nothing published yet" if base.live is None else f"version {base.live}"),
            ("newest", base.newest or None),
            ("draft", draft),
            ("chunking", f"{cut.strategy}, at most {cut.max_tokens} tokens, {cut.overlap_tokens} of them shared"),
            ("retain", "all versions" if base.retain is None else base.retain),
        ]
    )
