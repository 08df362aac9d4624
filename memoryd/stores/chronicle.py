"""Live memories by the time they happened, and counts of them."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from memoryd.mcp.ports import KindProfile, Moment, Period, Position
from memoryd.stores.database import Database
from memoryd.stores.filter_sql import conditions
from memoryd.stores.revisions import first, revision
from retrieval.filters import Filters
from retrieval.scope import Scope

_AFTER = " AND r.occurred_at >= %(period_after)s"
_BEFORE = " AND r.occurred_at < %(period_before)s"
_BEHIND = " AND (r.occurred_at, r.seq) {comparison} (%(behind_at)s, %(behind_seq)s)"
_PROFILE = """
SELECT r.kind, count(*), max(r.occurred_at), max(r.recorded_at)
FROM memory_revisions r WHERE r.tenant_id = %(tenant)s AND r.space_id = %(space)s AND r.live GROUP BY r.kind ORDER BY r.kind
"""


class PgChronicle:
    """:class:`memoryd.mcp.ports.Chronicle` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def moments(
        self,
        scope: Scope,
        spaces: Sequence[UUID],
        filters: Filters,
        period: Period,
        *,
        behind: Position | None,
        newest_first: bool,
        limit: int,
    ) -> list[Moment]:
        """In order of time. ``filters`` without topics and metadata, which are conditions on passages."""
        filtered = await conditions(filters, spaces)
        where, params = filtered.where, filtered.params | {"tenant": scope.tenant_id, "ids": list(spaces), "limit": limit}
        if period.after is not None:
            where, params = where + _AFTER, params | {"period_after": period.after}
        if period.before is not None:
            where, params = where + _BEFORE, params | {"period_before": period.before}
        if behind is not None:
            where += _BEHIND.format(comparison="<" if newest_first else ">")
            params |= {"behind_at": behind.occurred_at, "behind_seq": behind.seq}
        direction = "DESC" if newest_first else "ASC"
        sql = first(where, (f"occurred_at {direction}", f"seq {direction}"))
        moments = []
        for occurred_at, *columns in await self._database.read(scope, sql, params):
            one = revision(columns)
            moments.append(Moment(one, Position(occurred_at, one.seq)))
        return moments

    async def profile(self, scope: Scope, space: UUID) -> Mapping[str, KindProfile]:
        """One scan of the space's live revisions."""
        rows = await self._database.read(scope, _PROFILE, {"tenant": scope.tenant_id, "space": space})
        return {str(kind): KindProfile(int(count), occurred, recorded) for kind, count, occurred, recorded in rows}
