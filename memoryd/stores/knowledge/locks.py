"""Which knowledge base and which draft: found within the key's spaces, and locked in one order.

Everybody takes the draft's row first, then a document, then the knowledge base's row. Who makes a draft holds the knowledge
base's row before there is a draft, and waits for nobody's draft then.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from memoryd.errors import Collision, NotFound
from memoryd.stores.knowledge.rows import close, copy
from memoryd.stores.trips import Connection
from retrieval.scope import Scope

IN_SPACES = "(%(spaces)s::text[] IS NULL OR b.space = ANY(%(spaces)s))"
"""Within the key's spaces, also one that is being deleted."""
THERE = f"b.deleting_at IS NULL AND {IN_SPACES}"
"""For whoever reads or writes."""
_BASE = f"""
SELECT b.live_seq, b.newest_seq, b.retain FROM knowledge_bases b
WHERE b.tenant_id = %(tenant)s AND b.kb_id = %(kb)s AND {THERE}
"""
_DRAFT = """
SELECT seq, base_seq, discarding FROM kb_versions v
WHERE v.tenant_id = %(tenant)s AND v.kb_id = %(kb)s AND v.state = 'draft'
"""
_TAKING = f"""
SELECT v.seq FROM kb_versions v JOIN knowledge_bases b ON b.tenant_id = v.tenant_id AND b.kb_id = v.kb_id
WHERE v.tenant_id = %(tenant)s AND v.kb_id = %(kb)s AND v.state = 'draft' AND NOT v.discarding AND {THERE}
"""
_MAKE = """
INSERT INTO kb_versions (tenant_id, kb_id, seq, base_seq, state, created_at)
VALUES (%(tenant)s, %(kb)s, %(seq)s, %(base)s, 'draft', %(now)s)
"""
# Behind the draft's row: what is selected from it is locked by then.
_ONE_AT_A_TIME = "pg_advisory_xact_lock(hashtextextended(%(kb)s::text || ':' || {document}, 6))"
STILL_WRITABLE = _TAKING + "AND v.seq = %(seq)s FOR SHARE OF v"
"""The draft that was begun with this number, to write to it; no row: it takes nothing any more."""
BEGINNING = f"""
WITH draft AS MATERIALIZED ({_TAKING} FOR SHARE OF v)
SELECT seq, set_config('memoryd.draft', seq::text, true), locked.documents
FROM draft CROSS JOIN LATERAL (
    SELECT count({_ONE_AT_A_TIME.format(document="q.document")}) AS documents
    FROM unnest(%(documents)s::text[]) AS q(document) WHERE draft.seq IS NOT NULL) locked
"""
"""The draft, to begin documents in it, each one at a time; no row: there is none that takes anything. Several documents have to
be in the order of their ids, in which everybody locks them."""
BEGUN = "nullif(current_setting('memoryd.draft', true), '')::bigint"
"""The number of the draft that :data:`BEGINNING` found in this transaction, for what is sent together with it."""
ENDING = f"""
WITH draft AS MATERIALIZED ({STILL_WRITABLE})
SELECT {_ONE_AT_A_TIME.format(document="q.document_id")}
FROM (SELECT d.document_id FROM draft CROSS JOIN unnest(%(documents)s::bigint[]) AS g(pid) CROSS JOIN LATERAL (
          SELECT document_id, kb_id FROM kb_documents WHERE tenant_id = %(tenant)s AND document_pid = g.pid OFFSET 0) d
      WHERE d.kb_id = %(kb)s ORDER BY d.document_id) q
"""
"""The same to end some that were begun; no row: the draft takes nothing any more, or no such document is there."""
_LOCK_DOCUMENT = "SELECT " + _ONE_AT_A_TIME.format(document="%(document)s")
# Of a draft that is based on an older version than the newest: what is open there, and what was closed since.
_NOT_THERE = """
SELECT document_pid FROM kb_documents
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND to_seq IS NULL AND complete AND from_seq > coalesce(%(base)s, 0)
"""
_CLOSED_SINCE = """
SELECT document_pid FROM kb_documents
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND complete AND from_seq <= %(base)s AND to_seq > %(base)s
"""


