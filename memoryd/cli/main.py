"""The command group: which commands there are, and errors as one line instead of a traceback."""

import sys

import click

from memoryd import __version__
from memoryd.cli.lazy import Entry, LazyGroup, Sections
from retrieval.errors import MemorydError

_SERVER = "server,embedded"
_INTERRUPTED = 130

_SECTIONS: Sections = {
    "Memory": {
        "recall": Entry("memoryd.cli.recall:recall", "Find memories, and with --kb passages of knowledge bases"),
        "context": Entry("memoryd.cli.context:context", "What a model should see of memory for a question"),
        "expand": Entry("memoryd.cli.context:expand", "More of one item of a context, by its handle"),
        "remember": Entry("memoryd.cli.remember:remember", "Store a memory, or one for each line"),
        "forget": Entry("memoryd.cli.forget:forget", "Take memories out of recall"),
        "memories": Entry(
            "memoryd.cli.memories:memories",
            "Single memories: list and show them, what became of one, and back to an earlier state",
        ),
        "session": Entry("memoryd.cli.session:session", "Sessions: working memory, with messages, state and checkpoints"),
        "spaces": Entry("memoryd.cli.spaces:spaces", "Spaces: named memory banks that agents share"),
    },
    "Knowledge bases": {
        "ingest": Entry("memoryd.cli.ingest:ingest", "Put files, folders and archives into a knowledge base"),
        "kb": Entry("memoryd.cli.kb:kb", "Knowledge bases: documents in versions"),
        "jobs": Entry("memoryd.cli.jobs:jobs", "Jobs: what becomes of the documents that were sent"),
    },
    "Administration": {
        "tenants": Entry("memoryd.cli.tenants:tenants", "Tenants of the installation"),
        "keys": Entry("memoryd.cli.keys:keys", "API keys of a tenant"),
        "audit": Entry("memoryd.cli.audit:audit", "Who did what in the tenant"),
        "generations": Entry(
            "memoryd.cli.generations:generations", "Embedding models: put another one beside the one that serves"
        ),
        "doctor": Entry("memoryd.cli.doctor:doctor", "Check stores, schema, roles and models, or with --url a service"),
        "migrate": Entry("memoryd.cli.migrate:migrate", "Bring the database to this version", _SERVER),
        "models": Entry("memoryd.cli.models:models", "Embedding and reranking models", _SERVER),
    },
    "Running memoryd": {
        "up": Entry("memoryd.cli.up:up", "Start PostgreSQL, Valkey, the API and the worker", _SERVER),
        "status": Entry("memoryd.cli.status:status", "What `memoryd up` is running", _SERVER),
        "api": Entry("memoryd.cli.serve:api", "Serve REST and MCP", _SERVER),
        "worker": Entry("memoryd.cli.worker:worker", "Run jobs, maintenance, and sessions' snapshots", _SERVER),
        "inference": Entry("memoryd.cli.inference:inference", "Embed and rerank for others", _SERVER),
        "mcp": Entry("memoryd.cli.mcp:mcp", "Serve MCP on standard input and output", _SERVER),
        "completion": Entry("memoryd.cli.completion:completion", "Print what a shell needs to complete commands"),
    },
}


class _Commands(LazyGroup):
    """Our errors end a command with one line and exit status 1; Ctrl-C ends it with 130."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MemorydError as error:
            click.echo(f"memoryd: {error} [{error.code}]", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)
        except click.Abort as error:
            # What becomes of Ctrl-C at a question; No and the end of the input are no interruption.
            if isinstance(error.__context__, KeyboardInterrupt):
                click.echo(err=True)
                sys.exit(_INTERRUPTED)
            raise


@click.group(cls=_Commands, sections=_SECTIONS)
@click.version_option(__version__, prog_name="memoryd")
def cli() -> None:
    """Memory for AI agents: remember, recall, and pack context within a token budget."""
