"""The items of a generation's scope and their vectors: what a backfill reads and inserts."""

from collections.abc import Sequence
from uuid import UUID

from memoryd.generations.model import Generation, ItemKind, Mark
from memoryd.generations.ports import Unembedded
from memoryd.stores.arrays import int8s
from memoryd.stores.database import Database
from memoryd.stores.vectors import HalfVectorArrayParam
from retrieval.situate import situated
from retrieval.vectors import Vectors

_TENANTS = """
SELECT tenant_id FROM tenants
WHERE (%(after)s::uuid IS NULL OR tenant_id > %(after)s) AND (%(only)s::uuid IS NULL OR tenant_id = %(only)s)
    AND deleted_at IS NULL
ORDER BY tenant_id LIMIT %(limit)s
"""
_COUNT = {
    ItemKind.PASSAGES: "SELECT count(*) FROM passages WHERE tenant_id = %(tenant)s",
    ItemKind.CHUNKS: """
        SELECT count(*) FROM kb_chunks WHERE tenant_id = %(tenant)s AND (%(kb)s::uuid IS NULL OR kb_id = %(kb)s)
    """,
}
# By key from beginning to end; what has a vector already costs a look-up and sends no text.
_PAGE = {
    ItemKind.PASSAGES: """
        WITH next AS MATERIALIZED (
            SELECT pid, memory_id, revision, span_start, span_end FROM passages
            WHERE tenant_id = %(tenant)s AND pid > %(after)s ORDER BY pid LIMIT %(limit)s)
        SELECT n.pid, e.pid IS NULL, CASE WHEN e.pid IS NULL THEN substr(r.text, n.span_start + 1, n.span_end - n.span_start) END,
            r.speaker, r.event_time
        FROM next n
        JOIN memory_revisions r ON r.tenant_id = %(tenant)s AND r.memory_id = n.memory_id AND r.revision = n.revision
        LEFT JOIN LATERAL (SELECT pid FROM embeddings
                           WHERE tenant_id = %(tenant)s AND generation = %(generation)s AND pid = n.pid OFFSET 0) e ON true
        ORDER BY n.pid
    """,
    ItemKind.CHUNKS: """
        WITH next AS MATERIALIZED (
            SELECT pid, prefix, text FROM kb_chunks
            WHERE tenant_id = %(tenant)s AND pid > %(after)s AND (%(kb)s::uuid IS NULL OR kb_id = %(kb)s)
            ORDER BY pid LIMIT %(limit)s)
        SELECT n.pid, v.pid IS NULL, CASE WHEN v.pid IS NULL THEN n.prefix || n.text END
        FROM next n
        LEFT JOIN LATERAL (SELECT pid FROM kb_vectors
                           WHERE tenant_id = %(tenant)s AND generation = %(generation)s AND pid = n.pid OFFSET 0) v ON true
        ORDER BY n.pid
    """,
}
# The items are held while their vectors go in, so that none is deleted, retired or closed in between; one that a writer holds is
# left to the next pass.
_STORE = {
    ItemKind.PASSAGES: """
        WITH held AS MATERIALIZED (
            SELECT pid, space_id, live FROM passages
            WHERE tenant_id = %(tenant)s AND pid = ANY(%(pids)s::bigint[]) ORDER BY pid FOR SHARE SKIP LOCKED)
        INSERT INTO embeddings (tenant_id, generation, pid, space_id, live, embedding)
        SELECT %(tenant)s, %(generation)s, h.pid, h.space_id, h.live, q.embedding
        FROM unnest(%(pids)s::bigint[], %(vectors)s::halfvec[]) AS q(pid, embedding) JOIN held h ON h.pid = q.pid
        ON CONFLICT DO NOTHING
    """,
    ItemKind.CHUNKS: """
        WITH held AS MATERIALIZED (
            SELECT pid, kb_id, from_seq, to_seq FROM kb_chunks
            WHERE tenant_id = %(tenant)s AND pid = ANY(%(pids)s::bigint[]) ORDER BY pid FOR SHARE SKIP LOCKED)
        INSERT INTO kb_vectors (tenant_id, generation, pid, kb_id, from_seq, to_seq, embedding)
        SELECT %(tenant)s, %(generation)s, h.pid, h.kb_id, h.from_seq, h.to_seq, q.embedding
        FROM unnest(%(pids)s::bigint[], %(vectors)s::halfvec[]) AS q(pid, embedding) JOIN held h ON h.pid = q.pid
        ON CONFLICT DO NOTHING
    """,
}
_GAP = "SELECT misses FROM generation_gaps WHERE tenant_id = %(tenant)s AND generation = %(generation)s"
_CLOSE = "DELETE FROM generation_gaps WHERE tenant_id = %(tenant)s AND generation = %(generation)s AND misses = %(gap)s"


class PgGenerationItems:
    """:class:`memoryd.generations.ports.Items` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tenants(self, generation: Generation, after: UUID | None, limit: int) -> list[UUID]:
        """Those that it is over, in order, from behind ``after``."""
        params = {"after": after, "only": generation.tenant_id, "limit": limit}
        async with self._database.operator() as connection:
            return [tenant for (tenant,) in await (await connection.execute(_TENANTS, params)).fetchall()]

    async def count(self, generation: Generation, tenant_id: UUID) -> int:
        """How many items a tenant has."""
        total = 0
        async with self._database.tenant(tenant_id) as connection:
            await connection.be_patient()
            for kind in generation.kinds:
                row = await (await connection.execute(_COUNT[kind], _params(generation, tenant_id))).fetchone()
                total += int(row[0]) if row else 0
        return total

    async def page(self, generation: Generation, mark: Mark, limit: int) -> tuple[list[int], list[Unembedded]]:
        """The numbers of the next items behind a mark, and those of them without a vector, as they are embedded."""
        params = _params(generation, mark.tenant_id) | {"after": mark.pid, "limit": limit}
        async with self._database.tenant(mark.tenant_id) as connection:
            rows = await (await connection.execute(_PAGE[mark.kind], params)).fetchall()
        missing = [
            Unembedded(pid, situated(text, *said) if mark.kind is ItemKind.PASSAGES else text)
            for pid, absent, text, *said in rows
            if absent
        ]
        return [row[0] for row in rows], missing

    async def store(self, generation: Generation, tenant_id: UUID, kind: ItemKind, pids: Sequence[int], vectors: Vectors) -> int:
        """Insert, and only that; how many went in."""
        given = {"pids": int8s(list(pids)), "vectors": HalfVectorArrayParam(vectors)}
        async with self._database.tenant(tenant_id) as connection:
            return (await connection.execute(_STORE[kind], _params(generation, tenant_id) | given)).rowcount

    async def gap(self, generation: Generation, tenant_id: UUID) -> int:
        """How often writers could not embed for it; 0: never."""
        async with self._database.tenant(tenant_id) as connection:
            row = await (await connection.execute(_GAP, _params(generation, tenant_id))).fetchone()
        return int(row[0]) if row else 0

    async def close_gap(self, generation: Generation, tenant_id: UUID, gap: int) -> bool:
        """Nothing is missing any more of what was noted up to ``gap``; false when there is more meanwhile."""
        async with self._database.tenant(tenant_id) as connection:
            return (await connection.execute(_CLOSE, _params(generation, tenant_id) | {"gap": gap})).rowcount > 0


def _params(generation: Generation, tenant_id: UUID) -> dict[str, object]:
    return {"tenant": tenant_id, "generation": generation.number, "kb": generation.kb_id}
