"""What a verification looks at: counts and digests of items and vectors, samples, and exact neighbours."""

from collections.abc import Sequence
from uuid import UUID

import numpy as np

from memoryd.generations.model import Generation, ItemKind
from memoryd.generations.ports import Counted, Sampled
from memoryd.stores.arrays import int8s
from memoryd.stores.database import Database
from memoryd.stores.vectors import HalfVectorParam
from retrieval.situate import situated
from retrieval.vectors import Vectors

# Digests say whether two sets are the same rows in the same condition, whatever their order.
_LIVE = "sum(hashint8extended(pid, live::int)::numeric)"
_SPAN = "sum(hashint8extended(pid, from_seq * 1000003 + coalesce(to_seq, 0))::numeric)"
_COUNTED = f"""
SELECT p.n + c.n, e.n + v.n, p.digest || ':' || c.digest, e.digest || ':' || v.digest
FROM (SELECT count(*) AS n, coalesce({_LIVE}, 0)::text AS digest FROM passages
      WHERE tenant_id = %(tenant)s AND %(passages)s) p,
     (SELECT count(*) AS n, coalesce({_LIVE}, 0)::text AS digest FROM embeddings
      WHERE tenant_id = %(tenant)s AND generation = %(generation)s AND %(passages)s
          AND vector_dims(embedding) = %(dimension)s) e,
     (SELECT count(*) AS n, coalesce({_SPAN}, 0)::text AS digest FROM kb_chunks
      WHERE tenant_id = %(tenant)s AND (%(kb)s::uuid IS NULL OR kb_id = %(kb)s)) c,
     (SELECT count(*) AS n, coalesce({_SPAN}, 0)::text AS digest FROM kb_vectors
      WHERE tenant_id = %(tenant)s AND generation = %(generation)s AND vector_dims(embedding) = %(dimension)s) v
"""
_LACKING = {
    ItemKind.PASSAGES: """
        SELECT pid, 'memory ' || memory_id FROM passages i WHERE tenant_id = %(tenant)s AND NOT EXISTS (
            SELECT FROM embeddings e WHERE e.tenant_id = %(tenant)s AND e.generation = %(generation)s AND e.pid = i.pid)
        ORDER BY pid LIMIT %(limit)s
    """,
    ItemKind.CHUNKS: """
        SELECT i.pid, 'document ' || d.document_id
        FROM kb_chunks i JOIN kb_documents d ON d.tenant_id = %(tenant)s AND d.document_pid = i.document_pid
        WHERE i.tenant_id = %(tenant)s AND (%(kb)s::uuid IS NULL OR i.kb_id = %(kb)s) AND NOT EXISTS (
            SELECT FROM kb_vectors v WHERE v.tenant_id = %(tenant)s AND v.generation = %(generation)s AND v.pid = i.pid)
        ORDER BY i.pid LIMIT %(limit)s
    """,
}
_TABLE = {ItemKind.PASSAGES: "embeddings", ItemKind.CHUNKS: "kb_vectors"}
# What reads find: no closed version, and no draft.
_LIVE_VERSION = """
EXISTS (SELECT FROM knowledge_bases k WHERE k.tenant_id = %(tenant)s AND k.kb_id = {row}.kb_id AND k.live_seq >= {row}.from_seq
    AND ({row}.to_seq IS NULL OR k.live_seq < {row}.to_seq)) AND (%(kb)s::uuid IS NULL OR {row}.kb_id = %(kb)s)
"""
_SHOWN = {ItemKind.PASSAGES: "e.live", ItemKind.CHUNKS: _LIVE_VERSION.format(row="e")}
_ENDS = "SELECT min(pid), max(pid) FROM {table} WHERE tenant_id = %(tenant)s AND generation = %(generation)s"
# The first item from each of some places on: a look-up each, however many items there are.
_FROM = """
FROM unnest(%(places)s::bigint[]) AS s(place)
CROSS JOIN LATERAL (SELECT pid, embedding FROM {table} e WHERE tenant_id = %(tenant)s AND generation = %(generation)s
                    AND pid >= s.place AND {shown} ORDER BY pid LIMIT 1) v
"""
_SAMPLE = {
    ItemKind.PASSAGES: f"""
        SELECT DISTINCT ON (v.pid) v.pid, halfvec_send(v.embedding),
            substr(r.text, p.span_start + 1, p.span_end - p.span_start), r.speaker, r.event_time
        {_FROM}
        JOIN passages p ON p.tenant_id = %(tenant)s AND p.pid = v.pid
        JOIN memory_revisions r ON r.tenant_id = %(tenant)s AND r.memory_id = p.memory_id AND r.revision = p.revision
    """,
    ItemKind.CHUNKS: f"""
        SELECT DISTINCT ON (v.pid) v.pid, halfvec_send(v.embedding), c.prefix || c.text
        {_FROM} JOIN kb_chunks c ON c.tenant_id = %(tenant)s AND c.pid = v.pid
    """,
}
_NEAREST = """
SELECT pid FROM {table} e WHERE tenant_id = %(tenant)s AND generation = %(generation)s AND {shown}
ORDER BY embedding <#> %(vector)s, pid LIMIT %(limit)s
"""
_NAMED = {
    ItemKind.PASSAGES: """
        SELECT m.memory_id::text, q.name FROM unnest(%(names)s::text[]) AS q(name)
        JOIN memories m ON m.tenant_id = %(tenant)s AND (m.external_id = q.name OR m.memory_id::text = q.name)
        WHERE EXISTS (SELECT FROM passages p WHERE p.tenant_id = %(tenant)s AND p.memory_id = m.memory_id AND p.live)
    """,
    ItemKind.CHUNKS: f"""
        SELECT d.document_pid::text, q.name FROM unnest(%(names)s::text[]) AS q(name)
        JOIN kb_documents d ON d.tenant_id = %(tenant)s AND d.document_id = q.name AND d.complete
        WHERE {_LIVE_VERSION.format(row="d")}
    """,
}
_OF = "WHERE tenant_id = %(tenant)s AND pid = ANY(%(pids)s::bigint[])"
_OWNERS = {
    ItemKind.PASSAGES: f"SELECT pid, memory_id::text FROM passages {_OF}",
    ItemKind.CHUNKS: f"SELECT pid, document_pid::text FROM kb_chunks {_OF}",
}


