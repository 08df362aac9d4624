"""What the access use cases need of a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from memoryd.access.model import AuditFound, AuditQuery, KeyRecord, Operation, OperatorEntry, Space, SpaceChange, Tenant
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Receipt
from retrieval.scope import Scope

Admit = Callable[[Mapping[UUID, KeyRecord]], None]
"""Raises when the keys that were locked, as they are now, do not allow what is about to be written."""


class KeyLookup(Protocol):
    """API keys before there is a Scope: the tenant is a claim."""

    async def find_key(self, tenant_id: UUID, key_id: UUID) -> KeyRecord | None:
        """A key to authenticate with: none of a suspended tenant."""

    async def touch_key(self, tenant_id: UUID, key_id: UUID, now: datetime) -> None:
        """Note a use."""


class KeyStore(Protocol):
    """API keys."""

    async def key(self, scope: Scope, key_id: UUID) -> KeyRecord | None:
        """A key to look at, whatever became of it."""

    async def keys(self, scope: Scope, *, after: UUID | None, limit: int) -> list[KeyRecord]:
        """Those within the caller's spaces, in order of creation."""

    async def add_key(
        self,
        scope: Scope,
        key: KeyRecord,
        *,
        lock: Sequence[UUID],
        admit: Admit,
        ends: tuple[UUID, datetime] | None,
        idempotency: Idempotency | None,
    ) -> Receipt | None:
        """Lock some keys, ask ``admit``, store ``key`` and end another, in one transaction; an earlier receipt if repeated."""

    async def revoke_key(self, scope: Scope, key_id: UUID, at: datetime, idempotency: Idempotency | None) -> None:
        """End a key."""


class SpaceStore(Protocol):
    """Spaces of a tenant."""

    async def spaces_named(self, scope: Scope, names: Sequence[str]) -> dict[str, Space]: ...
    async def spaces(self, scope: Scope, *, after: str, limit: int) -> list[Space]: ...
    async def add_spaces(self, scope: Scope, spaces: Sequence[Space]) -> None: ...
    async def add_space(self, scope: Scope, space: Space, *, idempotency: Idempotency | None) -> Space:
        """The space made, now or by the first of repeated requests. Raises ``AlreadyExists``."""

    async def change_space(
        self, scope: Scope, name: str, change: SpaceChange, now: datetime, *, idempotency: Idempotency | None
    ) -> Space:
        """The space as it is then; a repeated request changes nothing. Raises ``SpaceNotFound``."""


class AuditLog(Protocol):
    """What was done in a tenant, and what the operator did."""

    async def audit_page(self, scope: Scope, query: AuditQuery, limit: int) -> AuditFound:
        """Newest first, at most ``limit``."""

    async def operator_page(self, *, tenant_id: UUID | None, before: int | None, limit: int) -> list[OperatorEntry]:
        """Newest first."""


class TenantStore(Protocol):
    """Tenants of the installation; the operator's. Each write is logged, and answered once by its Idempotency-Key."""

    async def tenants(self, *, after: UUID | None, limit: int) -> list[Tenant]: ...
    async def tenant(self, tenant_id: UUID | None, name: str | None = None) -> Tenant | None: ...
    async def add_tenant(
        self, tenant: Tenant, default_space: UUID, key: KeyRecord, operation: Operation
    ) -> tuple[Tenant, KeyRecord]:
        """What was made, now or by the first of repeated requests. Raises ``AlreadyExists``."""

    async def add_tenant_key(self, tenant_id: UUID, key: KeyRecord, operation: Operation) -> KeyRecord:
        """What was made, now or by the first of repeated requests. Raises ``NotFound``, ``Conflict``."""

    async def set_suspended(self, tenant_id: UUID, suspended: bool, operation: Operation) -> Tenant:
        """Raises ``NotFound``, and ``Conflict`` for one that is being erased."""

    async def mark_deleted(self, tenant_id: UUID, name: str, operation: Operation) -> bool:
        """Stop its keys for good; ``name`` must be its own. False when this very request has erased it before.

        Raises ``NotFound``, ``InvalidRequest``.
        """

    async def erase_tenant(self, tenant_id: UUID, operation: Operation) -> None:
        """Remove its rows in bounded transactions, then the tenant. Interrupted, it goes on when repeated."""


class Eraser(Protocol):
    """Another store that has something of tenants."""

    async def erase(self, tenant_id: UUID) -> None:
        """Remove all of it; safe to repeat."""
