""":class:`memoryd.knowledge.ports.ActiveJobs` on the ledger."""

from uuid import UUID

from memoryd.errors import Conflict
from memoryd.jobs.model import JobState
from memoryd.jobs.ports import NotYet
from memoryd.stores.database import Database
from memoryd.stores.trips import Connection
from retrieval.scope import Scope

_ACTIVE = "SELECT count(*) FROM jobs WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND state = ANY(%(states)s)"
# What has not begun has written nothing, and what is through writes nothing more.
_HALF_WAY = """
SELECT job_id, state FROM jobs
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND job_id <> %(job)s AND state = ANY(%(states)s) AND started_at IS NOT NULL
    AND succeeded + unchanged + failed + cancelled < items
ORDER BY state <> 'paused', job_id
"""
_STATES = [state.value for state in JobState if not state.final]


class PgActiveJobs:
    """Jobs of a knowledge base that may still write to it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def active(self, scope: Scope, kb_id: UUID) -> int:
        rows = await self._database.read(scope, _ACTIVE, _params(scope, kb_id))
        return int(rows[0][0])


async def active_jobs(connection: Connection, scope: Scope, kb_id: UUID) -> int:
    """The same within a transaction."""
    ((found,),) = await (await connection.execute(_ACTIVE, _params(scope, kb_id))).fetchall()
    return int(found)


async def wait_for_others(connection: Connection, scope: Scope, kb_id: UUID, job_id: UUID) -> None:
    """No other job is half way with what it writes to the draft, which is locked: who begins now finds another.

    Raises ``NotYet``; and ``Conflict`` where one of them is paused, for that may last.
    """
    rows = await (await connection.execute(_HALF_WAY, _params(scope, kb_id) | {"job": job_id})).fetchall()
    if not rows:
        return
    (first, state), others = rows[0], len(rows)
    if state == JobState.PAUSED:
        raise Conflict(f"job {first} is paused half way through the draft: resume or cancel it, then retry this job")
    raise NotYet(f"{others} other job(s) are half way with what they write to the draft")


def _params(scope: Scope, kb_id: UUID) -> dict[str, object]:
    return {"tenant": scope.tenant_id, "kb": kb_id, "states": _STATES}
