"""What became of the draft that jobs wrote to, noted with each of them in the transaction in which it happens."""

from uuid import UUID

from memoryd.stores.jobs.rows import OF
from memoryd.stores.trips import Connection
from retrieval.scope import Scope

# It can be seen, and so is a revision of its own.
_PUBLISHED = f"""
UPDATE jobs SET payload = payload || jsonb_build_object('version', %(seq)s::bigint), revision = revision + 1 WHERE {OF}
"""
# Something that a job did or found done since the draft was begun is in it. When the job ended says nothing: a retry renews it.
# Intersected, for a join may look at each of ten thousand items once for each of as many documents. Locked in the order in which
# everybody locks several jobs.
_DISCARDED = """
WITH told AS (
    SELECT job_id FROM jobs j
    WHERE j.tenant_id = %(tenant)s AND j.kb_id = %(kb)s AND j.payload @> '{"publish": true}'
        AND j.state NOT IN ('succeeded', 'cancelled') AND EXISTS (
            SELECT i.document_id FROM job_items i
            WHERE i.tenant_id = %(tenant)s AND i.job_id = j.job_id AND i.state IN ('succeeded', 'unchanged')
                AND i.finished_at >= (
                    SELECT created_at FROM kb_versions WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND seq = %(seq)s)
            INTERSECT
            SELECT d.document_id FROM kb_documents d
            WHERE d.tenant_id = %(tenant)s AND d.kb_id = %(kb)s AND (d.from_seq = %(seq)s OR d.to_seq = %(seq)s))
    ORDER BY job_id FOR NO KEY UPDATE)
UPDATE jobs SET payload = payload || '{"discarded": true}' FROM told
WHERE jobs.tenant_id = %(tenant)s AND jobs.job_id = told.job_id
"""


async def note_published(connection: Connection, scope: Scope, job_id: UUID, seq: int) -> None:
    """The job has made this version of the draft."""
    await connection.execute(_PUBLISHED, {"tenant": scope.tenant_id, "job": job_id, "seq": seq})


async def note_discarded(connection: Connection, scope: Scope, kb_id: UUID, seq: int) -> None:
    """Of jobs that are to publish what is in the draft, what they did or found done is gone: they do what is left only.

    Those that succeeded do nothing more, and need no telling.
    """
    await connection.execute(_DISCARDED, {"tenant": scope.tenant_id, "kb": kb_id, "seq": seq})
