"""What became of the draft that jobs wrote to, noted with each of them in the transaction in which it happens."""

from uuid import UUID

from memoryd.stores.jobs.rows import OF
from memoryd.stores.trips import Connection
from retrieval.scope import Scope

# It can be seen, and so is a revision of its own.
_PUBLISHED = f"""
UPDATE jobs SET payload = payload || jsonb_build_object('version', %(seq)s::bigint), revision = revision + 1 WHERE {OF}
"""
# What ended before the draft was begun wrote to an earlier one.
_DISCARDED = """
UPDATE jobs SET payload = payload || '{"discarded": true}'
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND payload @> '{"publish": true}' AND succeeded > 0
    AND (finished_at IS NULL OR finished_at >= (
        SELECT created_at FROM kb_versions WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND seq = %(seq)s))
"""


async def note_published(connection: Connection, scope: Scope, job_id: UUID, seq: int) -> None:
    """The job has made this version of the draft."""
    await connection.execute(_PUBLISHED, {"tenant": scope.tenant_id, "job": job_id, "seq": seq})


async def note_discarded(connection: Connection, scope: Scope, kb_id: UUID, seq: int) -> None:
    """Of jobs that wrote to the draft, and were to publish it, what they did is gone: tried again, they do what is left only."""
    await connection.execute(_DISCARDED, {"tenant": scope.tenant_id, "kb": kb_id, "seq": seq})
