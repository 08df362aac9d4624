"""Reads the memories behind pids: what the arms found, its neighbours in the session, and what lies in an interval."""

from collections.abc import Sequence

from psycopg.rows import TupleRow

from memoryd.stores.database import Database
from memoryd.stores.filter_sql import conditions_of
from retrieval.candidates import PREVIOUS_CHARACTERS
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

_PASSAGE = """
CROSS JOIN LATERAL (
    SELECT pid FROM passages
    WHERE tenant_id = %(tenant)s AND memory_id = r.memory_id AND revision = r.revision AND ordinal = 0 OFFSET 0) p
"""
_HITS = """
FROM passages hp
JOIN memory_revisions h ON h.tenant_id = hp.tenant_id AND h.memory_id = hp.memory_id AND h.revision = hp.revision
"""
_OF_HITS = """
WHERE hp.tenant_id = %(tenant)s AND hp.pid = ANY(%(pids)s) AND h.tenant_id = %(tenant)s
      AND h.space_id = ANY(%(spaces)s) AND h.session_id IS NOT NULL
"""

# Neighbours are the next turns, or the one before, *among those that the filters let through*, in the order they happened
# (arrival order breaks ties): a turn that is filtered out, or was not known yet, neither lends nor receives anything.
_FOLLOWING = f"""
SELECT hp.pid, next.distance, next.pid, next.memory_id
{_HITS}
CROSS JOIN LATERAL (
    SELECT r.memory_id, p.pid, row_number() OVER (ORDER BY r.occurred_at, r.seq) AS distance
    FROM memory_revisions r {_PASSAGE}
    WHERE r.tenant_id = %(tenant)s AND r.space_id = h.space_id AND r.session_id = h.session_id
          AND (r.occurred_at, r.seq) > (h.occurred_at, h.seq) {{where}}
    ORDER BY r.occurred_at, r.seq LIMIT %(turns)s) next
{_OF_HITS}
"""
_PRECEDING = f"""
SELECT hp.pid, prior.speaker, prior.text
{_HITS}
CROSS JOIN LATERAL (
    SELECT r.speaker, left(r.text, %(characters)s) AS text
    FROM memory_revisions r {_PASSAGE}
    WHERE r.tenant_id = %(tenant)s AND r.space_id = h.space_id AND r.session_id = h.session_id
          AND (r.occurred_at, r.seq) < (h.occurred_at, h.seq) {{where}}
    ORDER BY r.occurred_at DESC, r.seq DESC LIMIT 1) prior
{_OF_HITS}
"""
# The index of sessions holds what is live. For another point in time their turns are read and numbered once, not once a hit.
_THEN = f"""
WITH hits AS MATERIALIZED (
    SELECT hp.pid, h.memory_id, h.revision, h.session_id {_HITS} {_OF_HITS}),
turns AS MATERIALIZED (
    SELECT r.memory_id, r.revision, p.pid, r.space_id, r.session_id,
           row_number() OVER (PARTITION BY r.space_id, r.session_id ORDER BY r.occurred_at, r.seq) AS number
    FROM memory_revisions r {_PASSAGE}
    WHERE r.tenant_id = %(tenant)s AND r.space_id = ANY(%(spaces)s)
          AND r.session_id = ANY(ARRAY(SELECT DISTINCT session_id FROM hits)) {{where}})
"""
_NUMBERED = """
FROM hits h
JOIN turns t ON t.memory_id = h.memory_id AND t.revision = h.revision
JOIN turns n ON n.space_id = t.space_id AND n.session_id = t.session_id
"""
_FOLLOWING_THEN = f"""
{_THEN} SELECT h.pid, n.number - t.number, n.pid, n.memory_id {_NUMBERED}
WHERE n.number > t.number AND n.number <= t.number + %(turns)s
"""
_PRECEDING_THEN = f"""
{_THEN} SELECT h.pid, m.speaker, left(m.text, %(characters)s) {_NUMBERED}
JOIN memory_revisions m ON m.tenant_id = %(tenant)s AND m.memory_id = n.memory_id AND m.revision = n.revision
WHERE n.number = t.number - 1
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
        filtered = await conditions_of(query)
        params = {
            "tenant": scope.tenant_id,
            "spaces": list(query.spaces),
            "pids": list(pids),
        } | filtered.params
        rows = await self._database.read(scope, _READ.format(where=filtered.where), params)
        return {item.pid: item for item in map(_item, rows)}

    async def following(self, scope: Scope, query: Query, pids: Sequence[int], *, turns: int) -> list[Following]:
        """The next ``turns`` turns of each pid's session that the filters let through."""
        if not pids:
            return []
        sql = _FOLLOWING_THEN if query.filters.time_travel else _FOLLOWING
        rows = await self._near(scope, query, pids, sql, {"turns": turns})
        return [Following(after, int(distance), pid, memory_id) for after, distance, pid, memory_id in rows]

    async def preceding(self, scope: Scope, query: Query, pids: Sequence[int]) -> dict[int, Turn]:
        """The turn before each pid in its session, of those that the filters let through."""
        if not pids:
            return {}
        sql = _PRECEDING_THEN if query.filters.time_travel else _PRECEDING
        found = await self._near(scope, query, pids, sql, {"characters": PREVIOUS_CHARACTERS})
        return {pid: Turn(speaker, text) for pid, speaker, text in found}

    async def _near(self, scope: Scope, query: Query, pids: Sequence[int], sql: str, extra: dict[str, object]) -> list[TupleRow]:
        filtered = await conditions_of(query)
        params = filtered.params | {"tenant": scope.tenant_id, "spaces": list(query.spaces), "pids": list(pids)} | extra
        return await self._database.read(scope, sql.format(where=filtered.where), params)

    async def search(self, scope: Scope, query: Query, interval: Interval, *, limit: int) -> list[ArmHit]:
        """Memories with an event time inside the interval, newest first; the score is seconds since the epoch."""
        filtered = await conditions_of(query)
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
