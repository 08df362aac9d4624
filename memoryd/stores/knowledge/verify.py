"""Is everything that a draft wrote there, in every index, as it was written?"""

from memoryd.errors import StoreUnavailable
from memoryd.stores.trips import Connection

_TOUCHED = """
WITH touched AS MATERIALIZED (
    SELECT document_pid, from_seq, to_seq, chunks, tokens FROM kb_documents
    WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND (from_seq = %(seq)s OR to_seq = %(seq)s))
"""
_CHUNKS = f"""
{_TOUCHED}
SELECT count(*) FILTER (WHERE (n.chunks, n.first, n.last) IS DISTINCT FROM (d.chunks::bigint, 0, d.chunks - 1)),
    count(*) FILTER (WHERE n.tokens <> d.tokens), coalesce(sum(n.altered), 0), coalesce(sum(n.elsewhen), 0),
    coalesce(sum(n.lost), 0)
FROM touched d CROSS JOIN LATERAL (
    SELECT count(*) AS chunks, coalesce(min(c.ordinal), 0) AS first, coalesce(max(c.ordinal), -1) AS last,
        coalesce(sum(c.tokens), 0) AS tokens,
        count(*) FILTER (WHERE c.hash <> sha256(convert_to(c.prefix || c.text, 'UTF8'))) AS altered,
        count(*) FILTER (WHERE c.from_seq <> d.from_seq OR c.to_seq IS DISTINCT FROM d.to_seq) AS elsewhen,
        count(*) FILTER (WHERE s.ordinal IS NULL) AS lost
    FROM kb_chunks c
    LEFT JOIN kb_sections s ON s.tenant_id = %(tenant)s AND s.document_pid = c.document_pid AND s.ordinal = c.section
    WHERE c.tenant_id = %(tenant)s AND c.document_pid = d.document_pid) n
"""
_STRAY = """
SELECT (SELECT count(*) FROM kb_chunks WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND from_seq = %(seq)s)
     - (SELECT coalesce(sum(chunks), 0) FROM kb_documents WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND from_seq = %(seq)s)
"""
_VECTORS = f"""
{_TOUCHED}
SELECT count(*) FILTER (WHERE v.pid IS NULL),
    count(*) FILTER (WHERE vector_dims(v.embedding) <> (SELECT dimension FROM generations WHERE generation = %(generation)s)),
    count(*) FILTER (WHERE v.from_seq <> c.from_seq OR v.to_seq IS DISTINCT FROM c.to_seq)
FROM touched d
JOIN kb_chunks c ON c.tenant_id = %(tenant)s AND c.document_pid = d.document_pid
LEFT JOIN LATERAL (
    SELECT pid, embedding, from_seq, to_seq FROM kb_vectors
    WHERE tenant_id = %(tenant)s AND pid = c.pid AND generation = %(generation)s AND kb_id = %(kb)s OFFSET 0) v ON true
"""
# A look-up a term, for all its chunks at once: a fifth of what one a posting costs.
_POSTINGS = f"""
{_TOUCHED}
SELECT coalesce(sum(k.chunks - o.found), 0), count(*) FILTER (WHERE o.lengths <> k.lengths), coalesce(sum(o.elsewhen), 0)
FROM (SELECT t.term, c.from_seq, c.to_seq, array_agg(c.pid) AS pids, count(*) AS chunks, sum(c.length) AS lengths
      FROM touched d
      JOIN kb_chunks c ON c.tenant_id = %(tenant)s AND c.document_pid = d.document_pid
      CROSS JOIN LATERAL unnest(c.terms) AS t(term) GROUP BY t.term, c.from_seq, c.to_seq OFFSET 0) k
CROSS JOIN LATERAL (
    SELECT count(*) AS found, coalesce(sum(p.length), 0) AS lengths,
        count(*) FILTER (WHERE p.from_seq <> k.from_seq OR p.to_seq IS DISTINCT FROM k.to_seq) AS elsewhen
    FROM kb_postings p
    WHERE p.tenant_id = %(tenant)s AND p.term = k.term AND p.pid = ANY(k.pids) AND p.tf > 0) o
"""
# Each statement with what each of its numbers is the count of; all of them are to be 0.
_CHECKS = (
    (
        _CHUNKS,
        (
            "documents without all their chunks",
            "documents whose tokens do not add up",
            "chunks that are not what was hashed",
            "chunks in other versions than their document",
            "chunks without a section",
        ),
    ),
    (_STRAY, ("chunks of no document",)),
    (_VECTORS, ("chunks without a vector", "vectors of another dimension", "vectors in other versions than their chunk")),
    (_POSTINGS, ("postings missing", "terms whose postings have other lengths", "postings in other versions than their chunk")),
)


async def verify(connection: Connection, params: dict[str, object]) -> None:
    """Look at every row of documents that the draft opened or closed. Raises ``StoreUnavailable`` with what is wrong."""
    for sql, names in _CHECKS:
        (row,) = await (await connection.execute(sql, params)).fetchall()
        wrong = [f"{count} {name}" for count, name in zip(row, names, strict=True) if count]
        if wrong:
            raise StoreUnavailable(f"the draft is damaged and was not published: {', '.join(wrong)}")
