"""Versions of knowledge bases in PostgreSQL: which there are, which one a request reads, and moving the pointer."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from uuid import UUID

from psycopg.rows import TupleRow

from memoryd.errors import NotFound, VersionGone
from memoryd.knowledge.model import LIVE, Collected, Diff, Pin, Version, VersionState
from memoryd.stores.database import Database
from memoryd.stores.knowledge.collect import collect
from memoryd.stores.knowledge.diff import diff
from memoryd.stores.knowledge.locks import THERE, find_base, naming
from memoryd.stores.knowledge.publish import publish
from memoryd.stores.knowledge.trail import leave
from memoryd.stores.trips import Connection
from retrieval.scope import Scope

_RESOLVE = f"""
SELECT b.kb_id, b.name, b.space, v.seq, v.state
FROM knowledge_bases b
LEFT JOIN kb_tags t ON t.tenant_id = b.tenant_id AND t.kb_id = b.kb_id AND t.tag = %(tag)s
LEFT JOIN kb_versions v ON v.tenant_id = b.tenant_id AND v.kb_id = b.kb_id
    AND v.seq = coalesce(%(seq)s, t.seq, CASE WHEN %(live)s THEN b.live_seq END)
WHERE b.tenant_id = %(tenant)s AND b.name = %(name)s AND {THERE}
"""
# A draft is counted when it is looked at.
_VERSIONS = f"""
SELECT v.seq, v.base_seq, v.state, coalesce(v.seq = b.live_seq, false),
    ARRAY(SELECT t.tag FROM kb_tags t
          WHERE t.tenant_id = %(tenant)s AND t.kb_id = v.kb_id AND t.seq = v.seq ORDER BY t.tag),
    coalesce(n.documents, v.documents), coalesce(n.chunks, v.chunks), coalesce(n.tokens, v.tokens),
    encode(v.manifest, 'hex'), v.note, v.created_at, v.published_at, v.published_by
FROM knowledge_bases b
JOIN kb_versions v ON v.tenant_id = b.tenant_id AND v.kb_id = b.kb_id
LEFT JOIN LATERAL (
    SELECT count(*) AS documents, coalesce(sum(d.chunks), 0)::bigint AS chunks, coalesce(sum(d.tokens), 0)::bigint AS tokens
    FROM kb_documents d
    WHERE d.tenant_id = %(tenant)s AND d.kb_id = v.kb_id AND d.complete AND d.to_seq IS NULL) n ON v.state = 'draft'
