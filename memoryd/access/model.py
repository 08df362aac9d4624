"""What the access use cases speak about."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from memoryd.memory.model import Idempotency
from memoryd.memory.reranking import Reranking
from retrieval.filters import JsonValue
from retrieval.scope import Action

DEFAULT_SPACE = "default"
OPERATOR = "operator"
"""The principal of what the operator does to a tenant."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One customer of an installation. ``deleted_at``: since when it is being erased, for good."""

    tenant_id: UUID
    name: str
    created_at: datetime
    suspended_at: datetime | None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """A named memory bank of one tenant. ``rerank``: what ``auto`` means for its recalls; ``None``: the installation's."""

    space_id: UUID
    name: str
    description: str | None
    created_at: datetime
    rerank: Reranking | None = None


class Keep(Enum):
    """A field that a change leaves as it is; ``None`` would empty it."""

    AS_IS = "as it is"


@dataclass(frozen=True, slots=True)
class SpaceChange:
    """What becomes of a space's settings."""

    description: str | Keep | None = Keep.AS_IS
    rerank: Reranking | Keep | None = Keep.AS_IS


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key as stored: everything but its secret."""

    key_id: UUID
    name: str
    secret_hash: bytes
    actions: frozenset[Action]
    spaces: frozenset[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    rotated_from: UUID | None

    @property
    def ends_at(self) -> datetime | None:
        """When it stops working, by expiry, revocation or the grace of a rotation; ``None``: never."""
        return min((end for end in (self.expires_at, self.revoked_at) if end is not None), default=None)

    def usable(self, now: datetime) -> bool:
        """Neither revoked nor expired at ``now``."""
        return (self.expires_at is None or self.expires_at > now) and (self.revoked_at is None or self.revoked_at > now)

    def within(self, spaces: frozenset[str] | None) -> bool:
        """True when it can use nothing outside ``spaces`` (``None``: every space)."""
        return spaces is None or (self.spaces is not None and self.spaces <= spaces)


@dataclass(frozen=True, slots=True)
class Operation:
    """One request of the operator: for its log, and for answering it once."""

    at: datetime
    request_id: str
    idempotency: Idempotency | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What was done in a tenant. ``detail`` holds counts and reasons, never content."""

    audit_id: int
    at: datetime
    principal: str
    action: str
    object_type: str
    object_ids: tuple[UUID, ...]
    request_id: str
    detail: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries of an audit log. ``since`` is included, ``until`` is not; ``before`` is the last one seen."""

    action: str | None = None
    object_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class AuditFound:
    """Entries, newest first, and the ``before`` that goes on; ``None``: there is no more. A search may find none and go on."""

    entries: list[AuditEntry]
    before: int | None


@dataclass(frozen=True, slots=True)
class OperatorEntry:
    """What the operator did, also to a tenant that is gone. ``tenant_id`` ``None``: to the installation."""

    entry_id: int
    at: datetime
    action: str
    tenant_id: UUID | None
    request_id: str
    detail: Mapping[str, JsonValue]
