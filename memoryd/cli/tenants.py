"""``memoryd tenants``."""

import json

import click

from memoryd.cli.operator import Operator, operating
from memoryd.cli.shown import as_json, day, table
from memoryd.client import Tenant


@click.group()
def tenants() -> None:
    """Tenants of the installation."""


@tenants.command("create")
@click.argument("name")
@operating
@as_json
def create_tenant(operator: Operator, name: str, as_json: bool) -> None:
    """Make a tenant; prints its first key, once."""
    with operator.tenants() as use:
        made = use.create(name)
    if as_json:
        click.echo(json.dumps({"id": str(made.id), "name": made.name, "key": made.key.key}))
    else:
        click.echo(f"tenant {made.name} ({made.id})\nkey    {made.key.key}   (shown this once)")


@tenants.command("list")
@operating
@as_json
def list_tenants(operator: Operator, as_json: bool) -> None:
    """All tenants."""
    with operator.tenants() as use:
        found = list(use.list())
    if as_json:
        for one in found:
            click.echo(_line(one))
        return
    rows = [(one.id, _state(one), day(one.created_at), one.name) for one in found]
    table(("TENANT", "STATE", "MADE", "NAME"), rows)


@tenants.command("suspend")
@click.argument("name")
@click.option("--resume", is_flag=True, help="Let it go on.")
@operating
@as_json
def suspend_tenant(operator: Operator, name: str, resume: bool, as_json: bool) -> None:
    """Stop all keys of a tenant at once."""
    with operator.tenants() as use:
        tenant = use.suspend(name, suspended=not resume)
    click.echo(_line(tenant) if as_json else f"{tenant.name} is {_state(tenant)}")


@tenants.command("delete")
@click.argument("name")
@click.option("--confirm", prompt="The tenant's name again", help="The tenant's name; asked for when not given.")
@operating
def delete_tenant(operator: Operator, name: str, confirm: str) -> None:
    """Erase a tenant with all its memories, keys and its audit log. Cannot be undone."""
    with operator.tenants() as use:
        tenant = use.delete(name, confirm)
    click.echo(f"{tenant.name} ({tenant.id}) is gone")


def _line(tenant: Tenant) -> str:
    return json.dumps({"id": str(tenant.id), "name": tenant.name, "state": _state(tenant)})


def _state(tenant: Tenant) -> str:
    return "deleting" if tenant.deleted_at else "suspended" if tenant.suspended_at else "active"