WHERE b.tenant_id = %(tenant)s AND b.kb_id = %(kb)s AND {THERE}
"""
_PAGE = f"{_VERSIONS} AND (%(before)s::bigint IS NULL OR v.seq < %(before)s) ORDER BY v.seq DESC LIMIT %(limit)s"
_ONE = f"{_VERSIONS} AND v.seq = %(seq)s"
_STATE = "SELECT state FROM kb_versions WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND seq = %(seq)s"
_ROLL_BACK = "UPDATE knowledge_bases SET live_seq = %(seq)s WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s"
_TAG = """
INSERT INTO kb_tags (tenant_id, kb_id, tag, seq, created_at) VALUES (%(tenant)s, %(kb)s, %(tag)s, %(seq)s, %(now)s)
ON CONFLICT (tenant_id, kb_id, tag) DO UPDATE SET seq = excluded.seq, created_at = excluded.created_at
"""
_UNTAG = "DELETE FROM kb_tags WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND tag = %(tag)s"
# The largest bigint has 19 digits.
_DIGITS = 18


class PgVersions:
    """:class:`memoryd.knowledge.ports.Versions` on PostgreSQL. Publishing verifies the vectors that reads are answered from."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def resolve(self, scope: Scope, name: str, selector: str) -> Pin:
        """``selector``: ``live``, a number, or a tag. Raises ``NotFound``, ``VersionGone``."""
        number = selector.isascii() and selector.isdigit() and len(selector) <= _DIGITS
        params = {
            "tenant": scope.tenant_id,
            "spaces": None if scope.spaces is None else sorted(scope.spaces),
            "name": name,
            "seq": int(selector) if number else None,
            "tag": selector,
            "live": selector == LIVE,
        }
        rows = await self._database.read(scope, _RESOLVE, params)
        if not rows:
            raise NotFound("no such knowledge base")
        kb_id, name, space, seq, state = rows[0]
        if selector == LIVE and seq is None:
            raise NotFound("nothing was published in this knowledge base yet")
        return Pin(kb_id, name, space, _readable(seq, state))

    async def page(self, scope: Scope, kb_id: UUID, *, before: int | None, limit: int) -> list[Version]:
        """Newest first, the draft among them."""
        params = naming(scope, kb_id) | {"before": before, "limit": limit}
        return [_version(row) for row in await self._database.read(scope, _PAGE, params)]

    async def publish(self, scope: Scope, kb_id: UUID, *, note: str | None, now: datetime, job_id: UUID | None = None) -> Version:
        """See :func:`memoryd.stores.knowledge.publish.publish`."""
        seq = await publish(self._database, scope, kb_id, note=note, now=now, job_id=job_id)
        return await self._one(scope, kb_id, seq)

    async def rollback(self, scope: Scope, kb_id: UUID, seq: int, now: datetime) -> Version:
        """Make a published version live. Moves one pointer. Raises ``NotFound``, ``VersionGone``."""
        async with self._database.transaction(scope) as connection:
            base = await find_base(connection, scope, kb_id, lock=True)
            params = naming(scope, kb_id) | {"seq": seq}
            await _published(connection, params)
            await connection.execute(_ROLL_BACK, params)
            await leave(connection, scope, "kb.rollback", kb_id, now, seq=seq, before=base.live_seq)
        return await self._one(scope, kb_id, seq)

    async def tag(self, scope: Scope, kb_id: UUID, tag: str, seq: int | None, now: datetime) -> None:
        """Name a published version, or with ``None`` remove the name. Raises ``NotFound``, ``VersionGone``."""
        async with self._database.transaction(scope) as connection:
            await find_base(connection, scope, kb_id, lock=True)
            params = naming(scope, kb_id) | {"seq": seq, "tag": tag, "now": now}
            if seq is not None:
                await _published(connection, params)
                await connection.execute(_TAG, params)
            elif not (await connection.execute(_UNTAG, params)).rowcount:
                raise NotFound("no such tag")
            await leave(connection, scope, "kb.tag" if seq is not None else "kb.untag", kb_id, now, tag=tag, seq=seq)

    async def diff(self, scope: Scope, kb_id: UUID, before: int, after: int, *, cursor: str | None, limit: int) -> Diff:
        """See :func:`memoryd.stores.knowledge.diff.diff`."""
        return await diff(self._database, scope, kb_id, before, after, cursor=cursor, limit=limit)

    async def collect(
        self, scope: Scope, kb_id: UUID, *, now: datetime, grace_s: float, erase: Callable[[Sequence[str]], Awaitable[None]]
    ) -> Collected:
        """See :func:`memoryd.stores.knowledge.collect.collect`."""
        return await collect(self._database, scope, kb_id, now=now, grace_s=grace_s, erase_objects=erase)

    async def _one(self, scope: Scope, kb_id: UUID, seq: int) -> Version:
        rows = await self._database.read(scope, _ONE, naming(scope, kb_id) | {"seq": seq})
        if not rows:
            raise NotFound("the knowledge base was deleted meanwhile")
        return _version(rows[0])


async def _published(connection: Connection, params: dict[str, object]) -> None:
    """Raises ``NotFound``, ``VersionGone``."""
    row = await (await connection.execute(_STATE, params)).fetchone()
    _readable(None if row is None else int(str(params["seq"])), row[0] if row else None)


def _readable(seq: int | None, state: str | None) -> int:
    if seq is None:
        raise NotFound("no such version")
    if state == VersionState.DRAFT:
        raise NotFound("this version is not published yet")
    if state == VersionState.COLLECTED:
        raise VersionGone("this version was collected: what only it had is erased")
    return seq


def _version(row: TupleRow) -> Version:
    seq, base_seq, state, live, tags, *rest = row
    return Version(seq, base_seq, VersionState(state), live, tuple(tags), *rest)
