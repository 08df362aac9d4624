""":class:`memoryd.knowledge.ports.ActiveJobs` on the ledger."""

from uuid import UUID

from memoryd.jobs.model import JobState
from memoryd.stores.database import Database
from memoryd.stores.trips import Connection
from retrieval.scope import Scope

_ACTIVE = "SELECT count(*) FROM jobs WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND state = ANY(%(states)s)"
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


def _params(scope: Scope, kb_id: UUID) -> dict[str, object]:
    return {"tenant": scope.tenant_id, "kb": kb_id, "states": _STATES}