@dataclass(frozen=True, slots=True)
class Base:
    """Where a knowledge base stands."""

    live_seq: int | None
    newest_seq: int
    retain: int | None


@dataclass(frozen=True, slots=True)
class Draft:
    """The draft's number, and what was live when it was begun. ``discarding``: its rows are going."""

    seq: int
    base_seq: int | None
    discarding: bool


def naming(scope: Scope, kb_id: UUID) -> dict[str, object]:
    """Parameters that every statement here takes."""
    spaces = None if scope.spaces is None else sorted(scope.spaces)
    return {"tenant": scope.tenant_id, "kb": kb_id, "spaces": spaces}


async def find_base(connection: Connection, scope: Scope, kb_id: UUID, *, lock: bool = False) -> Base:
    """The knowledge base; with ``lock`` nobody moves its pointer before the transaction ends. Raises ``NotFound``."""
    sql = _BASE + (" FOR NO KEY UPDATE OF b" if lock else "")
    row = await (await connection.execute(sql, naming(scope, kb_id))).fetchone()
    if row is None:
        raise NotFound("no such knowledge base")
    return Base(*row)


async def find_draft(connection: Connection, scope: Scope, kb_id: UUID, lock: str = "") -> Draft | None:
    """The draft, if there is one. ``lock``: ``FOR SHARE`` to write to it, ``FOR UPDATE`` to end it."""
    row = await (await connection.execute(_DRAFT + lock, naming(scope, kb_id))).fetchone()
    return Draft(*row) if row else None


async def open_draft(connection: Connection, scope: Scope, kb_id: UUID, now: datetime) -> int:
    """The draft's number; it is begun if there is none, and does not end before the transaction does.

    A draft is based on what is live. After a rollback that is not the newest version: what is open but not in the live one is
    closed, and what the live one has but was closed since is copied. Raises ``NotFound``, and while it is discarded
    ``Collision``: that passes.
    """
    await find_base(connection, scope, kb_id)
    draft = await find_draft(connection, scope, kb_id, " FOR SHARE")
    if draft is None:
        base = await find_base(connection, scope, kb_id, lock=True)
        if await find_draft(connection, scope, kb_id) is None:
            return await _make(connection, scope, kb_id, base, now)
        # Another began it just now. Who publishes it waits for the row that is locked here, so it is not waited for.
        draft = await find_draft(connection, scope, kb_id, " FOR SHARE SKIP LOCKED")
        if draft is None:
            raise Collision("the draft is being published")
    if draft.discarding:
        raise Collision("the draft is being discarded: discard it again if that was interrupted")
    return draft.seq


async def _make(connection: Connection, scope: Scope, kb_id: UUID, base: Base, now: datetime) -> int:
    seq = base.newest_seq + 1
    params = naming(scope, kb_id) | {"seq": seq, "base": base.live_seq, "now": now}
    await connection.execute(_MAKE, params)
    if (base.live_seq or 0) != base.newest_seq:
        await close(connection, scope.tenant_id, await _pids(connection, _NOT_THERE, params), seq)
        if base.live_seq is not None:
            await copy(connection, scope.tenant_id, await _pids(connection, _CLOSED_SINCE, params), seq)
    return seq


async def lock_document(connection: Connection, kb_id: UUID, document_id: str) -> None:
    """One at a time begins, ends or removes a document."""
    await connection.execute(_LOCK_DOCUMENT, {"kb": kb_id, "document": document_id})


async def _pids(connection: Connection, sql: str, params: dict[str, object]) -> list[int]:
    return [pid for (pid,) in await (await connection.execute(sql, params)).fetchall()]
