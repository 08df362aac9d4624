"""Rows of ``memory_revisions`` as :class:`memoryd.memory.model.Revision`, and back."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from memoryd.memory.model import Change, Content, Idempotency, Kind, Revision
from memoryd.memory.ports import NOW, Moment, Page, Receipt
from memoryd.stores.database import Database
from memoryd.stores.filter_sql import CURRENT, KNOWN, VALID, conditions
from memoryd.stores.idempotency import earlier_receipt
from retrieval.filters import Filters, JsonValue
from retrieval.scope import Scope

COLUMNS = """
r.memory_id, r.revision, r.space_id, s.name, m.external_id, r.seq, r.action, r.actor, r.reason, m.created_at, r.recorded_at,
r.retired_at, m.deleted_at, r.superseded_by, r.live, r.kind, r.text, r.speaker, r.role, r.user_id, r.agent_id, r.session_id,
r.event_time, r.valid_from, r.valid_to, r.source_type, r.source_uri, r.confidence, r.topics, r.metadata, r.supersedes
"""
FROM = """
FROM memory_revisions r
JOIN memories m ON m.tenant_id = r.tenant_id AND m.memory_id = r.memory_id
JOIN spaces s ON s.tenant_id = r.tenant_id AND s.space_id = r.space_id
"""
_IS_HEAD = "r.revision = m.head_revision"
HEAD = f"SELECT {COLUMNS} {FROM} WHERE r.tenant_id = %(tenant)s AND r.memory_id = %(memory)s AND {_IS_HEAD}"
HEADS = f"SELECT {COLUMNS} {FROM} WHERE r.tenant_id = %(tenant)s AND r.memory_id = ANY(%(memories)s) AND {_IS_HEAD}"
_ALLOWED = "(%(spaces)s::text[] IS NULL OR s.name = ANY(%(spaces)s))"
_GET = f"{HEAD} AND m.deleted_at IS NULL AND {_ALLOWED}"
_MANY = f"SELECT {COLUMNS} {FROM} WHERE r.tenant_id = %(tenant)s AND r.memory_id = ANY(%(memories)s) AND {_ALLOWED}"
_KEPT = (_IS_HEAD, "m.deleted_at IS NULL")
_OF_MEMORY = f"SELECT {COLUMNS} {FROM} WHERE r.tenant_id = %(tenant)s AND r.memory_id = %(memory)s AND {_ALLOWED} "
_HISTORY = "AND (%(before)s::bigint IS NULL OR r.revision < %(before)s) ORDER BY r.revision DESC LIMIT %(limit)s"
# Topics and metadata are postings of the passages; the first passage has them all.
_PASSAGES = (
    "JOIN passages p ON p.tenant_id = r.tenant_id AND p.memory_id = r.memory_id AND p.revision = r.revision AND p.ordinal = 0"
)
# `OFFSET 0`: each by its key, also where nothing was analysed yet and a scan of the spaces seems as cheap.
_SHOWN = """
FROM shown
CROSS JOIN LATERAL (
    SELECT * FROM memory_revisions
    WHERE tenant_id = %(tenant)s AND memory_id = shown.memory_id AND revision = shown.revision OFFSET 0) r
JOIN memories m ON m.tenant_id = %(tenant)s AND m.memory_id = r.memory_id
JOIN spaces s ON s.tenant_id = %(tenant)s AND s.space_id = r.space_id
"""
# Each space's next rows in the order of an index, merged; `space_id = ANY` would read and sort all that is left of them.
_FIRST = f"""
WITH shown AS MATERIALIZED (
    SELECT next.memory_id, next.revision
    FROM unnest(%(ids)s::uuid[]) AS o(space_id)
    CROSS JOIN LATERAL (
        SELECT r.memory_id, r.revision, r.occurred_at, r.seq FROM memory_revisions r {{join}}
        WHERE r.tenant_id = %(tenant)s AND r.space_id = o.space_id {{where}}
        ORDER BY {{order}} LIMIT %(limit)s) next
    ORDER BY {{order_of_all}} LIMIT %(limit)s)
