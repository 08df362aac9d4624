"""A tenant's audit log: appended in the transaction it speaks of, never changed (the service may not)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from memoryd.access.model import AuditEntry, AuditQuery, OperatorEntry
from memoryd.stores.database import Connection, Database
from retrieval.filters import JsonValue
from retrieval.scope import Scope

_APPEND = """
INSERT INTO audit_log (tenant_id, at, principal, action, object_type, object_ids, request_id, detail)
VALUES (%(tenant)s, %(now)s, %(principal)s, %(action)s, %(type)s, %(ids)s, %(request)s, %(detail)s)
"""
_PAGE = """
SELECT audit_id, at, principal, action, object_type, object_ids, request_id, detail FROM audit_log
WHERE tenant_id = %(tenant)s AND (%(before)s::bigint IS NULL OR audit_id < %(before)s)
      AND (%(action)s::text IS NULL OR action = %(action)s)
      AND (%(object)s::uuid IS NULL OR %(object)s = ANY(object_ids))
      AND (%(since)s::timestamptz IS NULL OR at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
ORDER BY audit_id DESC LIMIT %(limit)s
"""
_OPERATOR_PAGE = """
SELECT entry_id, at, action, tenant, request_id, detail FROM operator_log
WHERE (%(tenant)s::uuid IS NULL OR tenant = %(tenant)s) AND (%(before)s::bigint IS NULL OR entry_id < %(before)s)
ORDER BY entry_id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What was done to which objects. ``detail`` holds counts and reasons, never content."""

    action: str
    object_type: str
    object_ids: tuple[UUID, ...]
    detail: Mapping[str, JsonValue] = field(default_factory=dict)


def audit_statement(scope: Scope, entry: Entry, now: datetime) -> tuple[str, dict[str, object]]:
    """The statement that appends one entry, to be sent together with others."""
    return _APPEND, {
        "tenant": scope.tenant_id,
        "now": now,
        "principal": scope.principal,
        "action": entry.action,
        "type": entry.object_type,
        "ids": list(entry.object_ids),
        "request": scope.request_id,
        "detail": Jsonb(entry.detail),
    }


async def append_audit(connection: Connection, scope: Scope, entry: Entry, now: datetime) -> None:
    """Append one entry."""
    await connection.execute(*audit_statement(scope, entry, now))


class PgAuditLog:
    """:class:`memoryd.access.ports.AuditLog` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def audit_page(self, scope: Scope, query: AuditQuery, limit: int) -> list[AuditEntry]:
        """Newest first."""
        params = {
            "tenant": scope.tenant_id,
            "before": query.before,
            "action": query.action,
            "object": query.object_id,
            "since": query.since,
            "until": query.until,
            "limit": limit,
        }
        rows = await self._database.read(scope, _PAGE, params)
        return [
            AuditEntry(audit_id, at, principal, action, kind, tuple(ids), request_id, detail)
            for audit_id, at, principal, action, kind, ids, request_id, detail in rows
        ]

    async def operator_page(self, *, tenant_id: UUID | None, before: int | None, limit: int) -> list[OperatorEntry]:
        """Newest first."""
        params = {"tenant": tenant_id, "before": before, "limit": limit}
        async with self._database.operator() as connection:
            rows = await (await connection.execute(_OPERATOR_PAGE, params)).fetchall()
        return [OperatorEntry(*row) for row in rows]
