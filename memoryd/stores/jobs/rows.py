"""Jobs and items as rows. Whoever changes items locks the row of their job first."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg.rows import TupleRow

from memoryd.jobs.model import Counters, Failure, ItemState, Job, JobItem, JobState, Wish
from memoryd.stores.trips import Connection
from retrieval.scope import Action

JOB: LiteralString = (
    "job_id, revision, kind, kb_id, space, state, wish, payload, items, succeeded, unchanged, failed, cancelled, chunks, "
    "tokens, bytes, error_code, error_detail, created_by, actions, created_at, started_at, finished_at, updated_at, attempts, "
    "not_before, worked_s"
)
_ITEM_STATE: LiteralString = (
    "state, attempts, not_before, reason, detail, chunks, tokens, bytes, pages, started_at, finished_at, dead"
)
ITEM: LiteralString = f"job_id, item, document_id, source, {_ITEM_STATE}"
# A source may hold a whole text, and a list shows none.
LISTED: LiteralString = f"job_id, item, document_id, jsonb_build_object(), {_ITEM_STATE}"

OF: LiteralString = "tenant_id = %(tenant)s AND job_id = %(job)s"

# The time since the last beat counts as work, up to the length of a lease: who was away for longer did not work on it.
BEAT: LiteralString = """
updated_at = %(now)s, beat_at = %(now)s, worked_s = worked_s
    + least(greatest(0, extract(epoch FROM %(now)s::timestamptz - beat_at)), %(lease_s)s)
"""
RELEASE: LiteralString = "lease_owner = NULL, lease_until = NULL, beat_at = NULL"

_LEFT_BEHIND = """
INSERT INTO kb_orphans (tenant_id, kb_id, object_key)
SELECT DISTINCT b.tenant_id, b.kb_id, i.source ->> 'key'
FROM jobs j
JOIN knowledge_bases b ON b.tenant_id = j.tenant_id AND b.kb_id = j.kb_id
JOIN job_items i ON i.tenant_id = j.tenant_id AND i.job_id = j.job_id
WHERE j.tenant_id = %(tenant)s AND j.job_id = ANY(%(jobs)s::uuid[]) AND i.state = ANY(%(states)s)
    AND i.source ->> 'key' IS NOT NULL
ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING
"""
_DROP = f"""
UPDATE job_items SET state = 'cancelled', source = '{{}}', finished_at = %(now)s WHERE {OF} AND state IN ('queued', 'running')
"""
_CANCELLED = f"""
UPDATE jobs SET state = 'cancelled', wish = NULL, {RELEASE}, cancelled = cancelled + %(dropped)s, finished_at = %(now)s,
    updated_at = %(now)s, revision = revision + 1
WHERE {OF} RETURNING {JOB}
"""


async def cancel(connection: Connection, tenant_id: UUID, job_id: UUID, now: datetime) -> Job:
    """Cancel what is left of a job whose row is locked, and the job."""
    params: dict[str, object] = {"tenant": tenant_id, "job": job_id, "now": now}
    await leave_behind(connection, tenant_id, [job_id], [ItemState.QUEUED, ItemState.RUNNING])
    dropped = (await connection.execute(_DROP, params)).rowcount
    return await changed(connection, _CANCELLED, params | {"dropped": dropped})


async def leave_behind(connection: Connection, tenant_id: UUID, job_ids: Sequence[UUID], states: Sequence[ItemState]) -> None:
    """What items in these states were to be made from, garbage collection is to look at: no document may ever have named it."""
    await connection.execute(_LEFT_BEHIND, {"tenant": tenant_id, "jobs": list(job_ids), "states": list(states)})


async def changed(connection: Connection, sql: LiteralString, params: Mapping[str, object]) -> Job:
    """The job after an UPDATE … RETURNING of a row that is locked."""
    row = await (await connection.execute(sql, params)).fetchone()
    if row is None:
        raise AssertionError  # it is locked
    return job(row)


def job(row: TupleRow) -> Job:
    """A row of :data:`JOB`."""
    job_id, revision, kind, kb_id, space, state, wish, payload, *rest = row
    *counts, code, detail, created_by, actions, created_at, started_at, finished_at, updated_at, attempts, due, worked = rest
    return Job(
        job_id=job_id,
        revision=revision,
        kind=kind,
        kb_id=kb_id,
        space=space,
        state=JobState(state),
        wish=Wish(wish) if wish else None,
        payload=payload,
        counters=Counters(*counts),
        error=Failure(code, detail) if code else None,
        created_by=created_by,
        actions=frozenset(map(Action, actions)),
        created_at=created_at,
        started_at=started_at,
        finished_at=finished_at,
        updated_at=updated_at,
        attempts=attempts,
        not_before=due,
        worked_s=worked,
    )


def item(row: TupleRow) -> JobItem:
    """A row of :data:`ITEM` or :data:`LISTED`."""
    job_id, number, document_id, source, state, *rest = row
    return JobItem(job_id, number, document_id, source, ItemState(state), *rest)
