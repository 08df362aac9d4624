"""``memoryd status``."""

import sys
from pathlib import Path

import click

from memoryd.embedded import datadir


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=None)
def status(data_dir: Path | None) -> None:
    """What `memoryd up` is running: processes, ports, restarts."""
    path = data_dir or datadir.default_path()
    state = datadir.read_state(path)
    if state is None or not state.alive:
        click.echo(f"nothing runs on {path}")
        sys.exit(1)
    click.echo(f"{state.state} at {state.url} (pid {state.pid}) since {state.started_at}")
    for name, child in state.children.items():
        click.echo(f"  {name:10} {child.state:9} pid {child.pid or '-':>7}  restarts {child.restarts}")
