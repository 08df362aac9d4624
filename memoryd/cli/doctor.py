"""``memoryd doctor``: what is reachable, which versions, what is missing, and how to fix it."""

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Protocol

import click

from memoryd.cli.connection import Connection, connecting, named_service
from memoryd.cli.lazy import needing
from memoryd.cli.service_checks import examine
from memoryd.cli.shown import document, prose


class Finding(Protocol):
    """One thing looked at. ``fix`` says what to do when it is not well."""

    @property
    def name(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def detail(self) -> str: ...
    @property
    def fix(self) -> str: ...


@click.command()
@connecting
@click.option("--json", "as_json", is_flag=True, help="For pipes: one object a line.")
def doctor(connection: Connection, as_json: bool) -> None:
    """Check stores, schema, roles and models, or with --url a service. Exit status 1 when something is missing.

    It looks at the stores of --data-dir or MEMORYD_DATABASE_URL; at the service that MEMORYD_URL or a profile names; else at the
    stores of the running `memoryd up`.
    """
    said = named_service(connection.url, connection.profile, connection.data_dir)
    findings = _here(connection) if said is None else examine(connection.address())
    for finding in findings:
        if as_json:
            row = {"name": finding.name, "ok": finding.ok, "detail": finding.detail, "fix": finding.fix or None}
            document(json.dumps(row, ensure_ascii=False))
            continue
        mark = click.style("ok", fg="green") if finding.ok else click.style("missing", fg="red")
        click.echo(f"{mark:>16}  {finding.name:12} {prose(finding.detail)}")
        if not finding.ok and finding.fix:
            click.echo(f"{'':9}{'':12} fix: {finding.fix}")
    sys.exit(any(not finding.ok for finding in findings))


def _here(connection: Connection) -> Sequence[Finding]:
    # The models and the drivers: a second that an examination of a service elsewhere does not wait for.
    with needing("server,embedded", "`memoryd doctor` without --url"):
        from memoryd.cli.stack import administered
        from memoryd.diagnosis import diagnose

    with administered(connection.data_dir) as settings:
        return asyncio.run(diagnose(settings))
