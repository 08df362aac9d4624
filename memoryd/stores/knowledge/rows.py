"""What is done to the rows of whole documents, in every table: close, open again, copy, erase.

Postings are found through the terms of their chunks, by primary key: each as a lateral query that PostgreSQL cannot turn into
a scan. Statements take a thousand chunks at a time.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

from psycopg.rows import TupleRow

from memoryd.stores.arrays import int8s
from memoryd.stores.gaps import uncopied_chunks
from memoryd.stores.generations import HOLD, covering
from memoryd.stores.trips import Connection, trip

_CHUNKS_OF = """
SELECT pid FROM kb_chunks WHERE tenant_id = %(tenant)s AND document_pid = ANY(%(documents)s::bigint[])
ORDER BY document_pid, ordinal LIMIT %(most)s
"""
_POSTINGS_OF = """
ARRAY(SELECT o.ctid
      FROM (SELECT c.pid, t.term FROM kb_chunks c CROSS JOIN LATERAL unnest(c.terms) AS t(term)
            WHERE c.tenant_id = %(tenant)s AND c.pid = ANY(%(pids)s::bigint[]) ORDER BY t.term OFFSET 0) k
      CROSS JOIN LATERAL (SELECT p.ctid FROM kb_postings p
                          WHERE p.tenant_id = %(tenant)s AND p.term = k.term AND p.pid = k.pid OFFSET 0) o)
"""
_END_DOCUMENTS = """
UPDATE kb_documents SET to_seq = %(to)s WHERE tenant_id = %(tenant)s AND document_pid = ANY(%(documents)s::bigint[])
"""
_END_CHUNKS = "UPDATE kb_chunks SET to_seq = %(to)s WHERE tenant_id = %(tenant)s AND pid = ANY(%(pids)s::bigint[])"
_END_VECTORS = "UPDATE kb_vectors SET to_seq = %(to)s WHERE tenant_id = %(tenant)s AND pid = ANY(%(pids)s::bigint[])"
_END_POSTINGS = f"UPDATE kb_postings SET to_seq = %(to)s WHERE tenant_id = %(tenant)s AND ctid = ANY({_POSTINGS_OF})"

_ERASE_POSTINGS = f"DELETE FROM kb_postings WHERE tenant_id = %(tenant)s AND ctid = ANY({_POSTINGS_OF})"
_ERASE_CHUNKS = "DELETE FROM kb_chunks WHERE tenant_id = %(tenant)s AND pid = ANY(%(pids)s::bigint[])"
_ERASE_DOCUMENTS = """
WITH gone AS (
    DELETE FROM kb_documents WHERE tenant_id = %(tenant)s AND document_pid = ANY(%(documents)s::bigint[])
    RETURNING kb_id, object_key)
INSERT INTO kb_orphans (tenant_id, kb_id, object_key)
SELECT DISTINCT %(tenant)s::uuid, kb_id, object_key FROM gone WHERE object_key IS NOT NULL ORDER BY kb_id, object_key
ON CONFLICT DO NOTHING
"""

_NEW_PIDS = "SELECT nextval('kb_documents_document_pid_seq') FROM generate_series(1, %s)"
_MAP = "unnest(%(documents)s::bigint[], %(copies)s::bigint[]) AS m(old, new)"
_OLD = f"{_MAP} JOIN kb_chunks old ON old.tenant_id = %(tenant)s AND old.document_pid = m.old"
_BOTH = f"""
{_OLD} JOIN kb_chunks new ON new.tenant_id = %(tenant)s AND new.document_pid = m.new AND new.ordinal = old.ordinal
"""
_CARRIED = """content_hash, settings_hash, title, media_type, source_uri, metadata, object_key, bytes, pages, characters, chunks,
    tokens, warnings, stored_at"""
_COPY_DOCUMENTS = f"""
INSERT INTO kb_documents (tenant_id, document_pid, kb_id, document_id, from_seq, complete, {_CARRIED})
SELECT tenant_id, m.new, kb_id, document_id, %(seq)s, true, {_CARRIED}
FROM {_MAP} JOIN kb_documents d ON d.tenant_id = %(tenant)s AND d.document_pid = m.old
"""
_COPY_SECTIONS = f"""
INSERT INTO kb_sections (tenant_id, document_pid, ordinal, path, text, span_start, span_end, page_first, page_last, tokens)
SELECT tenant_id, m.new, ordinal, path, text, span_start, span_end, page_first, page_last, tokens
FROM {_MAP} JOIN kb_sections s ON s.tenant_id = %(tenant)s AND s.document_pid = m.old
"""
_SAID = """chunk_id, kb_id, section, ordinal, hash, prefix, text, kind, span_start, span_end, page_first, page_last, tokens,
    length, terms"""
_COPY_CHUNKS = f"""
INSERT INTO kb_chunks (tenant_id, document_pid, from_seq, {_SAID}) SELECT tenant_id, m.new, %(seq)s, {_SAID} FROM {_OLD}
"""
_COPY_VECTORS = f"""
INSERT INTO kb_vectors (tenant_id, generation, pid, kb_id, from_seq, embedding)
SELECT v.tenant_id, v.generation, new.pid, v.kb_id, %(seq)s, v.embedding
FROM {_BOTH} JOIN kb_vectors v ON v.tenant_id = %(tenant)s AND v.pid = old.pid
"""
_COPY_POSTINGS = f"""
INSERT INTO kb_postings (tenant_id, term, pid, tf, length, from_seq)
SELECT %(tenant)s, k.term, k.copy, o.tf, o.length, %(seq)s
FROM (SELECT old.pid, new.pid AS copy, t.term FROM {_BOTH} CROSS JOIN LATERAL unnest(old.terms) AS t(term)
      ORDER BY t.term OFFSET 0) k
