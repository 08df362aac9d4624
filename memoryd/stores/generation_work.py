"""What the worker knows and notes of generations: which have something to do, who is at them, and how far."""

from uuid import UUID

from psycopg.types.json import Jsonb

from memoryd.generations.model import Mark, Registered, State, Step
from memoryd.stores.database import Database
from memoryd.stores.generation_registry import OWE, WHOLE, registered

# Longer than any request, so that nobody still reads what goes.
_GRACE = "2 minutes"
LEASE = "45 seconds"
_SOMETHING = f"""
(leased_until IS NULL OR leased_until < now() OR leased_by = %(worker)s)
AND (state IN ('building', 'catching_up') AND NOT paused
     OR state = 'verifying' AND report IS NULL AND NOT paused
     OR state IN ('verifying', 'live', 'draining') AND report ? 'owed' AND NOT paused
     OR state <> 'retired' AND NOT paused AND EXISTS (SELECT FROM generation_gaps p WHERE p.generation = g.generation)
     OR state = 'retired' AND purged_at IS NULL AND retired_at < now() - interval '{_GRACE}'
     OR state <> 'retired' AND tenant_id IS NOT NULL AND NOT EXISTS (SELECT FROM tenants t WHERE t.tenant_id = g.tenant_id))
"""
_DUE = f"SELECT {WHOLE} FROM generations g WHERE {_SOMETHING} ORDER BY generation"
_LEASE = f"""
UPDATE generations g SET leased_by = %(worker)s, leased_until = now() + interval '{LEASE}'
WHERE generation = %(number)s AND {_SOMETHING}
RETURNING {WHOLE}
"""
_RELEASE = """
UPDATE generations SET leased_by = NULL, leased_until = NULL, failure = %(failure)s
WHERE generation = %(number)s AND leased_by = %(worker)s
"""
_BEGAN = "UPDATE generations SET total = %(total)s WHERE generation = %(number)s AND total IS NULL"
_ADVANCED = f"""
UPDATE generations SET at_tenant = %(tenant)s, at_kind = %(kind)s, at_pid = %(pid)s, done = done + %(looked)s,
    embedded = embedded + %(embedded)s, tokens = tokens + %(tokens)s, busy_s = busy_s + %(busy)s,
    leased_until = now() + interval '{LEASE}', failure = NULL
WHERE generation = %(number)s AND leased_by = %(worker)s AND state = 'building' AND NOT paused
"""
_CAUGHT_UP = f"""
UPDATE generations SET leased_until = now() + interval '{LEASE}', embedded = embedded + %(embedded)s,
    tokens = tokens + %(tokens)s, failure = NULL
WHERE generation = %(number)s AND leased_by = %(worker)s AND state <> 'retired' AND NOT paused
"""
# A gap that was noted meanwhile has to be closed first.
_MOVED = """
UPDATE generations g SET state = %(after)s
WHERE generation = %(number)s AND state = %(before)s AND NOT paused
    AND (%(before)s = 'building' OR NOT EXISTS (SELECT FROM generation_gaps p WHERE p.generation = g.generation))
"""
_GONE = "UPDATE generations SET state = 'retired', retired_at = now() WHERE generation = %(number)s AND state <> 'retired'"
_PURGED = "UPDATE generations SET purged_at = now() WHERE generation = %(number)s AND state = 'retired'"
_DROP = "SELECT drop_vectors_table(%(number)s)"
# Dropping a part locks the whole: while it waits for a long statement to end, every question waits behind it. So it waits
# briefly, and is tried again in the next round.
_PATIENCE = "SET LOCAL lock_timeout = '200ms'"
_BATCH = 5_000
_ERASE = """
DELETE FROM kb_vectors WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM kb_vectors WHERE tenant_id = %(tenant)s AND generation = %(number)s LIMIT %(batch)s))
"""
_FORGET_GAPS = "DELETE FROM generation_gaps WHERE tenant_id = %(tenant)s AND generation = %(number)s"


class PgGenerationWork:
    """:class:`memoryd.generations.ports.Work` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self) -> list[Registered]:
        """Those with something to do that no worker is at."""
        async with self._database.operator() as connection:
            return [registered(row) for row in await (await connection.execute(_DUE, {"worker": None})).fetchall()]

    async def lease(self, number: int, worker: UUID) -> Registered | None:
        """Take or renew the lease; the generation as it stands, ``None`` while another has it or when nothing is due any more."""
        async with self._database.operator() as connection:
            row = await (await connection.execute(_LEASE, {"number": number, "worker": worker})).fetchone()
        return None if row is None else registered(row)

    async def release(self, number: int, worker: UUID, failure: str | None) -> None:
        """Give the lease back, and say what went wrong."""
        await self._updated(_RELEASE, {"number": number, "worker": worker, "failure": failure})

    async def began(self, number: int, total: int) -> None:
        """There are so many items."""
        await self._updated(_BEGAN, {"number": number, "total": total})

    async def advanced(self, number: int, worker: UUID, mark: Mark, step: Step) -> bool:
        """Note how far the backfill is and renew the lease; false when it is over: paused, retired, or another's."""
        params = {
            "number": number,
            "worker": worker,
            "tenant": mark.tenant_id,
            "kind": mark.kind,
            "pid": mark.pid,
            "looked": step.looked_at,
            "embedded": step.embedded,
            "tokens": step.tokens,
            "busy": step.busy_s,
        }
        return await self._updated(_ADVANCED, params)

    async def caught_up(self, number: int, worker: UUID, step: Step) -> bool:
        """The same behind the backfill."""
        params = {"number": number, "worker": worker, "embedded": step.embedded, "tokens": step.tokens}
        return await self._updated(_CAUGHT_UP, params)

    async def moved(self, number: int, before: State, after: State) -> bool:
        """Another state; false when it is not in ``before``, or lacks vectors."""
        return await self._updated(_MOVED, {"number": number, "before": before, "after": after})

    async def measure(self, number: int) -> None:
        """Its vectors are fewer than its report says, if there is one: it does not pass before it was verified again."""
        await self._updated(OWE, {"number": number, "note": Jsonb({})})

    async def gone(self, number: int) -> None:
        """Its tenant was deleted."""
        await self._updated(_GONE, {"number": number})

    async def erase(self, number: int, tenant_id: UUID) -> int:
        """A batch of a tenant's vectors of chunks; how many went."""
        async with self._database.tenant(tenant_id) as connection:
            params = {"number": number, "tenant": tenant_id, "batch": _BATCH}
            await connection.execute(_FORGET_GAPS, params)
            return (await connection.execute(_ERASE, params)).rowcount

    async def purged(self, number: int) -> None:
        """The rest of its vectors goes at once, with their table."""
        async with self._database.operator() as connection:
            await connection.execute(_PATIENCE)
            await connection.execute(_DROP, {"number": number})
            await connection.execute(_PURGED, {"number": number})

    async def _updated(self, sql: str, params: dict[str, object]) -> bool:
        async with self._database.operator() as connection:
            return (await connection.execute(sql, params)).rowcount > 0
