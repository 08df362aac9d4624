"""Tenants and keys without REST, straight through the service role. Imported when it is used: it needs the drivers."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from memoryd.access.model import OPERATOR
from memoryd.access.model import Tenant as Record
from memoryd.access.service import KeyWish
from memoryd.access.service import NewKey as Made
from memoryd.cli.operator import Wish
from memoryd.cli.stack import administered
from memoryd.client import Key, NewKey, NewTenant, Tenant
from memoryd.settings import Settings
from memoryd.wiring import Administration, open_administration
from retrieval.scope import Action, Scope

T = TypeVar("T")

_PAGE = 200
# What the logs say instead of a request's id.
_REQUEST = "command-line"


class Stored:
    """Implements :class:`memoryd.cli.operator.Tenants`, and has a tenant's keys; every call opens the database and closes it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def create(self, name: str) -> NewTenant:
        """Raises ``AlreadyExists``."""
        tenant, key = self._run(lambda use: use.tenants.create(name, use.tenants.operation(_REQUEST)))
        return NewTenant.model_validate(_tenant(tenant).model_dump() | {"key": _new(key)})

    def list(self) -> Iterator[Tenant]:
        """All of them."""

        async def everything(use: Administration) -> list[Record]:
            found: list[Record] = []
            while page := await use.tenants.list(after=found[-1].tenant_id if found else None, limit=_PAGE):
                found += page
            return found

        return map(_tenant, self._run(everything))

    def suspend(self, name: str, *, suspended: bool) -> Tenant:
        """Raises ``NotFound``."""

        async def suspend(use: Administration) -> Record:
            tenant = await use.tenants.named(name)
            return await use.tenants.suspend(tenant.tenant_id, use.tenants.operation(_REQUEST), suspended=suspended)

        return _tenant(self._run(suspend))

    def delete(self, name: str, confirm: str) -> Tenant:
        """Raises ``NotFound``, ``InvalidRequest``."""

        async def delete(use: Administration) -> Record:
            tenant = await use.tenants.named(name)
            await use.tenants.delete(tenant.tenant_id, confirm, use.tenants.operation(_REQUEST))
            return tenant

        return _tenant(self._run(delete))

    def create_key(self, name: str, wish: Wish) -> NewKey:
        """Raises ``NotFound``."""
        spaces = None if wish.spaces is None else frozenset(wish.spaces)
        wanted = KeyWish(wish.name, frozenset(map(Action, wish.actions)), spaces, wish.expires_at)

        async def create(use: Administration) -> Made:
            tenant = await use.tenants.named(name)
            return await use.tenants.create_key(tenant.tenant_id, wanted, use.tenants.operation(_REQUEST))

        return _new(self._run(create))

    def keys(self, tenant: str) -> Iterator[Key]:
        """All of them."""

        async def everything(use: Administration) -> list[Made]:
            scope = await _scope(use, tenant)
            found: list[Made] = []
            while page := await use.keys.list(scope, after=found[-1].record.key_id if found else None, limit=_PAGE):
                found += page
            return found

        return map(_new, self._run(everything))

    def rotate(self, tenant: str, key_id: UUID, grace_s: int) -> NewKey:
        """Raises ``NotFound``, ``Conflict``."""

        async def rotate(use: Administration) -> Made:
            return await use.keys.rotate(await _scope(use, tenant), key_id, grace_s, None)

        return _new(self._run(rotate))

    def revoke(self, tenant: str, key_id: UUID) -> None:
        """Raises ``NotFound``."""

        async def revoke(use: Administration) -> None:
            await use.keys.revoke(await _scope(use, tenant), key_id, None)

        self._run(revoke)

    def _run(self, use: Callable[[Administration], Awaitable[T]]) -> T:
        async def run() -> T:
            async with open_administration(self._settings) as administration:
                return await use(administration)

        return asyncio.run(run())


@contextmanager
def opened(data_dir: Path | None) -> Iterator[Stored]:
    """On the database of the environment, or of the running ``memoryd up`` there."""
    with administered(data_dir) as settings:
        yield Stored(settings)


async def _scope(use: Administration, tenant: str) -> Scope:
    return Scope((await use.tenants.named(tenant)).tenant_id, OPERATOR, frozenset(Action), request_id=_REQUEST)


def _tenant(record: Record) -> Tenant:
    return Tenant(
        id=record.tenant_id,
        name=record.name,
        created_at=record.created_at,
        suspended_at=record.suspended_at,
        deleted_at=record.deleted_at,
    )


def _new(made: Made) -> NewKey:
    record = made.record
    return NewKey(
        id=record.key_id,
        name=record.name,
        prefix=made.prefix,
        actions=[action.value for action in sorted(record.actions)],
        spaces=None if record.spaces is None else sorted(record.spaces),
        created_at=record.created_at,
        expires_at=record.expires_at,
        revoked_at=record.revoked_at,
        last_used_at=record.last_used_at,
        rotated_from=record.rotated_from,
        key=made.text,
    )
