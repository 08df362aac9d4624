"""The command group: options that all commands share, and errors as one line instead of a traceback."""

import sys

import click

from memoryd import __version__
from memoryd.cli.admin import keys, tenants
from memoryd.cli.doctor import doctor
from memoryd.cli.generations import generations
from memoryd.cli.ingest import ingest
from memoryd.cli.jobs import jobs
from memoryd.cli.kb import kb
from memoryd.cli.mcp import mcp
from memoryd.cli.models import models
from memoryd.cli.serve import api, migrate, worker
from memoryd.cli.up import status, up
from retrieval.errors import MemorydError


class _Commands(click.Group):
    """Our errors end a command with one line and exit status 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MemorydError as error:
            click.echo(f"memoryd: {error} [{error.code}]", err=True)
            sys.exit(1)


@click.group(cls=_Commands)
@click.version_option(__version__, prog_name="memoryd")
def cli() -> None:
    """Memory for AI agents: remember, recall, and pack context within a token budget."""


for command in (up, status, api, worker, mcp, ingest, kb, jobs, generations, migrate, doctor, models, tenants, keys):
    cli.add_command(command)
