"""``memoryd tenants`` and ``memoryd keys``: administration without REST, straight through the service role."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import click

from memoryd.access.model import OPERATOR, Tenant
from memoryd.access.service import KeyWish, NewKey
from memoryd.cli.stack import administered
from memoryd.wiring import Administration, open_administration
from retrieval.scope import Action, Scope

T = TypeVar("T")

_PAGE = 200
# What the logs say instead of a request's id.
_REQUEST = "command-line"
_data_dir = click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Of a running `memoryd up`.")
_json = click.option("--json", "as_json", is_flag=True, help="For pipes.")


def _run(data_dir: Path | None, use: Callable[[Administration], Awaitable[T]]) -> T:
    async def run() -> T:
        with administered(data_dir) as settings:
            async with open_administration(settings) as administration:
                return await use(administration)

    return asyncio.run(run())


def _scope(tenant: Tenant) -> Scope:
    return Scope(tenant.tenant_id, OPERATOR, frozenset(Action), request_id=_REQUEST)


@click.group()
def tenants() -> None:
    """Tenants of the installation."""


@tenants.command("create")
@click.argument("name")
@_data_dir
@_json
def create_tenant(name: str, data_dir: Path | None, as_json: bool) -> None:
    """Make a tenant; prints its first key, once."""
    tenant, key = _run(data_dir, lambda use: use.tenants.create(name, use.tenants.operation(_REQUEST)))
    if as_json:
        click.echo(json.dumps({"id": str(tenant.tenant_id), "name": tenant.name, "key": key.text}))
    else:
        click.echo(f"tenant {tenant.name} ({tenant.tenant_id})\nkey    {key.text}   (shown this once)")


@tenants.command("list")
@_data_dir
@_json
def list_tenants(data_dir: Path | None, as_json: bool) -> None:
    """All tenants."""

    async def everything(administration: Administration) -> list[Tenant]:
        found: list[Tenant] = []
        while page := await administration.tenants.list(after=found[-1].tenant_id if found else None, limit=_PAGE):
            found += page
        return found

    for tenant in _run(data_dir, everything):
        state = "deleting" if tenant.deleted_at else "suspended" if tenant.suspended_at else "active"
        if as_json:
            click.echo(json.dumps({"id": str(tenant.tenant_id), "name": tenant.name, "state": state}))
        else:
            click.echo(f"{tenant.tenant_id}  {state:9}  {tenant.created_at:%Y-%m-%d}  {tenant.name}")


@tenants.command("suspend")
@click.argument("name")
@click.option("--resume", is_flag=True, help="Let it go on.")
@_data_dir
def suspend_tenant(name: str, resume: bool, data_dir: Path | None) -> None:
    """Stop all keys of a tenant at once."""

    async def suspend(administration: Administration) -> Tenant:
        use = administration.tenants
        tenant = await use.named(name)
        return await use.suspend(tenant.tenant_id, use.operation(_REQUEST), suspended=not resume)

    tenant = _run(data_dir, suspend)
    click.echo(f"{tenant.name} is {'suspended' if tenant.suspended_at else 'active'}")


@tenants.command("delete")
@click.argument("name")
@click.option("--confirm", prompt="The tenant's name again", help="The tenant's name; asked for when not given.")
@_data_dir
def delete_tenant(name: str, confirm: str, data_dir: Path | None) -> None:
    """Erase a tenant with all its memories, keys and its audit log. Cannot be undone."""

    async def delete(administration: Administration) -> Tenant:
        use = administration.tenants
        tenant = await use.named(name)
        await use.delete(tenant.tenant_id, confirm, use.operation(_REQUEST))
        return tenant

    tenant = _run(data_dir, delete)
    click.echo(f"{tenant.name} ({tenant.tenant_id}) is gone")


@click.group()
def keys() -> None:
    """API keys of a tenant."""


@keys.command("create")
@click.argument("tenant")
@click.option("--name", default="made on the command line", show_default=True)
@click.option(
    "--action", "actions", multiple=True, type=click.Choice([action.value for action in Action]), default=("read", "write")
)
@click.option("--space", "spaces", multiple=True, help="Confine the key to these spaces; default: all.")
@click.option("--expires", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), default=None, help="In this machine's time.")
@_data_dir
def create_key(
    tenant: str, name: str, actions: tuple[str, ...], spaces: tuple[str, ...], expires: datetime | None, data_dir: Path | None
) -> None:
    """Make a key; prints it, once."""
    wish = KeyWish(
        name,
        frozenset(Action(action) for action in actions),
        frozenset(spaces) or None,
        expires.astimezone() if expires else None,
    )

    async def create(administration: Administration) -> NewKey:
        use = administration.tenants
        return await use.create_key((await use.named(tenant)).tenant_id, wish, use.operation(_REQUEST))

    click.echo(f"{_run(data_dir, create).text}   (shown this once)")


@keys.command("list")
@click.argument("tenant")
@_data_dir
def list_keys(tenant: str, data_dir: Path | None) -> None:
    """Keys of a tenant, without their secrets."""

    async def everything(administration: Administration) -> list[NewKey]:
        scope = _scope(await administration.tenants.named(tenant))
        found: list[NewKey] = []
        while page := await administration.keys.list(scope, after=found[-1].record.key_id if found else None, limit=_PAGE):
            found += page
        return found

    for key in _run(data_dir, everything):
        record = key.record
        ended = "revoked" if record.revoked_at else "expires " + f"{record.expires_at:%Y-%m-%d}" if record.expires_at else "valid"
        where = ",".join(sorted(record.spaces)) if record.spaces is not None else "all spaces"
        click.echo(f"{record.key_id}  {ended:18}  {','.join(sorted(record.actions)):24}  {where}  {record.name}")


@keys.command("rotate")
@click.argument("tenant")
@click.argument("key_id", type=click.UUID)
@click.option("--grace", "grace_s", type=click.IntRange(0, 30 * 86400), default=0, help="Seconds the old key keeps working.")
@_data_dir
def rotate_key(tenant: str, key_id: UUID, grace_s: int, data_dir: Path | None) -> None:
    """Replace a key by one with the same rights."""

    async def rotate(administration: Administration) -> NewKey:
        return await administration.keys.rotate(_scope(await administration.tenants.named(tenant)), key_id, grace_s, None)

    click.echo(f"{_run(data_dir, rotate).text}   (shown this once)")


@keys.command("revoke")
@click.argument("tenant")
@click.argument("key_id", type=click.UUID)
@_data_dir
def revoke_key(tenant: str, key_id: UUID, data_dir: Path | None) -> None:
    """End a key at once."""

    async def revoke(administration: Administration) -> None:
        await administration.keys.revoke(_scope(await administration.tenants.named(tenant)), key_id, None)

    _run(data_dir, revoke)
    click.echo("revoked")
