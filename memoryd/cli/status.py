"""``memoryd status``."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from memoryd.embedded import datadir


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=None)
@click.option("--json", "as_json", is_flag=True, help="For pipes: one object.")
def status(data_dir: Path | None, as_json: bool) -> None:
    """What `memoryd up` is running: processes, ports, restarts."""
    path = data_dir or datadir.default_path()
    state = datadir.read_state(path)
    if state is None or not state.alive:
        click.echo(f"nothing runs on {path}", err=as_json)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(asdict(state)))
        return
    click.echo(f"{state.state} at {state.url} (pid {state.pid}) since {state.started_at}")
    for name, child in state.children.items():
        click.echo(f"  {name:10} {child.state:9} pid {child.pid or '-':>7}  restarts {child.restarts}")
