"""What the access use cases need of a store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from memoryd.access.model import KeyRecord, Space, Tenant
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Receipt
from retrieval.scope import Scope


class KeyStore(Protocol):
    """API keys. ``find_key`` and ``touch_key`` come before there is a Scope: the tenant is a claim then."""

    async def find_key(self, tenant_id: UUID, key_id: UUID) -> KeyRecord | None: ...
    async def touch_key(self, tenant_id: UUID, key_id: UUID, now: datetime) -> None: ...
    async def keys(self, scope: Scope, *, after: UUID | None, limit: int) -> list[KeyRecord]: ...
    async def add_key(
        self,
        scope: Scope,
        key: KeyRecord,
        *,
        idempotency: Idempotency | None,
        expire: tuple[UUID, datetime] | None = None,
    ) -> Receipt | None: ...
    async def revoke_key(self, scope: Scope, key_id: UUID, at: datetime) -> bool: ...


class SpaceStore(Protocol):
    """Spaces of a tenant."""

    async def spaces_named(self, scope: Scope, names: Sequence[str]) -> dict[str, Space]: ...
    async def spaces(self, scope: Scope, *, after: str, limit: int) -> list[Space]: ...
    async def add_spaces(self, scope: Scope, spaces: Sequence[Space]) -> None: ...
    async def add_space(self, scope: Scope, space: Space, *, idempotency: Idempotency | None = None) -> bool: ...


class TenantStore(Protocol):
    """Tenants of the installation; the operator's."""

    async def tenants(self, *, after: UUID | None, limit: int) -> list[Tenant]: ...
    async def tenant(self, tenant_id: UUID) -> Tenant | None: ...
    async def add_tenant(
        self, tenant: Tenant, default_space: UUID, key: KeyRecord, *, idempotency: Idempotency | None = None
    ) -> tuple[Tenant, KeyRecord]: ...
    async def set_suspended(self, tenant_id: UUID, at: datetime | None) -> Tenant | None: ...