SELECT r.occurred_at, {COLUMNS} {_SHOWN} ORDER BY {{order}}
"""
KNOWN_IDENTITIES = """
SELECT m.space_id, m.identity, m.memory_id
FROM unnest(%(spaces)s::uuid[], %(identities)s::bytea[]) AS q(space_id, identity)
JOIN memories m ON m.tenant_id = %(tenant)s AND m.space_id = q.space_id AND m.identity = q.identity
"""
# The turns of one conversation: the same space, session and user.
_TALK = (
    f"SELECT {COLUMNS} {FROM} WHERE r.tenant_id = %(tenant)s AND r.space_id = %(space)s AND r.session_id = %(session)s "
    f"AND r.user_id IS NOT DISTINCT FROM %(user)s AND r.memory_id <> %(memory)s AND {_ALLOWED} {{moment}} "
)
_TURN = "(coalesce(%(event_time)s, %(created_at)s), %(seq)s::bigint)"
_BEFORE = f"{_TALK} AND (r.occurred_at, r.seq) < {_TURN} ORDER BY r.occurred_at DESC, r.seq DESC LIMIT %(before)s"
_AFTER = f"{_TALK} AND (r.occurred_at, r.seq) > {_TURN} ORDER BY r.occurred_at, r.seq LIMIT %(after)s"


def first(where: str, order: Sequence[str], *, join: str = "") -> str:
    """The first ``limit`` revisions of the spaces ``ids`` in an order; rows of ``occurred_at`` and :data:`COLUMNS`."""
    inner, outer = (", ".join(f"{table}.{column}" for column in order) for table in ("r", "next"))
    return _FIRST.format(join=join, where=where, order=inner, order_of_all=outer)


class PgMemoryReader:
    """:class:`memoryd.memory.ports.MemoryReader` on PostgreSQL. A confined key sees its spaces only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, scope: Scope, memory_id: UUID, at: Moment = NOW) -> Revision | None:
        """The head of a memory that is not deleted, or what was known and true of it ``at`` another time; else ``None``."""
        sql = _GET
        if at != NOW:
            sql = _OF_MEMORY + "".join(f" AND {one}" for one in (CURRENT if at.known_at is None else KNOWN, *_valid(at)))
        rows = await self._database.read(scope, sql, _confined(scope) | _times(at) | {"memory": memory_id})
        return revision(rows[0]) if rows else None

    async def get_many(self, scope: Scope, memory_ids: Sequence[UUID], at: Moment = NOW) -> dict[UUID, Revision]:
        """As :meth:`get`, for many in one query."""
        now = _KEPT if at == NOW else (CURRENT if at.known_at is None else KNOWN, *_valid(at))
        sql = _MANY + "".join(f" AND {one}" for one in now)
        rows = await self._database.read(scope, sql, _confined(scope) | _times(at) | {"memories": list(memory_ids)})
        return {found.memory_id: found for found in map(revision, rows)}

    async def history(self, scope: Scope, memory_id: UUID, *, before: int | None, limit: int, at: Moment = NOW) -> list[Revision]:
        """Revisions below number ``before``, newest first; also of a deleted memory.

        At a ``known_at`` it is the history as it was then; with ``as_of`` only what says something of that time.
        """
        known = () if at.known_at is None else ("r.recorded_at <= %(known_at)s",)
        sql = _OF_MEMORY + "".join(f" AND {one} " for one in (*known, *_valid(at))) + _HISTORY
        params = _confined(scope) | _times(at) | {"memory": memory_id, "before": before, "limit": limit}
        found = [revision(row) for row in await self._database.read(scope, sql, params)]
        return [_as_known(one, at.known_at) for one in found]

    async def page(self, scope: Scope, spaces: Sequence[UUID], filters: Filters, *, after: int | None, limit: int) -> Page:
        """Memories in arrival order, from behind position ``after``."""
        faceted = filters.topics_any or filters.topics_all or filters.metadata
        filtered = await conditions(filters, spaces)
        params = filtered.params | {
            "tenant": scope.tenant_id,
            "ids": list(spaces),
            "after": after or 0,
            "limit": limit + 1,
        }
        sql = first(filtered.where + " AND r.seq > %(after)s", ("seq",), join=_PASSAGES if faceted else "")
        rows = await self._database.read(scope, sql, params)
        revisions = tuple(revision(columns) for _, *columns in rows[:limit])
        return Page(revisions, revisions[-1].seq if len(rows) > limit else None)

    async def known(self, scope: Scope, identities: Sequence[tuple[UUID, bytes]]) -> dict[tuple[UUID, bytes], UUID]:
        """Which of these (space, identity) pairs exist already."""
        params = {
            "tenant": scope.tenant_id,
            "spaces": [space for space, _ in identities],
            "identities": [identity for _, identity in identities],
        }
        rows = await self._database.read(scope, KNOWN_IDENTITIES, params)
        return {(space, bytes(identity)): memory_id for space, identity, memory_id in rows}

    async def earlier_receipt(self, scope: Scope, idempotency: Idempotency) -> Receipt | None:
        """The committed receipt of this key. Raises ``IdempotencyKeyReused``."""
        return await earlier_receipt(self._database, scope, idempotency)

    async def neighbours(self, scope: Scope, turn: Revision, *, before: int, after: int, at: Moment = NOW) -> list[Revision]:
        """Turns of the same space, session and user around a turn (itself excluded), in order."""
        if turn.content.session_id is None:
            return []
        moment = "AND r.live"
        if at != NOW:
            known = CURRENT if at.known_at is None else KNOWN
            # As in a recall: what was superseded by then is history, unless it was true at the time asked about.
            moment = "".join(f" AND {one}" for one in (known, *(_valid(at) or ("r.superseded_by IS NULL",))))
        content = turn.content
        params = (
            _confined(scope)
            | _times(at)
            | {
                "space": turn.space_id,
                "session": content.session_id,
                "user": content.user_id,
                "memory": turn.memory_id,
                "event_time": content.event_time,
                "created_at": turn.created_at,
                "seq": turn.seq,
                "before": before,
                "after": after,
            }
        )
        sql = [one.format(moment=moment) for one in (_BEFORE, _AFTER)]
        earlier, later = await self._database.read_all(scope, [(one, params) for one in sql])
        return [revision(row) for row in (*reversed(earlier), *later)]