class PgGenerationEvidence:
    """:class:`memoryd.generations.ports.Evidence` on PostgreSQL."""

    def __init__(self, database: Database, *, seed: int = 0) -> None:
        self._database = database
        self._rng = np.random.default_rng(seed)

    async def counted(self, generation: Generation, tenant_id: UUID) -> Counted:
        """A tenant's items, and what the generation has of them, in one snapshot."""
        passages = ItemKind.PASSAGES in generation.kinds
        params = _params(generation, tenant_id) | {"passages": passages, "dimension": generation.dimension}
        async with self._database.tenant(tenant_id) as connection:
            await connection.be_patient()
            (row,) = await (await connection.execute(_COUNTED, params)).fetchall()
        return Counted(tenant_id, *row)

    async def lacking(self, generation: Generation, tenant_id: UUID, limit: int) -> list[str]:
        """Some items without a vector, in words."""
        found: list[str] = []
        async with self._database.tenant(tenant_id) as connection:
            await connection.be_patient()
            for kind in generation.kinds:
                params = _params(generation, tenant_id) | {"limit": limit - len(found)}
                rows = await (await connection.execute(_LACKING[kind], params)).fetchall()
                found += [f"{kind.removesuffix('s')} {pid} of {of} of tenant {tenant_id}" for pid, of in rows]
        return found

    async def sample(self, generation: Generation, tenant_id: UUID, limit: int) -> list[Sampled]:
        """Some items that reads can find, with their vectors; of each kind up to ``limit``."""
        found: list[Sampled] = []
        async with self._database.tenant(tenant_id) as connection:
            await connection.be_patient()
            for kind in generation.kinds:
                params = _params(generation, tenant_id)
                table, shown = _TABLE[kind], _SHOWN[kind]
                ends = await (await connection.execute(_ENDS.format(table=table).encode(), params)).fetchone()
                if ends is None or ends[0] is None:
                    continue
                places = [int(place) for place in self._rng.integers(ends[0], ends[1], size=limit, endpoint=True)]
                sql = _SAMPLE[kind].format(table=table, shown=shown)
                for pid, vector, text, *said in await (
                    await connection.execute(sql.encode(), params | {"places": places})
                ).fetchall():
                    embedded = situated(text, *said) if kind is ItemKind.PASSAGES else text
                    found.append(Sampled(tenant_id, kind, pid, embedded, _vector(vector)))
        return found

    async def nearest(
        self, generation: Generation, tenant_id: UUID, kind: ItemKind, vector: Vectors, limit: int, *, kb_id: UUID | None
    ) -> list[int]:
        """What an exact search finds, best first; with ``kb_id`` among the chunks of this knowledge base."""
        sql = _NEAREST.format(table=_TABLE[kind], shown=_SHOWN[kind])
        params = _params(generation, tenant_id) | {"vector": HalfVectorParam(vector), "limit": limit, "kb": kb_id}
        async with self._database.tenant(tenant_id) as connection:
            await connection.be_patient()
            return [pid for (pid,) in await (await connection.execute(sql.encode(), params)).fetchall()]

    async def named(self, generation: Generation, tenant_id: UUID, kind: ItemKind, names: Sequence[str]) -> dict[str, str]:
        """Memories (named by id or external id) or documents (by id) that reads can find: what :meth:`owners` calls them."""
        async with self._database.tenant(tenant_id) as connection:
            params = _params(generation, tenant_id) | {"names": list(names)}
            return dict(await (await connection.execute(_NAMED[kind].encode(), params)).fetchall())

    async def owners(self, tenant_id: UUID, kind: ItemKind, pids: Sequence[int]) -> dict[int, str]:
        """The memory or the document of each passage or chunk."""
        async with self._database.tenant(tenant_id) as connection:
            params = {"tenant": tenant_id, "pids": int8s(list(pids))}
            return dict(await (await connection.execute(_OWNERS[kind], params)).fetchall())


def _params(generation: Generation, tenant_id: UUID) -> dict[str, object]:
    return {"tenant": tenant_id, "generation": generation.number, "kb": generation.kb_id}


def _vector(sent: bytes) -> Vectors:
    """pgvector's halfvec on the wire: dimension, two unused bytes, big-endian half floats."""
    vector: Vectors = np.frombuffer(sent, dtype=">f2", offset=4).astype(np.float32)
    return vector
