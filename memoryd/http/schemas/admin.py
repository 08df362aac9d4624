"""Bodies of spaces, keys and tenants."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field, StrictBool

from memoryd.http.fields import (
    Name,
    Reason,
    Time,
    Whole,
)
from memoryd.http.schemas.common import Body
from retrieval.scope import Action


class SpaceIn(Body):
    """A new space."""

    name: Name
    description: Reason | None = None


class SpaceOut(BaseModel):
    """A memory bank."""

    id: UUID
    name: str
    description: str | None = None
    created_at: datetime


class SpacePage(BaseModel):
    """Spaces by name."""

    spaces: list[SpaceOut]
    next_cursor: str | None = None


class KeyIn(Body):
    """A new key; it can grant no more than the caller has."""

    name: Reason
    actions: list[Action] = Field(default_factory=lambda: [Action.READ, Action.WRITE], min_length=1, max_length=4)
    spaces: list[Name] | None = Field(None, min_length=1, max_length=100, description="null: every space")
    expires_at: Time | None = None


class RotateIn(Body):
    """How long the old key keeps working."""

    grace_s: Whole = Field(0, ge=0, le=30 * 86_400)


class KeyOut(BaseModel):
    """A key without its secret."""

    id: UUID
    name: str
    prefix: str
    actions: list[Action]
    spaces: list[str] | None = None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    rotated_from: UUID | None = None


class NewKeyOut(KeyOut):
    """A new key. ``key`` is shown once; it is null when a repeated request finds the key made already."""

    key: str | None = None


class KeyPage(BaseModel):
    """Keys in order of creation."""

    keys: list[KeyOut]
    next_cursor: str | None = None


class TenantIn(Body):
    """A new tenant."""

    name: Name


class TenantPatch(Body):
    """Suspend a tenant (its keys stop working at once), or let it go on."""

    suspended: StrictBool


class TenantOut(BaseModel):
    """A tenant."""

    id: UUID
    name: str
    created_at: datetime
    suspended_at: datetime | None = None


class NewTenantOut(TenantOut):
    """A new tenant with its first key, shown once."""

    key: NewKeyOut


class TenantPage(BaseModel):
    """Tenants in order of creation."""

    tenants: list[TenantOut]
    next_cursor: str | None = None
