"""``memoryd keys``: those of one's own tenant over REST, those of a tenant that is named as who administrates it."""

from collections.abc import Iterable
from datetime import datetime
from typing import get_args
from uuid import UUID

import click

from memoryd.cli.connection import Connection, connecting
from memoryd.cli.operator import Operator, Wish
from memoryd.cli.shown import as_json, day, document, line, table
from memoryd.cli.values import Moment
from memoryd.client import Action, Key, NewKey

_operator_key = click.option("--operator-key", default=None, help="To make a key for TENANT over REST (MEMORYD_OPERATOR_KEY).")


@click.group()
def keys() -> None:
    """API keys of a tenant."""


@keys.command("create")
@click.argument("tenant", required=False)
@click.option("--name", default="made on the command line", show_default=True)
@click.option(
    "--action", "actions", multiple=True, type=click.Choice(get_args(Action)), default=("read", "write"), show_default=True
)
@click.option("--space", "spaces", multiple=True, help="Confine the key to these spaces; default: all.")
@click.option("--expires", type=Moment(), default=None, help="Without an offset: in this machine's time.")
@_operator_key
@connecting
@as_json
def create_key(
    connection: Connection,
    tenant: str | None,
    name: str,
    actions: tuple[Action, ...],
    spaces: tuple[str, ...],
    expires: datetime | None,
    operator_key: str | None,
    as_json: bool,
) -> None:
    """Make a key; prints it, once. Without TENANT, of the tenant of the key that asks, which needs `admin`."""
    wish = Wish(name, actions, spaces or None, expires)
    if tenant is not None:
        with _operator(connection, operator_key).tenants() as use:
            made = use.create_key(tenant, wish)
    else:
        with connection.client() as memoryd:
            made = memoryd.keys.create(name, actions=actions, spaces=wish.spaces, expires_at=expires)
    _once(made, as_json)


@keys.command("list")
@click.argument("tenant", required=False)
@connecting
@as_json
def list_keys(connection: Connection, tenant: str | None, as_json: bool) -> None:
    """Keys without their secrets. Without TENANT, of the tenant of the key that asks."""
    if tenant is not None:
        with _operator(connection, None).stored() as use:
            _listed(use.keys(tenant), as_json)
        return
    with connection.client() as memoryd:
        _listed(memoryd.keys.list(), as_json)


@keys.command("rotate")
@click.argument("which", nargs=-1, required=True, metavar="[TENANT] KEY_ID")
@click.option("--grace", "grace_s", type=click.IntRange(0, 30 * 86400), default=0, help="Seconds the old key keeps working.")
@connecting
@as_json
def rotate_key(connection: Connection, which: tuple[str, ...], grace_s: int, as_json: bool) -> None:
    """Replace a key by one with the same rights. Without TENANT, of the tenant of the key that asks."""
    tenant, key_id = _which(which)
    if tenant is not None:
        with _operator(connection, None).stored() as use:
            made = use.rotate(tenant, key_id, grace_s)
    else:
        with connection.client() as memoryd:
            made = memoryd.keys.rotate(key_id, grace_s=grace_s)
    _once(made, as_json)


@keys.command("revoke")
@click.argument("which", nargs=-1, required=True, metavar="[TENANT] KEY_ID")
@connecting
def revoke_key(connection: Connection, which: tuple[str, ...]) -> None:
    """End a key at once. Without TENANT, of the tenant of the key that asks."""
    tenant, key_id = _which(which)
    if tenant is not None:
        with _operator(connection, None).stored() as use:
            use.revoke(tenant, key_id)
    else:
        with connection.client() as memoryd:
            memoryd.keys.revoke(key_id)
    click.echo("revoked")


def _operator(connection: Connection, key: str | None) -> Operator:
    return Operator(connection.url, key, connection.profile, connection.data_dir)


def _which(given: tuple[str, ...]) -> tuple[str | None, UUID]:
    if len(given) > 2:
        raise click.UsageError("give [TENANT] KEY_ID")
    try:
        return given[0] if len(given) == 2 else None, UUID(given[-1])
    except ValueError as error:
        raise click.UsageError(f"{given[-1]!r} is no key's id: see `memoryd keys list`") from error


def _once(made: NewKey, as_json: bool) -> None:
    if as_json:
        line(made)
    else:
        click.echo(f"{made.key}   (shown this once)")


def _listed(found: Iterable[Key], as_json: bool) -> None:
    if as_json:
        for one in found:
            document(one.model_dump_json(exclude={"key"}))
        return
    rows = []
    for one in found:
        where = "all spaces" if one.spaces is None else ",".join(one.spaces)
        rows.append((one.id, _ended(one), day(one.last_used_at), ",".join(one.actions), where, one.name))
    table(("KEY", "STATE", "USED", "ACTIONS", "SPACES", "NAME"), rows)


def _ended(key: Key) -> str:
    return "revoked" if key.revoked_at else f"expires {day(key.expires_at)}" if key.expires_at else "valid"
