"""The audit log: appended in the transaction it speaks of, never changed (the service may not)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from memoryd.stores.database import Connection
from retrieval.filters import JsonValue
from retrieval.scope import Scope

_APPEND = """
INSERT INTO audit_log (tenant_id, at, principal, action, object_type, object_ids, request_id, detail)
VALUES (%(tenant)s, %(now)s, %(principal)s, %(action)s, %(type)s, %(ids)s, %(request)s, %(detail)s)
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What was done to which objects. ``detail`` holds counts and reasons, never content."""

    action: str
    object_type: str
    object_ids: tuple[UUID, ...]
    detail: Mapping[str, JsonValue] = field(default_factory=dict)


async def append_audit(connection: Connection, scope: Scope, entry: Entry, now: datetime) -> None:
    """Append one entry."""
    params = {
        "tenant": scope.tenant_id,
        "now": now,
        "principal": scope.principal,
        "action": entry.action,
        "type": entry.object_type,
        "ids": list(entry.object_ids),
        "request": scope.request_id,
        "detail": Jsonb(entry.detail),
    }
    await connection.execute(_APPEND, params)
