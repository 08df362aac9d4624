"""Writes of the retrieval tables inside a unit of work: passages, postings, vectors, BM25 statistics.

Statistics are added up over the unit and written last, in one sorted statement: two writers of one space then wait for each
other only while the first commits, and never in a circle.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from psycopg.types.json import Jsonb

from memoryd.memory.model import Passage
from memoryd.stores.database import Connection
from memoryd.stores.vectors import HalfVectorArrayParam
from retrieval.filters import JsonValue

_PIDS = "SELECT nextval('passages_pid_seq') FROM generate_series(1, %s)"
# One statement for all rows: `jsonb_to_recordset` takes arrays of any length, which `unnest` of a matrix does not.
_INSERT_PASSAGES = """
INSERT INTO passages (tenant_id, pid, memory_id, revision, space_id, ordinal, span_start, span_end, length, terms, facets, live)
SELECT %(tenant)s, q.* FROM jsonb_to_recordset(%(rows)s) AS q(pid bigint, memory_id uuid, revision int, space_id uuid,
    ordinal int, span_start int, span_end int, length int, terms bigint[], facets bigint[], live bool)
"""
_INSERT_POSTINGS = """
INSERT INTO postings (tenant_id, term, pid, tf, length, live)
SELECT %(tenant)s, q.* FROM unnest(%(terms)s::bigint[], %(pids)s::bigint[], %(tfs)s::smallint[], %(lengths)s::int[],
                                   %(live)s::bool[]) AS q
"""
_INSERT_EMBEDDINGS = """
INSERT INTO embeddings (tenant_id, generation, pid, space_id, live, embedding)
SELECT %(tenant)s, %(generation)s, q.*
FROM unnest(%(pids)s::bigint[], %(spaces)s::uuid[], %(live)s::bool[], %(vectors)s::halfvec[]) AS q
"""
_COPY_EMBEDDINGS = """
INSERT INTO embeddings (tenant_id, generation, pid, space_id, live, embedding)
SELECT e.tenant_id, e.generation, new.pid, e.space_id, %(live)s, e.embedding
FROM passages old
JOIN passages new ON new.tenant_id = old.tenant_id AND new.memory_id = old.memory_id AND new.ordinal = old.ordinal
JOIN embeddings e ON e.tenant_id = old.tenant_id AND e.pid = old.pid
WHERE old.tenant_id = %(tenant)s AND old.memory_id = %(memory)s AND old.revision = %(old)s AND new.revision = %(new)s
"""
_RETIRE_PASSAGES = """
UPDATE passages SET live = false
WHERE tenant_id = %(tenant)s AND memory_id = %(memory)s AND live RETURNING pid, space_id, length, terms
"""
_RETIRE_POSTINGS = """
UPDATE postings SET live = false WHERE tenant_id = %(tenant)s AND term = ANY(%(terms)s) AND pid = ANY(%(pids)s)
"""
_RETIRE_EMBEDDINGS = "UPDATE embeddings SET live = false, graph = NULL WHERE tenant_id = %(tenant)s AND pid = ANY(%(pids)s)"
_ALL_TERMS = """
SELECT array_agg(DISTINCT t) FROM passages, unnest(terms || facets) AS t
WHERE tenant_id = %(tenant)s AND memory_id = %(memory)s
"""
_PURGE_POSTINGS = """
DELETE FROM postings WHERE tenant_id = %(tenant)s AND term = ANY(%(terms)s)
    AND pid IN (SELECT pid FROM passages WHERE tenant_id = %(tenant)s AND memory_id = %(memory)s)
"""
_ADD_TERMS = """
INSERT INTO term_statistics AS s (tenant_id, term, space_id, documents)
SELECT %(tenant)s, q.* FROM unnest(%(terms)s::bigint[], %(spaces)s::uuid[], %(documents)s::bigint[]) AS q
ON CONFLICT (tenant_id, term) DO UPDATE SET documents = s.documents + excluded.documents
"""
_ADD_SPACES = """
INSERT INTO space_statistics AS s (tenant_id, space_id, documents, total_length)
SELECT %(tenant)s, q.* FROM unnest(%(spaces)s::uuid[], %(documents)s::bigint[], %(lengths)s::bigint[]) AS q
ON CONFLICT (tenant_id, space_id) DO UPDATE
SET documents = s.documents + excluded.documents, total_length = s.total_length + excluded.total_length,
    version = s.version + 1
