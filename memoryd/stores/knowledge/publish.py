"""Publishing, in one transaction: leave out what is half written, verify, count, and move the pointer by compare-and-swap."""

from datetime import datetime
from uuid import UUID

from memoryd.errors import Collision, Conflict, StoreUnavailable
from memoryd.stores.database import Database
from memoryd.stores.generations import covering
from memoryd.stores.jobs.active import wait_for_others
from memoryd.stores.jobs.drafts import note_published
from memoryd.stores.knowledge.locks import find_base, find_draft, naming
from memoryd.stores.knowledge.rows import erase
from memoryd.stores.knowledge.trail import leave
from memoryd.stores.knowledge.verify import verify
from memoryd.stores.trips import Connection
from retrieval.bm25 import mean_idf
from retrieval.scope import Scope

_ALONE = "SELECT pg_try_advisory_xact_lock(hashtextextended(%(kb)s::text, 7))"
_MEMORY = "SET LOCAL work_mem = '64MB'"
_HALF_WRITTEN = """
SELECT document_pid FROM kb_documents
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND from_seq = %(seq)s AND NOT complete
"""
_TOUCHED = """
SELECT EXISTS (SELECT FROM kb_documents WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND from_seq = %(seq)s)
    OR EXISTS (SELECT FROM kb_documents WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND to_seq = %(seq)s)
"""
_VISIBLE = """
tenant_id = %(tenant)s AND kb_id = %(kb)s AND from_seq <= %(seq)s AND (to_seq IS NULL OR to_seq > %(seq)s)
"""
_DOCUMENTS = f"SELECT count(*), coalesce(sum(chunks), 0), coalesce(sum(tokens), 0) FROM kb_documents WHERE {_VISIBLE}"
_CHUNKS = f"SELECT count(*), coalesce(sum(length), 0) FROM kb_chunks WHERE {_VISIBLE}"
# How many terms have each document frequency.
_HISTOGRAM = f"""
SELECT f.chunks, count(*)
FROM (SELECT count(*) AS chunks FROM kb_chunks CROSS JOIN LATERAL unnest(terms) AS t(term) WHERE {_VISIBLE} GROUP BY t.term) f
GROUP BY f.chunks
"""
# Of each document the digests of its id, its bytes and its chunks' hashes in order: 96 bytes each, by document id.
_MANIFEST = f"""
SELECT sha256(coalesce(string_agg(sha256(convert_to(d.document_id, 'UTF8')) || d.content_hash || c.digest, ''::bytea
                                  ORDER BY d.document_id), ''::bytea))
FROM kb_documents d CROSS JOIN LATERAL (
    SELECT sha256(coalesce(string_agg(hash, ''::bytea ORDER BY ordinal), ''::bytea)) AS digest FROM kb_chunks
    WHERE tenant_id = %(tenant)s AND document_pid = d.document_pid) c
WHERE {_VISIBLE}
"""
_AS_BASE = """
SELECT documents, chunks, tokens, total_length, mean_idf, manifest FROM kb_versions
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND seq = %(base)s
"""
_MOVE = """
UPDATE knowledge_bases SET live_seq = %(seq)s, newest_seq = %(seq)s
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND live_seq IS NOT DISTINCT FROM %(base)s
"""
_PUBLISH = """
UPDATE kb_versions SET state = 'published', documents = %(documents)s, chunks = %(chunks)s, tokens = %(tokens)s,
    total_length = %(total_length)s, mean_idf = %(mean_idf)s, manifest = %(manifest)s, note = %(note)s, published_at = %(now)s,
    published_by = %(by)s
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND seq = %(seq)s
"""
_MOVED = "another version was made live since the draft was begun: discard the draft and ingest again"


async def publish(
    database: Database, scope: Scope, kb_id: UUID, *, note: str | None, now: datetime, job_id: UUID | None = None
) -> int:
    """Make the draft the next version, and live; its number. ``job_id``: the job that does it, which waits for the others.

    Raises ``NotFound``, ``Conflict``, ``Collision`` beside another publish or a discard, ``NotYet``, ``StoreUnavailable``.
    Whatever interrupts it, nothing has changed, and it can be asked for again.
    """
    async with database.transaction(scope) as connection:
        await connection.be_patient()
        await connection.execute(_MEMORY)
        base = await find_base(connection, scope, kb_id)
        ((alone,),) = await (await connection.execute(_ALONE, {"kb": kb_id})).fetchall()
        if not alone:
            raise Collision("the draft is being published already")
        # Waits for batches that are being written; those that come later find no draft.
        draft = await find_draft(connection, scope, kb_id, " FOR UPDATE")
        if draft is None:
            raise Conflict("there is no draft to publish")
        if draft.discarding:
            raise Collision("the draft is being discarded")
        if base.live_seq != draft.base_seq:
            raise Conflict(_MOVED)
        if job_id is not None:
            await wait_for_others(connection, scope, kb_id, job_id)
        generation = (await covering(connection, scope.tenant_id)).serving(kb_id)
        params = naming(scope, kb_id) | {"seq": draft.seq, "base": draft.base_seq, "generation": generation.number}
        await leave_out(connection, scope, params)
        await verify(connection, params)
        counted = await count(connection, params)
        await move(connection, params)
        await connection.execute(_PUBLISH, params | counted | {"note": note, "now": now, "by": scope.principal})
        numbers = {name: int(str(counted[name])) for name in ("documents", "chunks")}
        await leave(connection, scope, "kb.publish", kb_id, now, seq=draft.seq, **numbers)
        if job_id is not None:
            await note_published(connection, scope, job_id, draft.seq)
        return draft.seq


async def leave_out(connection: Connection, scope: Scope, params: dict[str, object]) -> None:
    """Half-written documents are not in the version."""
    rows = await (await connection.execute(_HALF_WRITTEN, params)).fetchall()
    await erase(connection, scope.tenant_id, [pid for (pid,) in rows])


async def count(connection: Connection, params: dict[str, object]) -> dict[str, object]:
    """What is kept of a version beside its rows. One that changes nothing has the numbers of the version it is based on."""
    ((touched,),) = await (await connection.execute(_TOUCHED, params)).fetchall()
    if not touched and params["base"] is not None:
        (row,) = await (await connection.execute(_AS_BASE, params)).fetchall()
        return dict(zip(("documents", "chunks", "tokens", "total_length", "mean_idf", "manifest"), row, strict=True))
    (documents,) = await (await connection.execute(_DOCUMENTS, params)).fetchall()
    (chunks,) = await (await connection.execute(_CHUNKS, params)).fetchall()
    if documents[1] != chunks[0]:
        raise StoreUnavailable(f"not published: the documents have {documents[1]} chunks, and there are {chunks[0]}")
    histogram: dict[int, int] = dict(await (await connection.execute(_HISTOGRAM, params)).fetchall())
    ((manifest,),) = await (await connection.execute(_MANIFEST, params)).fetchall()
    return {
        "documents": documents[0],
        "chunks": chunks[0],
        "tokens": documents[2],
        "total_length": chunks[1],
        "mean_idf": mean_idf(chunks[0], histogram),
        "manifest": manifest,
    }


async def move(connection: Connection, params: dict[str, object]) -> None:
    """The pointer, if nobody moved it meanwhile."""
    if not (await connection.execute(_MOVE, params)).rowcount:
        raise Conflict(_MOVED)
