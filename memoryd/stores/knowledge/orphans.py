"""Originals that may be garbage: rows that garbage collection goes through, unless somebody wants what they name."""

from collections.abc import Sequence
from uuid import UUID

from memoryd.stores.database import Database
from retrieval.scope import Scope

# One order for all, so that nobody waits for who waits for them.
_WANTED = """
DELETE FROM kb_orphans WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND object_key = ANY(ARRAY(
    SELECT object_key FROM kb_orphans
    WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND object_key = ANY(%(keys)s::text[]) ORDER BY object_key FOR UPDATE))
"""


class PgOrphans:
    """:class:`memoryd.stores.originals.Orphans` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def wanted(self, scope: Scope, kb_id: UUID, keys: Sequence[str]) -> None:
        """See :class:`memoryd.stores.originals.Orphans`."""
        await self._database.at_once(scope, [(_WANTED, {"tenant": scope.tenant_id, "kb": kb_id, "keys": list(keys)})])
