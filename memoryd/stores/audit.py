"""A tenant's audit log: appended in the transaction it speaks of, never changed (the service may not)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from memoryd.access.model import AuditEntry, AuditFound, AuditQuery, OperatorEntry
from memoryd.stores.database import Database
from memoryd.stores.trips import Connection
from retrieval.filters import JsonValue
from retrieval.scope import Scope

_APPEND = """
INSERT INTO audit_log (tenant_id, at, principal, action, object_type, object_ids, request_id, detail)
VALUES (%(tenant)s, %(now)s, %(principal)s, %(action)s, %(type)s, %(ids)s, %(request)s, %(detail)s)
"""
# What has no index is looked for in a window of the log, so that a page costs the same however long the log is.
_PAGE = """
WITH looked AS MATERIALIZED (
    SELECT audit_id, at, principal, action, object_type, object_ids, request_id, detail FROM audit_log
    WHERE tenant_id = %(tenant)s {where} ORDER BY audit_id DESC LIMIT %(window)s)
SELECT l.*, w.looked, w.last, w.newest
FROM (SELECT count(*) AS looked, min(audit_id) AS last, max(at) AS newest FROM looked) w
LEFT JOIN LATERAL (
    SELECT * FROM looked
    WHERE (%(object)s::uuid IS NULL OR %(object)s = ANY(object_ids))
          AND (%(since)s::timestamptz IS NULL OR at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
    ORDER BY audit_id DESC LIMIT %(limit)s) l ON true
ORDER BY l.audit_id DESC
"""
# Statements without the conditions that are not asked for: a plan that serves all of them uses no index.
_BEFORE = " AND audit_id < %(before)s"
_ACTION = " AND action = %(action)s"
_WINDOW = 5_000
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

    async def audit_page(self, scope: Scope, query: AuditQuery, limit: int) -> AuditFound:
        """Newest first; of a search for an object or a time, what the next part of the log has of it."""
        searched = query.object_id is not None or query.since is not None or query.until is not None
        window = max(_WINDOW, limit) if searched else limit + 1
        params = {
            "tenant": scope.tenant_id,
            "before": query.before,
            "action": query.action,
            "object": query.object_id,
            "since": query.since,
            "until": query.until,
            "limit": limit + 1,
            "window": window,
        }
        where = (_BEFORE if query.before is not None else "") + (_ACTION if query.action is not None else "")
        rows = await self._database.read(scope, _PAGE.format(where=where), params)
        *_, looked, last, newest = rows[0]
        found = [
            AuditEntry(audit_id, at, principal, action, kind, tuple(ids), request_id, detail)
            for audit_id, at, principal, action, kind, ids, request_id, detail, *_ in rows
            if audit_id is not None
        ]
        if len(found) > limit:
            return AuditFound(found[:limit], found[limit - 1].audit_id)
        # Entries are nearly in the order of their times: when none of so many is late enough, none behind them is.
        over = looked < window or (query.since is not None and newest < query.since)
        return AuditFound(found, None if over else last)

    async def operator_page(self, *, tenant_id: UUID | None, before: int | None, limit: int) -> list[OperatorEntry]:
        """Newest first."""
        params = {"tenant": tenant_id, "before": before, "limit": limit}
        async with self._database.operator() as connection:
            rows = await (await connection.execute(_OPERATOR_PAGE, params)).fetchall()
        return [OperatorEntry(*row) for row in rows]
