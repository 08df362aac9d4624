"""The ``memoryd`` command."""

import sys


def main() -> None:
    """Entry point; says what to install when only the client is."""
    try:
        from memoryd.cli.main import cli
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"memoryd", "retrieval", "ingestion"}:
            raise
        sys.exit(
            f"memoryd: {error.name} is not installed; commands that ask a service need: pip install 'memoryd[cli]'; "
            "those that run one: pip install 'memoryd[server,embedded]'"
        )
    cli()
