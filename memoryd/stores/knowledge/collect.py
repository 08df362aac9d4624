"""Garbage collection: versions that nobody needs are given up, and rows that only they have are erased a while later."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from memoryd.knowledge.model import Collected
from memoryd.stores.database import Database
from memoryd.stores.jobs.active import active_jobs
from memoryd.stores.knowledge.discard import go_on
from memoryd.stores.knowledge.locks import IN_SPACES, find_base, find_draft, naming
from memoryd.stores.knowledge.rows import erase
from memoryd.stores.knowledge.trail import leave
from retrieval.filters import JsonValue
from retrieval.scope import Scope

_GIVE_UP = """
UPDATE kb_versions v SET state = 'collected', collected_at = %(now)s
WHERE v.tenant_id = %(tenant)s AND v.kb_id = %(kb)s AND v.state = 'published'
    AND v.seq IS DISTINCT FROM %(live)s AND v.seq IS DISTINCT FROM %(base)s
    AND NOT EXISTS (SELECT FROM kb_tags t WHERE t.tenant_id = %(tenant)s AND t.kb_id = %(kb)s AND t.seq = v.seq)
    AND v.seq < (SELECT min(n.seq) FROM (
        SELECT seq FROM kb_versions WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND state = 'published'
        ORDER BY seq DESC LIMIT %(retain)s) n)
RETURNING v.seq
"""
# In no version that can be read, be it by who pinned it before it was given up; and what was begun for a draft that is gone.
_IS_GARBAGE = """
d.tenant_id = %(tenant)s AND d.kb_id = %(kb)s AND (
    (d.complete AND d.to_seq IS NOT NULL AND NOT EXISTS (
        SELECT FROM kb_versions v
        WHERE v.tenant_id = %(tenant)s AND v.kb_id = %(kb)s AND v.seq >= d.from_seq AND v.seq < d.to_seq
            AND (v.state <> 'collected' OR v.collected_at > %(until)s)))
    OR (NOT d.complete AND NOT EXISTS (
        SELECT FROM kb_versions v
        WHERE v.tenant_id = %(tenant)s AND v.kb_id = %(kb)s AND v.seq = d.from_seq AND v.state = 'draft')))
"""
_GARBAGE = f"SELECT document_pid FROM kb_documents d WHERE {_IS_GARBAGE} LIMIT %(documents)s FOR UPDATE OF d SKIP LOCKED"
# For who has just been told that a content is there, and is about to order a job of it.
_LOOKED_FOR = timedelta(hours=1)
# Of an orphan: what failed of it may be tried again, for as long as its job is known.
_UNWANTED: LiteralString = """
NOT EXISTS (
    SELECT FROM jobs j JOIN job_items i ON i.tenant_id = j.tenant_id AND i.job_id = j.job_id
    WHERE j.tenant_id = %(tenant)s AND j.kb_id = %(kb)s AND j.failed > 0 AND i.state = 'failed'
        AND i.source ->> 'key' = o.object_key)
"""
# Looked at first, for most knowledge bases have nothing to collect in most rounds.
_DUE = f"""
SELECT EXISTS (SELECT FROM kb_documents d WHERE {_IS_GARBAGE})
    OR EXISTS (SELECT FROM kb_orphans o WHERE o.tenant_id = %(tenant)s AND o.kb_id = %(kb)s
               AND (o.named_at IS NULL OR o.named_at <= %(ripe)s) AND {_UNWANTED})
    OR EXISTS (SELECT FROM kb_versions WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND state = 'draft' AND discarding)
    OR b.retain < (SELECT count(*) FROM kb_versions WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND state = 'published')
FROM knowledge_bases b WHERE b.tenant_id = %(tenant)s AND b.kb_id = %(kb)s AND {IN_SPACES}
"""
# Neither waits for anybody: what is locked is wanted or being erased just now, and has its turn in the next round.
_NAMED_AGAIN = """
DELETE FROM kb_orphans WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND object_key = ANY(ARRAY(
    SELECT object_key FROM kb_orphans o
    WHERE o.tenant_id = %(tenant)s AND o.kb_id = %(kb)s AND EXISTS (
        SELECT FROM kb_documents d WHERE d.tenant_id = %(tenant)s AND d.kb_id = %(kb)s AND d.object_key = o.object_key)
    FOR UPDATE OF o SKIP LOCKED))
"""
_NAME = f"""
UPDATE kb_orphans SET named_at = %(now)s WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND object_key = ANY(ARRAY(
    SELECT object_key FROM kb_orphans o
    WHERE o.tenant_id = %(tenant)s AND o.kb_id = %(kb)s AND o.named_at IS NULL AND {_UNWANTED}
    FOR UPDATE OF o SKIP LOCKED))
