""":class:`memoryd.knowledge.ports.ActiveJobs` on the ledger."""

from uuid import UUID

from memoryd.jobs.model import JobState
from memoryd.stores.database import Database
from retrieval.scope import Scope

_ACTIVE = "SELECT count(*) FROM jobs WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND state = ANY(%(states)s)"


class PgActiveJobs:
    """Jobs of a knowledge base that may still write to it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def active(self, scope: Scope, kb_id: UUID) -> int:
        states = [state.value for state in JobState if not state.final]
        rows = await self._database.read(scope, _ACTIVE, {"tenant": scope.tenant_id, "kb": kb_id, "states": states})
        return int(rows[0][0])
