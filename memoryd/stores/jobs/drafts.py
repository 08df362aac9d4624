"""What became of the draft that jobs wrote to, noted with each of them in the transaction in which it happens."""

from uuid import UUID

from memoryd.stores.jobs.rows import OF
from memoryd.stores.trips import Connection
from retrieval.scope import Scope

# It can be seen, and so is a revision of its own.
_PUBLISHED = f"""
UPDATE jobs SET payload = payload || jsonb_build_object('version', %(seq)s::bigint), revision = revision + 1 WHERE {OF}
"""


async def note_published(connection: Connection, scope: Scope, job_id: UUID, seq: int) -> None:
    """The job has made this version of the draft."""
    await connection.execute(_PUBLISHED, {"tenant": scope.tenant_id, "job": job_id, "seq": seq})
