"""Of several jobs that bring one document of a knowledge base, the one that was ordered last has the last word, whichever comes
to it first. The ledger tells: of one knowledge base, ids of jobs sort by when they were ordered."""

from uuid import UUID

from memoryd.errors import Conflict
from memoryd.jobs.model import ItemState
from memoryd.jobs.ports import NotYet
from memoryd.knowledge.model import Overtaken
from memoryd.stores.trips import Connection, Cursor

# Asked document by document, of a job that is nearly always the newest: one look into an index. A job that gave way in the
# middle of a long document is at it still: who took it up then would undo what is stored, and be undone in turn.
_LATER = """
SELECT i.job_id, i.state FROM job_items i JOIN jobs j ON j.tenant_id = %(tenant)s AND j.job_id = i.job_id
WHERE i.tenant_id = %(tenant)s AND i.document_id = q.document AND i.job_id > %(by)s
    AND (i.state IN ('running', 'succeeded', 'unchanged')
         OR i.state = 'queued' AND i.chunks > 0 AND j.state IN ('queued', 'running'))
    AND j.kb_id IS NOT DISTINCT FROM %(kb)s
ORDER BY i.job_id DESC LIMIT 1
"""
OVERTAKEN = f"""
SELECT q.document, l.job_id, l.state FROM unnest(%(documents)s::text[]) AS q(document) CROSS JOIN LATERAL ({_LATER}) l
"""
"""Of some documents the newest job ordered after ``by`` that has done its part of them, or is at it; behind a document's lock,
under which that one writes as well. With NULL for ``by`` there is none."""
NOT_OVERTAKEN = f"(SELECT job_id FROM ({_LATER}) l) IS NULL"
"""The same as a condition on a document ``q.document``."""
# Held by a worker that lives: what one that died had begun is taken over. By the document and nothing else: the index of running
# items is wide with those that were.
EARLIER = """
SELECT i.job_id FROM (
    SELECT job_id, state FROM job_items
    WHERE tenant_id = %(tenant)s AND document_id = %(document)s AND job_id < %(by)s OFFSET 0) i
JOIN jobs j ON j.tenant_id = %(tenant)s AND j.job_id = i.job_id
WHERE i.state = 'running' AND j.lease_until > %(now)s AND j.kb_id IS NOT DISTINCT FROM %(kb)s
ORDER BY i.job_id LIMIT 1
"""
"""A job ordered before ``by`` that is at a document."""
# Where no job is under way, which is nearly always, no document is looked at.
TO_COME = """
SELECT q.document, t.job_id FROM unnest(%(documents)s::text[]) AS q(document) CROSS JOIN LATERAL (
    SELECT i.job_id FROM job_items i JOIN jobs j ON j.tenant_id = %(tenant)s AND j.job_id = i.job_id
    WHERE i.tenant_id = %(tenant)s AND i.document_id = q.document AND i.state IN ('queued', 'running')
        AND i.job_id >= (
            SELECT job_id FROM jobs
            WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND state IN ('queued', 'running', 'paused')
            ORDER BY job_id LIMIT 1)
        AND j.kb_id IS NOT DISTINCT FROM %(kb)s
    ORDER BY i.job_id LIMIT 1) t
"""
"""Of some documents the oldest job that has still to bring or remove it, of those that one has."""


async def overtaken(cursor: Cursor) -> dict[str, Overtaken | NotYet]:
    """What :data:`OVERTAKEN` found, of documents of which it found something: they are another job's, or will be if that does not
    fail."""
    return {
        document_id: NotYet(f"job {job_id}, which was ordered later, is at this document")
        if state in {ItemState.RUNNING, ItemState.QUEUED}
        else Overtaken(job_id)
        for document_id, job_id, state in await cursor.fetchall()
    }


async def wait_for_earlier(cursor: Cursor) -> None:
    """Whom :data:`EARLIER` found has begun what is to be done, and is ahead with it. Raises ``NotYet``."""
    if (row := await cursor.fetchone()) is not None:
        raise NotYet(f"job {row[0]}, which was ordered earlier, is at this document")


async def nobody_to_come(connection: Connection, params: dict[str, object]) -> None:
    """No job has still to bring or remove the one document of ``documents``. Raises ``Conflict``."""
    if (row := await (await connection.execute(TO_COME, params)).fetchone()) is not None:
        job_id: UUID = row[1]
        raise Conflict(f"job {job_id} has not come to this document yet: remove it when the job has ended, or by a job")
