""":class:`memoryd.sessions.ports.SessionRecords` in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from psycopg.rows import TupleRow

from memoryd.errors import StoreUnavailable
from memoryd.sessions.model import AutoCommit
from memoryd.sessions.ports import SnapshotRecord, TenantSettings
from memoryd.stores.database import Database
from memoryd.together import Following
from retrieval.scope import Scope

_COLUMNS = "snapshot_id, session_id, space, object_key, revision, head, size, taken_at, reason, final, leaps"
_NEWEST = "taken_at DESC, snapshot_id DESC"
_ADD = f"""
INSERT INTO session_snapshots (tenant_id, {_COLUMNS})
VALUES (%(tenant)s, %(id)s, %(session)s, %(space)s, %(key)s, %(revision)s, %(head)s, %(size)s, %(at)s,
        %(reason)s, %(final)s, %(leaps)s)
"""
_OF = f"""
SELECT s.* FROM unnest(%(sessions)s::text[]) AS q(session) CROSS JOIN LATERAL (
    SELECT {_COLUMNS} FROM session_snapshots WHERE tenant_id = %(tenant)s AND session_id = q.session
    ORDER BY {_NEWEST} LIMIT %(limit)s) s
ORDER BY {_NEWEST}
"""
_UNFINISHED = f"""
SELECT session_id FROM (
    SELECT DISTINCT ON (session_id) session_id, final FROM session_snapshots
    WHERE tenant_id = %(tenant)s AND session_id > %(after)s ORDER BY session_id, {_NEWEST}) newest
WHERE NOT final AND EXISTS (SELECT FROM tenants WHERE tenant_id = %(tenant)s AND suspended_at IS NULL AND deleted_at IS NULL)
ORDER BY session_id LIMIT %(limit)s
"""
_OLD = f"""
SELECT {_COLUMNS} FROM session_snapshots WHERE tenant_id = %(tenant)s AND taken_at < %(before)s
ORDER BY taken_at, snapshot_id LIMIT %(limit)s OFFSET %(skip)s
"""
_REMOVE = "DELETE FROM session_snapshots WHERE tenant_id = %(tenant)s AND snapshot_id = ANY(%(ids)s)"
_END = "UPDATE session_snapshots SET final = true WHERE tenant_id = %(tenant)s AND session_id = %(session)s"
# Who read it back has noted a leap, and may have written since: what the session became is not in it.
_FINISH = "UPDATE session_snapshots SET final = true WHERE tenant_id = %(tenant)s AND snapshot_id = %(id)s AND leaps = 0"
_RESTORED = """
UPDATE session_snapshots SET final = false, leaps = greatest(leaps, %(leaps)s)
WHERE tenant_id = %(tenant)s AND snapshot_id = %(id)s
"""
_SETTINGS = "SELECT auto_commit, idle_s FROM session_settings WHERE tenant_id = %(tenant)s"
_CONFIGURE = """
INSERT INTO session_settings (tenant_id, auto_commit, idle_s) VALUES (%(tenant)s, %(auto)s, %(idle)s)
ON CONFLICT (tenant_id) DO UPDATE SET auto_commit = excluded.auto_commit, idle_s = excluded.idle_s
"""


class PgSessionRecords:
    """Where snapshots are, and what a tenant's sessions do by default."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # A session that is new is one that Redis may have lost: who begins many asks this of each.
        self._reading = Following(self._snapshots, final=StoreUnavailable)

    async def add(self, scope: Scope, record: SnapshotRecord) -> None:
        params = {
            "id": record.snapshot_id,
            "session": record.session_id,
            "space": record.space,
            "key": record.object_key,
            "revision": record.revision,
            "head": record.head,
            "size": record.size,
            "at": record.taken_at,
            "reason": record.reason,
            "final": record.final,
            "leaps": record.leaps,
        }
        await self._write(scope, _ADD, params)

    async def snapshots(self, scope: Scope, session_id: str, limit: int) -> list[SnapshotRecord]:
        return await self._reading.ask((scope.tenant_id, limit), (scope, session_id))

    async def _snapshots(self, key: tuple[UUID, int], asked: Sequence[tuple[Scope, str]]) -> list[list[SnapshotRecord]]:
        tenant_id, limit = key
        found: dict[str, list[SnapshotRecord]] = {session_id: [] for _, session_id in asked}
        rows = await self._database.read(asked[0][0], _OF, {"tenant": tenant_id, "sessions": list(found), "limit": limit})
        for record in map(_record, rows):
            found[record.session_id].append(record)
        return [list(found[session_id]) for _, session_id in asked]

    async def remove(self, scope: Scope, snapshots: Sequence[UUID]) -> None:
        await self._write(scope, _REMOVE, {"ids": list(snapshots)})

    async def finish(self, scope: Scope, snapshot_id: UUID) -> None:
        await self._write(scope, _FINISH, {"id": snapshot_id})

    async def end(self, scope: Scope, session_id: str) -> None:
        await self._write(scope, _END, {"session": session_id})

    async def restored(self, scope: Scope, snapshot_id: UUID, leaps: int) -> None:
        await self._write(scope, _RESTORED, {"id": snapshot_id, "leaps": leaps})

    async def outdated(self, scope: Scope, before: datetime, limit: int, *, skip: int) -> list[SnapshotRecord]:
        params = {"tenant": scope.tenant_id, "before": before, "limit": limit, "skip": skip}
        return [_record(row) for row in await self._database.read(scope, _OLD, params)]

    async def unfinished(self, scope: Scope, after: str, limit: int) -> list[str]:
        params = {"tenant": scope.tenant_id, "after": after, "limit": limit}
        return [name for (name,) in await self._database.read(scope, _UNFINISHED, params)]

    async def settings(self, scope: Scope) -> TenantSettings:
        rows = await self._database.read(scope, _SETTINGS, {"tenant": scope.tenant_id})
        return TenantSettings(AutoCommit(rows[0][0]), rows[0][1]) if rows else TenantSettings()

    async def configure(self, scope: Scope, settings: TenantSettings) -> None:
        await self._write(scope, _CONFIGURE, {"auto": settings.auto_commit, "idle": settings.idle_s})

    async def _write(self, scope: Scope, sql: str, params: dict[str, object]) -> None:
        async with self._database.transaction(scope) as connection:
            await connection.execute(sql, params | {"tenant": scope.tenant_id})


def _record(row: TupleRow) -> SnapshotRecord:
    return SnapshotRecord(*row)