"""
_RIPE = f"""
SELECT object_key FROM kb_orphans o
WHERE o.tenant_id = %(tenant)s AND o.kb_id = %(kb)s AND o.object_key > %(after)s AND o.named_at <= %(ripe)s AND {_UNWANTED}
    AND NOT EXISTS (
        SELECT FROM kb_documents d WHERE d.tenant_id = %(tenant)s AND d.kb_id = %(kb)s AND d.object_key = o.object_key)
ORDER BY object_key LIMIT %(objects)s FOR UPDATE OF o SKIP LOCKED
"""
_NAMED = """
SELECT object_key FROM kb_documents WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND object_key = ANY(%(keys)s::text[])
"""
_ERASED = "DELETE FROM kb_orphans WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND object_key = ANY(%(keys)s::text[])"
# It waits for object storage, which may be slow.
_WAITS = "SET LOCAL idle_in_transaction_session_timeout = 0"
# Of one transaction. Objects are erased one by one, while an upload of one of them waits, though not for long.
_DOCUMENTS, _CHUNKS, _OBJECTS = 50, 2_000, 20

EraseObjects = Callable[[Sequence[str]], Awaitable[None]]


async def collect(
    database: Database, scope: Scope, kb_id: UUID, *, now: datetime, grace_s: float, erase_objects: EraseObjects
) -> Collected:
    """Give versions up, erase in small transactions what was given up more than ``grace_s`` ago, finish an interrupted discard.

    Originals are erased (``erase_objects``) an hour after it was seen that no document names them; not while there is a job,
    which may name them again, or one that failed of them and can be tried again.
    Raises ``NotFound``.
    """
    params = naming(scope, kb_id) | {
        "now": now,
        "until": now - timedelta(seconds=grace_s),
        "ripe": now - _LOOKED_FOR,
        "documents": _DOCUMENTS,
        "objects": _OBJECTS,
    }
    due = await database.read(scope, _DUE, params)
    if due and not due[0][0]:
        return Collected((), 0, 0, ())
    async with database.transaction(scope) as connection:
        base = await find_base(connection, scope, kb_id, lock=True)
        draft = await find_draft(connection, scope, kb_id)
        versions: list[int] = []
        if base.retain is not None:
            kept = {"live": base.live_seq, "base": draft.base_seq if draft else None, "retain": base.retain}
            versions = sorted(seq for (seq,) in await (await connection.execute(_GIVE_UP, params | kept)).fetchall())
    if draft is not None and draft.discarding:
        await go_on(database, scope, kb_id)
    documents = chunks = 0
    while True:
        async with database.transaction(scope) as connection:
            found = [pid for (pid,) in await (await connection.execute(_GARBAGE, params)).fetchall()]
            if not found:
                break
            gone, done = await erase(connection, scope.tenant_id, found, _CHUNKS)
        chunks += gone
        documents += len(found) if done else 0
    if versions or documents:
        async with database.transaction(scope) as connection:
            numbers = {"documents": documents, "chunks": chunks}
            await leave(connection, scope, "kb.collect", kb_id, now, versions=list[JsonValue](versions), **numbers)
    keys = await _objects(database, scope, kb_id, params, erase_objects)
    return Collected(tuple(versions), documents, chunks, tuple(keys))


async def _objects(
    database: Database, scope: Scope, kb_id: UUID, params: dict[str, object], erase_objects: EraseObjects
) -> list[str]:
    """Originals, and what is known of them, some at a time; none from when there is a job. Returns those that were erased."""
    async with database.transaction(scope) as connection:
        await connection.execute(_NAMED_AGAIN, params)
        if await active_jobs(connection, scope, kb_id):
            return []
        await connection.execute(_NAME, params)
    erased: list[str] = []
    after: str | None = ""
    while after is not None:
        after, some = await _ripe(database, scope, kb_id, params | {"after": after}, erase_objects)
        erased += some
    return erased


async def _ripe(
    database: Database, scope: Scope, kb_id: UUID, params: dict[str, object], erase_objects: EraseObjects
) -> tuple[str | None, list[str]]:
    """Some originals, and then what is known of them: interrupted between, they are erased again. Their rows are locked
    meanwhile, so that who wants one of them waits, and finds it gone. Returns the last that was looked at, ``None`` if that was
    none, and those that were erased."""
    async with database.transaction(scope) as connection:
        keys = [key for (key,) in await (await connection.execute(_RIPE, params)).fetchall()]
        # Looked for behind them: a job that is tried again since may be about to make a document of one of them, or have made it.
        if not keys or await active_jobs(connection, scope, kb_id):
            return None, []
        named = {key for (key,) in await (await connection.execute(_NAMED, params | {"keys": keys})).fetchall()}
        await connection.execute(_WAITS)
        unnamed = [key for key in keys if key not in named]
        await erase_objects(unnamed)
        await connection.execute(_ERASED, params | {"keys": keys})
    return keys[-1], unnamed
