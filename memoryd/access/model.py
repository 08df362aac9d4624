"""What the access use cases speak about."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from retrieval.scope import Action

DEFAULT_SPACE = "default"


@dataclass(frozen=True, slots=True)
class Tenant:
    """One customer of an installation."""

    tenant_id: UUID
    name: str
    created_at: datetime
    suspended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Space:
    """A named memory bank of one tenant."""

    space_id: UUID
    name: str
    description: str | None
    created_at: datetime


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

    def usable(self, now: datetime) -> bool:
        """Neither revoked nor expired at ``now``."""
        revoked = self.revoked_at is not None and self.revoked_at <= now
        expired = self.expires_at is not None and self.expires_at <= now
        return not (revoked or expired)