CROSS JOIN LATERAL (SELECT p.tf, p.length FROM kb_postings p
                    WHERE p.tenant_id = %(tenant)s AND p.term = k.term AND p.pid = k.pid OFFSET 0) o
"""
_KB_OF = "SELECT kb_id FROM kb_documents WHERE tenant_id = %(tenant)s AND document_pid = %(document)s"
_SLICE = 1_000
_DOCUMENTS = 100


async def close(connection: Connection, tenant: UUID, documents: Sequence[int], to: int | None) -> None:
    """These documents are in no version from ``to`` on; with ``None`` they are open again."""
    for part in _slices(documents):
        ends = {"tenant": tenant, "documents": int8s(part), "to": to, "most": None}
        await connection.execute(_END_DOCUMENTS, ends)
        for pids in _slices(await _chunks(connection, ends)):
            params = ends | {"pids": int8s(pids)}
            await trip(connection, [(sql, params) for sql in (_END_CHUNKS, _END_VECTORS, _END_POSTINGS)])


async def copy(connection: Connection, tenant: UUID, documents: Sequence[int], seq: int) -> list[int]:
    """Open copies of these documents from ``seq`` on, with everything that belongs to them; the copies' numbers."""
    copies: list[int] = []
    if documents:
        await connection.be_patient()
        await connection.execute(HOLD)
    for part in _slices(documents, _DOCUMENTS):
        made = [pid for (pid,) in await (await connection.execute(_NEW_PIDS, (len(part),))).fetchall()]
        params = {"tenant": tenant, "documents": int8s(part), "copies": int8s(made), "seq": seq}
        copying = (_COPY_DOCUMENTS, _COPY_SECTIONS, _COPY_CHUNKS, _COPY_VECTORS, _COPY_POSTINGS)
        await trip(connection, [(sql, params) for sql in copying])
        copies += made
    if copies:
        await _note_gaps(connection, tenant, copies)
    return copies


async def _note_gaps(connection: Connection, tenant: UUID, copies: Sequence[int]) -> None:
    """Of a generation that is being built there may have been nothing to copy."""
    catalogue = await covering(connection, tenant)
    (kb_id,) = await _one(connection, _KB_OF, {"tenant": tenant, "document": copies[0]})
    numbers = [one.number for one in catalogue.covering(kb_id)]
    if len(numbers) > 1:
        await connection.execute(*uncopied_chunks(tenant, numbers, copies))


async def erase(connection: Connection, tenant: UUID, documents: Sequence[int], most: int | None = None) -> tuple[int, bool]:
    """Erase these documents; with ``most`` only so many of their chunks, and the documents with the last of them.

    How many chunks went, and whether all is done.
    """
    params = {"tenant": tenant, "documents": int8s(documents), "most": most}
    found = await _chunks(connection, params)
    for pids in _slices(found):
        await trip(connection, [(sql, params | {"pids": int8s(pids)}) for sql in (_ERASE_POSTINGS, _ERASE_CHUNKS)])
    if most is not None and len(found) == most:
        return len(found), False
    await connection.execute(_ERASE_DOCUMENTS, params)
    return len(found), True


async def _one(connection: Connection, sql: str, params: dict[str, object]) -> TupleRow:
    (row,) = await (await connection.execute(sql, params)).fetchall()
    return row


async def _chunks(connection: Connection, params: dict[str, object]) -> list[int]:
    return [pid for (pid,) in await (await connection.execute(_CHUNKS_OF, params)).fetchall()]


def _slices(numbers: Sequence[int], size: int = _SLICE) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
