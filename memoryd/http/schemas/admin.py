"""Bodies of spaces, keys and tenants."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field, JsonValue, StrictBool

from memoryd.http.fields import (
    Name,
    Reason,
    Time,
    Whole,
)
from memoryd.http.schemas.common import Body
from memoryd.http.schemas.reranking import SpaceRerank
from retrieval.scope import Action


class SpaceIn(Body):
    """A new space."""

    name: Name
    description: Reason | None = None
    rerank: SpaceRerank | None = Field(None, description="What `rerank: auto` means for its recalls; null: the installation's")


class SpacePatch(Body):
    """Settings of a space: what is missing stays, what is null is emptied."""

    description: Reason | None = None
    rerank: SpaceRerank | None = None


class SpaceOut(BaseModel):
    """A memory bank."""

    id: UUID
    name: str
    description: str | None = None
    rerank: JsonValue = Field(None, description="What `rerank: auto` means for its recalls; null: the installation's")
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
    deleted_at: datetime | None = Field(None, description="Since when it is being erased")


class NewTenantOut(TenantOut):
    """A new tenant with its first key, shown once."""

    key: NewKeyOut


class TenantPage(BaseModel):
    """Tenants in order of creation."""

    tenants: list[TenantOut]
    next_cursor: str | None = None


class AuditEntryOut(BaseModel):
    """What was done in a tenant: ids, counts and reasons, never content."""

    id: int
    at: datetime
    principal: str = Field(description="`key:<id>`, or `operator`")
    action: str = Field(examples=["memory.create"])
    object_type: str
    object_ids: list[UUID]
    request_id: str
    detail: dict[str, JsonValue]


class AuditPage(BaseModel):
    """Entries, newest first."""

    entries: list[AuditEntryOut]
    next_cursor: str | None = None


class OperatorEntryOut(BaseModel):
    """What the operator did, also to a tenant that is gone."""

    id: int
    at: datetime
    action: str = Field(examples=["tenant.suspend"])
    tenant_id: UUID | None = Field(description="None: it concerned the installation")
    request_id: str
    detail: dict[str, JsonValue]


class OperatorLogPage(BaseModel):
    """Entries, newest first."""

    entries: list[OperatorEntryOut]
    next_cursor: str | None = None
