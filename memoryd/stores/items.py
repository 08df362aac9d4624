"""Reads the memories behind pids: what the arms found, its neighbours in the session, and what lies in an interval."""

from collections.abc import Sequence

from psycopg.rows import TupleRow

from memoryd.stores.database import Database
from memoryd.stores.filter_sql import conditions
from retrieval.ports import ArmHit, Following, Item, Query, Turn
from retrieval.scope import Scope
from retrieval.temporal import Interval

_COLUMNS = """
r.memory_id, r.revision, p.pid, p.span_start, p.span_end, r.space_id, m.external_id, r.kind, r.text, r.speaker,
r.user_id, r.agent_id, r.session_id, r.event_time, r.occurred_at, r.seq, r.recorded_at, r.valid_from, r.valid_to,
r.source_type, r.source_uri, r.confidence, r.topics, r.metadata, r.superseded_by
"""
_READ = f"""
SELECT {_COLUMNS}
FROM passages p
JOIN memory_revisions r ON r.tenant_id = p.tenant_id AND r.memory_id = p.memory_id AND r.revision = p.revision
JOIN memories m ON m.tenant_id = r.tenant_id AND m.memory_id = r.memory_id
WHERE p.tenant_id = %(tenant)s AND p.pid = ANY(%(pids)s) AND r.tenant_id = %(tenant)s
      AND r.space_id = ANY(%(spaces)s) {{where}}
"""

# The next turns of the same session, in the order they happened (arrival order breaks ties).
_FOLLOWING = """
SELECT p.pid, next.distance, np.pid, next.memory_id
FROM passages p
JOIN memory_revisions r ON r.tenant_id = p.tenant_id AND r.memory_id = p.memory_id AND r.revision = p.revision
CROSS JOIN LATERAL (
    SELECT n.memory_id, n.revision, row_number() OVER (ORDER BY n.occurred_at, n.seq) AS distance
    FROM memory_revisions n
    WHERE n.tenant_id = %(tenant)s AND n.space_id = r.space_id AND n.session_id = r.session_id AND n.live
          AND (n.occurred_at, n.seq) > (r.occurred_at, r.seq)
    ORDER BY n.occurred_at, n.seq LIMIT %(turns)s) next
JOIN passages np ON np.tenant_id = %(tenant)s AND np.memory_id = next.memory_id AND np.revision = next.revision
                    AND np.ordinal = 0
WHERE p.tenant_id = %(tenant)s AND p.pid = ANY(%(pids)s) AND r.tenant_id = %(tenant)s AND r.session_id IS NOT NULL
"""

_PRECEDING = """
SELECT p.pid, prior.speaker, prior.text
FROM passages p
JOIN memory_revisions r ON r.tenant_id = p.tenant_id AND r.memory_id = p.memory_id AND r.revision = p.revision
CROSS JOIN LATERAL (
    SELECT n.speaker, n.text
    FROM memory_revisions n
    WHERE n.tenant_id = %(tenant)s AND n.space_id = r.space_id AND n.session_id = r.session_id AND n.live
          AND (n.occurred_at, n.seq) < (r.occurred_at, r.seq)
    ORDER BY n.occurred_at DESC, n.seq DESC LIMIT 1) prior
WHERE p.tenant_id = %(tenant)s AND p.pid = ANY(%(pids)s) AND r.tenant_id = %(tenant)s AND r.session_id IS NOT NULL
"""

_IN_INTERVAL = """
SELECT r.memory_id, p.pid, extract(epoch FROM r.event_time)::float8
FROM memory_revisions r
JOIN passages p ON p.tenant_id = r.tenant_id AND p.memory_id = r.memory_id AND p.revision = r.revision AND p.ordinal = 0
WHERE r.tenant_id = %(tenant)s AND r.space_id = ANY(%(spaces)s)
      AND r.event_time >= %(start)s AND r.event_time < %(end)s {where}
ORDER BY r.event_time DESC, p.pid DESC LIMIT %(limit)s
"""


class PgItems:
    """:class:`retrieval.ports.ItemReader` and :class:`retrieval.ports.TemporalIndex` on the records themselves."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, scope: Scope, query: Query, pids: Sequence[int]) -> dict[int, Item]:
        """Items by pid, the filters applied once more: what was deleted since the arms looked is missing."""
        if not pids:
            return {}
        filtered = conditions(query.filters, query.spaces)
        params = {
            "tenant": scope.tenant_id,
            "spaces": list(query.spaces),
            "pids": list(pids),
        } | filtered.params
        rows = await self._database.read(scope, _READ.format(where=filtered.where), params)
        return {item.pid: item for item in map(_item, rows)}

    async def following(self, scope: Scope, query: Query, pids: Sequence[int], *, turns: int) -> list[Following]:
        """The next ``turns`` live turns of each pid's session. Filters are not applied; :meth:`read` does that."""
        if not pids:
            return []
        params = {"tenant": scope.tenant_id, "pids": list(pids), "turns": turns}
        rows = await self._database.read(scope, _FOLLOWING, params)
        return [Following(after, int(distance), pid, memory_id) for after, distance, pid, memory_id in rows]

    async def preceding(self, scope: Scope, query: Query, pids: Sequence[int]) -> dict[int, Turn]:
        """The live turn before each pid in its session."""
        if not pids:
            return {}
        rows = await self._database.read(scope, _PRECEDING, {"tenant": scope.tenant_id, "pids": list(pids)})
        return {pid: Turn(speaker, text) for pid, speaker, text in rows}

    async def search(self, scope: Scope, query: Query, interval: Interval, *, limit: int) -> list[ArmHit]:
        """Memories with an event time inside the interval, newest first; the score is seconds since the epoch."""
        filtered = conditions(query.filters, query.spaces)
        params = filtered.params | {
            "tenant": scope.tenant_id,
            "spaces": list(query.spaces),
            "start": interval.start,
            "end": interval.end,
            "limit": limit,
        }
        rows = await self._database.read(scope, _IN_INTERVAL.format(where=filtered.where), params)
        return [ArmHit(memory_id, pid, score) for memory_id, pid, score in rows]


def _item(row: TupleRow) -> Item:
    (memory_id, revision, pid, start, end, *rest) = row
    (space_id, external_id, kind, text, speaker, user_id, agent_id, session_id, event_time, *rest) = rest
    (occurred_at, seq, recorded_at, valid_from, valid_to, source_type, source_uri, confidence, *rest) = rest
    (topics, metadata, superseded_by) = rest
    return Item(
        memory_id=memory_id,
        revision=revision,
        pid=pid,
        span=(start, end),
        space_id=space_id,
        external_id=external_id,
        kind=kind,
        text=text,
        speaker=speaker,
        user_id=user_id,
        agent_id=agent_id,
        session_id=session_id,
        event_time=event_time,
        occurred_at=occurred_at,
        seq=seq,
        recorded_at=recorded_at,
        valid_from=valid_from,
        valid_to=valid_to,
        source_type=source_type,
        source_uri=source_uri,
        confidence=confidence,
        topics=tuple(topics),
        metadata=metadata,
        superseded_by=superseded_by,
    )