def _times(at: Moment) -> dict[str, object]:
    return {"as_of": at.as_of, "known_at": at.known_at}


def _valid(at: Moment) -> tuple[str, ...]:
    return () if at.as_of is None else (VALID,)


def _as_known(one: Revision, known_at: datetime | None) -> Revision:
    """Without an end that nobody knew of then."""
    ended = known_at is not None and one.retired_at is not None and one.retired_at > known_at
    return replace(one, retired_at=None) if ended else one


def _confined(scope: Scope) -> dict[str, object]:
    return {"tenant": scope.tenant_id, "spaces": None if scope.spaces is None else sorted(scope.spaces)}


def revision(row: Sequence[Any]) -> Revision:
    """A row of :data:`COLUMNS`."""
    (
        memory_id,
        number,
        space_id,
        space,
        external_id,
        seq,
        action,
        actor,
        reason,
        created_at,
        recorded_at,
        *rest,
    ) = row
    (retired_at, deleted_at, superseded_by, live, *content) = rest
    return Revision(
        memory_id=memory_id,
        revision=number,
        space_id=space_id,
        space=space,
        external_id=external_id,
        seq=seq,
        action=Change(action),
        actor=actor,
        reason=reason,
        created_at=created_at,
        recorded_at=recorded_at,
        retired_at=retired_at,
        deleted_at=deleted_at,
        superseded_by=superseded_by,
        live=live,
        content=_content(content),
    )


def _content(values: Sequence[object]) -> Content:
    (kind, text, speaker, role, user_id, agent_id, session_id, event_time, valid_from, valid_to, *rest) = values
    (source_type, source_uri, confidence, topics, metadata, supersedes) = rest
    return Content(
        kind=Kind(str(kind)),
        text=str(text),
        speaker=_text(speaker),
        role=_text(role),
        user_id=_text(user_id),
        agent_id=_text(agent_id),
        session_id=_text(session_id),
        event_time=_time(event_time),
        valid_from=_time(valid_from),
        valid_to=_time(valid_to),
        source_type=str(source_type),
        source_uri=_text(source_uri),
        confidence=confidence if isinstance(confidence, float) else 0.0,
        topics=tuple(topics) if isinstance(topics, list) else (),
        metadata=metadata if isinstance(metadata, dict) else {},
        supersedes=supersedes if isinstance(supersedes, UUID) else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def row(content: Content) -> dict[str, JsonValue]:
    """The columns of a content, as JSON for ``jsonb_to_recordset``."""
    return {
        "kind": content.kind,
        "text": content.text,
        "speaker": content.speaker,
        "role": content.role,
        "user_id": content.user_id,
        "agent_id": content.agent_id,
        "session_id": content.session_id,
        "event_time": content.event_time.isoformat() if content.event_time else None,
        "valid_from": content.valid_from.isoformat() if content.valid_from else None,
        "valid_to": content.valid_to.isoformat() if content.valid_to else None,
        "source_type": content.source_type,
        "source_uri": content.source_uri,
        "confidence": content.confidence,
        "topics": list(content.topics),
        "metadata": content.metadata,
        "supersedes": str(content.supersedes) if content.supersedes else None,
    }