"""
_MAX_TF = 32767  # smallint; a term said more often has reached BM25's saturation long before


@dataclass(frozen=True, slots=True)
class Addressed:
    """Passages of one revision."""

    memory_id: UUID
    revision: int
    space_id: UUID
    passages: Sequence[Passage]
    live: bool


_Row = tuple[int, int, Addressed, Passage]
"""pid, ordinal, and whose."""


class PassageRows:
    """The retrieval rows of one transaction of one tenant."""

    def __init__(self, connection: Connection, tenant_id: UUID, generation: int) -> None:
        self._connection = connection
        self._tenant = tenant_id
        self._generation = generation
        self._terms: Counter[tuple[int, UUID]] = Counter()
        self._documents: Counter[UUID] = Counter()
        self._lengths: Counter[UUID] = Counter()

    async def insert(self, revisions: Sequence[Addressed]) -> None:
        """Insert passages, postings and the vectors they carry."""
        count = sum(len(revision.passages) for revision in revisions)
        if not count:
            return
        pids = iter([row[0] for row in await (await self._connection.execute(_PIDS, (count,))).fetchall()])
        rows = [
            (next(pids), ordinal, revision, passage)
            for revision in revisions
            for ordinal, passage in enumerate(revision.passages)
        ]
        passages = Jsonb([_passage(*row) for row in rows])
        async with self._connection.pipeline():
            await self._connection.execute(_INSERT_PASSAGES, {"tenant": self._tenant, "rows": passages})
            await self._postings(rows)
            await self._vectors(rows)
        for _, _, owner, passage in rows:
            if owner.live:
                self._count(owner.space_id, passage.frequencies, passage.length, 1)

    async def copy_vectors(self, memory_id: UUID, *, old: int, new: int, live: bool) -> None:
        """Give the passages of revision ``new`` the vectors of ``old``, ordinal by ordinal, in every generation."""
        params = {"tenant": self._tenant, "memory": memory_id, "old": old, "new": new, "live": live}
        await self._connection.execute(_COPY_EMBEDDINGS, params)

    async def retire(self, memory_id: UUID) -> None:
        """Take the live passages of a memory out of what recall sees."""
        params = {"tenant": self._tenant, "memory": memory_id}
        retired = await (await self._connection.execute(_RETIRE_PASSAGES, params)).fetchall()
        if not retired:
            return
        pids = [pid for pid, *_ in retired]
        terms = sorted({term for *_, found in retired for term in found})
        await self._connection.execute(_RETIRE_POSTINGS, params | {"terms": terms, "pids": pids})
        await self._connection.execute(_RETIRE_EMBEDDINGS, params | {"pids": pids})
        for _, space_id, length, found in retired:
            self._count(space_id, found, length, -1)

    async def purge(self, memory_id: UUID) -> None:
        """Retire, then erase the postings of every revision; passages and vectors go with the memory's row."""
        await self.retire(memory_id)
        params = {"tenant": self._tenant, "memory": memory_id}
        row = await (await self._connection.execute(_ALL_TERMS, params)).fetchone()
        if row and row[0]:
            await self._connection.execute(_PURGE_POSTINGS, params | {"terms": row[0]})

    async def write_statistics(self) -> None:
        """Add what this unit changed to the statistics: the last statement before the commit."""
        terms = sorted((term, space) for (term, space), change in self._terms.items() if change)
        spaces = sorted(self._documents)
        async with self._connection.pipeline():
            if spaces:
                params: dict[str, object] = {
                    "tenant": self._tenant,
                    "spaces": spaces,
                    "documents": [self._documents[space] for space in spaces],
                    "lengths": [self._lengths[space] for space in spaces],
                }
                await self._connection.execute(_ADD_SPACES, params)
            if terms:
                params = {
                    "tenant": self._tenant,
                    "terms": [term for term, _ in terms],
                    "spaces": [space for _, space in terms],
                    "documents": [self._terms[key] for key in terms],
                }
                await self._connection.execute(_ADD_TERMS, params)

    def _count(self, space: UUID, terms: Iterable[int], length: int, sign: int) -> None:
        for term in terms:
            self._terms[(term, space)] += sign
        self._documents[space] += sign
        self._lengths[space] += sign * length

    async def _vectors(self, rows: Sequence[_Row]) -> None:
        carried = [(pid, owner, passage.vector) for pid, _, owner, passage in rows if passage.vector is not None]
        if carried:
            params = {
                "tenant": self._tenant,
                "generation": self._generation,
                "pids": [pid for pid, _, _ in carried],
                "spaces": [owner.space_id for _, owner, _ in carried],
                "live": [owner.live for _, owner, _ in carried],
                "vectors": HalfVectorArrayParam(np.stack([vector for _, _, vector in carried])),
            }
            await self._connection.execute(_INSERT_EMBEDDINGS, params)

    async def _postings(self, rows: Sequence[_Row]) -> None:
        entries = [
            (term, pid, min(tf, _MAX_TF), passage.length, owner.live)
            for pid, _, owner, passage in rows
            for term, tf in (*passage.frequencies.items(), *((facet, 0) for facet in passage.facets))
        ]
        if not entries:
            return
        terms, pids, tfs, lengths, live = zip(*entries, strict=True)
        params = {
            "tenant": self._tenant,
            "terms": list(terms),
            "pids": list(pids),
            "tfs": list(tfs),
            "lengths": list(lengths),
            "live": list(live),
        }
        await self._connection.execute(_INSERT_POSTINGS, params)


def _passage(pid: int, ordinal: int, owner: Addressed, passage: Passage) -> dict[str, JsonValue]:
    """A row of ``passages``, but for its tenant."""
    return {
        "pid": pid,
        "memory_id": str(owner.memory_id),
        "revision": owner.revision,
        "space_id": str(owner.space_id),
        "ordinal": ordinal,
        "span_start": passage.span[0],
        "span_end": passage.span[1],
        "length": passage.length,
        "terms": sorted(passage.frequencies),
        "facets": list(passage.facets),
        "live": owner.live,
    }
