"""What the service answers about spaces, keys and tenants."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import JsonValue

from memoryd.client.models import Model

Action = Literal["read", "write", "delete", "admin"]


class Space(Model):
    """A memory bank. ``rerank``: what ``auto`` means for its recalls; ``None``: as the installation has it."""

    id: UUID
    name: str
    description: str | None = None
    rerank: JsonValue = None
    created_at: datetime


class SpacePage(Model):
    """By name."""

    spaces: list[Space]
    next_cursor: str | None = None


class Key(Model):
    """A key without its secret. ``spaces`` ``None``: every space."""

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


class NewKey(Key):
    """A new key. ``key``, its text, is shown once; it is ``None`` when a repeated request finds the key made already."""

    key: str | None = None


class KeyPage(Model):
    """In order of creation."""

    keys: list[Key]
    next_cursor: str | None = None


class Tenant(Model):
    """A tenant; ``deleted_at``: since when it is being erased."""

    id: UUID
    name: str
    created_at: datetime
    suspended_at: datetime | None = None
    deleted_at: datetime | None = None


class NewTenant(Tenant):
    """A new tenant with its first key."""

    key: NewKey


class TenantPage(Model):
    """In order of creation."""

    tenants: list[Tenant]
    next_cursor: str | None = None


class Check(Model):
    """One thing that readiness looks at."""

    ok: bool
    required: bool


class Readiness(Model):
    """Ready to serve."""

    status: Literal["ready"]
    checks: dict[str, Check]
