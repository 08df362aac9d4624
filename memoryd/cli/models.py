"""``memoryd models``: get and list the models."""

import click

from memoryd.models import known_models, pull_models
from memoryd.settings import Settings


@click.group()
def models() -> None:
    """Embedding and reranking models."""


@models.command()
@click.argument("names", nargs=-1)
def pull(names: tuple[str, ...]) -> None:
    """Download, verify and cache models; by default the embedder and the reranker that the settings name."""
    settings = Settings()
    pull_models(settings, click.echo, names or None)


@models.command("list")
def list_models() -> None:
    """The models that can be pulled, and which are in the cache."""
    for line in known_models(Settings()):
        click.echo(line)
