"""Tenants of an installation: the operator's, by command line or operator key."""

from collections.abc import Sequence
from uuid import UUID

from memoryd.access.freshness import forgotten
from memoryd.access.model import KeyRecord, Operation, Tenant
from memoryd.access.ports import Eraser, TenantStore
from memoryd.access.service import KeyWish, NewKey, issue_key, known
from memoryd.errors import NotFound
from memoryd.ids import uuid7
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Clock
from retrieval.scope import Action

FIRST_KEY = KeyWish("first key", frozenset(Action), None, None)


class TenantService:
    """Makes, suspends and deletes tenants. Each step is in the operator's log, which outlives the tenant."""

    def __init__(self, store: TenantStore, clock: Clock, elsewhere: Sequence[Eraser] = ()) -> None:
        """``elsewhere``: the other stores that have something of tenants."""
        self._store = store
        self._clock = clock
        self._elsewhere = elsewhere

    def operation(self, request_id: str, idempotency: Idempotency | None = None) -> Operation:
        """Now, by this request."""
        return Operation(self._clock.now(), request_id, idempotency)

    async def create(self, name: str, operation: Operation) -> tuple[Tenant, NewKey]:
        """A tenant with a default space and a first key that may do everything. Raises ``AlreadyExists``.

        A repeated request finds the tenant it made, and its key without the text.
        """
        tenant = Tenant(uuid7(), name, operation.at, None)
        record, text = issue_key(tenant.tenant_id, FIRST_KEY, operation.at)
        made, key = await self._store.add_tenant(tenant, uuid7(), record, operation)
        return made, _shown(made.tenant_id, key, record, text)

    async def create_key(self, tenant_id: UUID, wish: KeyWish, operation: Operation) -> NewKey:
        """A key for a tenant: the way back in when it lost its last. Raises ``NotFound``, ``Conflict``."""
        record, text = issue_key(tenant_id, wish, operation.at)
        key = await self._store.add_tenant_key(tenant_id, record, operation)
        return _shown(tenant_id, key, record, text)

    async def list(self, *, after: UUID | None, limit: int) -> list[Tenant]:
        """Tenants in order of creation."""
        return await self._store.tenants(after=after, limit=limit)

    async def get(self, tenant_id: UUID) -> Tenant:
        """Raises ``NotFound``."""
        return _found(await self._store.tenant(tenant_id))

    async def named(self, name: str) -> Tenant:
        """By id, else by name. Raises ``NotFound``."""
        try:
            tenant_id: UUID | None = UUID(name)
        except ValueError:
            tenant_id = None
        by_id = await self._store.tenant(tenant_id) if tenant_id else None
        return _found(by_id or await self._store.tenant(None, name))

    async def suspend(self, tenant_id: UUID, operation: Operation, *, suspended: bool) -> Tenant:
        """Stop all keys of a tenant at once, or let them work again. Raises ``NotFound``, ``Conflict``."""
        tenant = await self._store.set_suspended(tenant_id, suspended, operation)
        await forgotten()
        return tenant

    async def delete(self, tenant_id: UUID, name: str, operation: Operation) -> None:
        """Erase a tenant with all that is its own; ``name`` confirms it. Raises ``NotFound``, ``InvalidRequest``.

        Its keys stop at once, and it never comes back. Safe to repeat: one that was interrupted goes on.
        """
        if await self._store.mark_deleted(tenant_id, name, operation):
            await forgotten()
            for eraser in self._elsewhere:
                await eraser.erase(tenant_id)
            await self._store.erase_tenant(tenant_id, operation)


def _found(tenant: Tenant | None) -> Tenant:
    if tenant is None:
        raise NotFound("no such tenant")
    return tenant


def _shown(tenant_id: UUID, key: KeyRecord, issued: KeyRecord, text: str) -> NewKey:
    """The key with its text, unless an earlier request made it."""
    return known(tenant_id, key, text if key.key_id == issued.key_id else None)
