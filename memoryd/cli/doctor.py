"""``memoryd doctor``: what is reachable, which versions, what is missing, and how to fix it."""

import asyncio
import sys
from pathlib import Path

import click

from memoryd.cli.stack import administered
from memoryd.diagnosis import diagnose


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Of a running `memoryd up`.")
def doctor(data_dir: Path | None) -> None:
    """Check stores, schema, roles and models. Exit status 1 when something is missing."""
    with administered(data_dir) as settings:
        findings = asyncio.run(diagnose(settings))
    for finding in findings:
        mark = click.style("ok", fg="green") if finding.ok else click.style("missing", fg="red")
        click.echo(f"{mark:>16}  {finding.name:12} {finding.detail}")
        if not finding.ok and finding.fix:
            click.echo(f"{'':9}{'':12} fix: {finding.fix}")
    sys.exit(any(not finding.ok for finding in findings))
