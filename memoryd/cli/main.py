"""The command group: which commands there are, and errors as one line instead of a traceback."""

import sys

import click

from memoryd import __version__
from memoryd.cli.lazy import Entry, LazyGroup, Sections
from retrieval.errors import MemorydError

_SERVER = "server,embedded"

_SECTIONS: Sections = {
    "Knowledge bases": {
        "ingest": Entry("memoryd.cli.ingest:ingest", "Put files, folders and archives into a knowledge base."),
        "kb": Entry("memoryd.cli.kb:kb", "Knowledge bases: documents in versions that are published and rolled back."),
        "jobs": Entry("memoryd.cli.jobs:jobs", "Jobs: what becomes of the documents that were sent."),
    },
    "Administration": {
        "tenants": Entry("memoryd.cli.admin:tenants", "Tenants of the installation.", _SERVER),
        "keys": Entry("memoryd.cli.admin:keys", "API keys of a tenant.", _SERVER),
        "doctor": Entry("memoryd.cli.doctor:doctor", "Check stores, schema, roles and models.", _SERVER),
        "migrate": Entry("memoryd.cli.migrate:migrate", "Bring the database to this version.", _SERVER),
        "models": Entry("memoryd.cli.models:models", "Embedding and reranking models.", _SERVER),
    },
    "Running memoryd": {
        "up": Entry("memoryd.cli.up:up", "Start PostgreSQL, Valkey, the API and the worker, and keep them running.", _SERVER),
        "status": Entry("memoryd.cli.status:status", "What `memoryd up` is running: processes, ports, restarts.", _SERVER),
        "api": Entry("memoryd.cli.serve:api", "Serve REST and MCP.", _SERVER),
        "worker": Entry(
            "memoryd.cli.worker:worker", "Run jobs, maintenance, and sessions' snapshots, commits and summaries.", _SERVER
        ),
        "inference": Entry("memoryd.cli.inference:inference", "Serve embedders and rerankers to other processes.", _SERVER),
        "mcp": Entry(
            "memoryd.cli.mcp:mcp", "Serve MCP on standard input and output, for an agent that starts its servers itself.", _SERVER
        ),
    },
}


class _Commands(LazyGroup):
    """Our errors end a command with one line and exit status 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MemorydError as error:
            click.echo(f"memoryd: {error} [{error.code}]", err=True)
            sys.exit(1)


@click.group(cls=_Commands, sections=_SECTIONS)
@click.version_option(__version__, prog_name="memoryd")
def cli() -> None:
    """Memory for AI agents: remember, recall, and pack context within a token budget."""
