"""Writes of the retrieval tables inside a unit of work: passages, postings, vectors, BM25 statistics.

Statistics are added up over the unit and written last, in one sorted statement: two writers of one space then wait for each
other only while the first commits, and never in a circle.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from memoryd.stores.arrays import int8s, uuids
from memoryd.stores.passage_blocks import Addressed, blocks, count
from memoryd.stores.trips import Connection, Statement, trip
from memoryd.threads import UNIT

_PIDS = "SELECT nextval('passages_pid_seq') FROM generate_series(1, %s)"
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
UPDATE postings SET live = false WHERE tenant_id = %(tenant)s AND term = ANY(%(terms)s::bigint[]) AND pid = ANY(%(pids)s)
"""
_RETIRE_EMBEDDINGS = "UPDATE embeddings SET live = false, graph = NULL WHERE tenant_id = %(tenant)s AND pid = ANY(%(pids)s)"
_PURGE_POSTINGS = """
DELETE FROM postings
WHERE tenant_id = %(tenant)s
    AND term = ANY(ARRAY(SELECT DISTINCT t FROM passages, unnest(terms || facets) AS t
                         WHERE tenant_id = %(tenant)s AND memory_id = %(memory)s))
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
# Up to so many terms are counted and encoded in a millisecond or two; more go to a thread.
_INLINE_TERMS = 2_000


class PassageRows:
    """The retrieval rows of one transaction of one tenant."""

    def __init__(self, connection: Connection, tenant_id: UUID) -> None:
        self._connection = connection
        self._tenant = tenant_id
        self._terms: dict[UUID, list[tuple[NDArray[np.int64], int]]] = {}
        self._documents: Counter[UUID] = Counter()
        self._lengths: Counter[UUID] = Counter()

    async def insert(self, revisions: Sequence[Addressed], pids: Sequence[int], generations: Collection[int]) -> list[Statement]:
        """Insert passages, postings and the vectors of ``generations`` that they carry, under ``pids``, which :meth:`pids`
        reserves.

        A small insert is not executed but returned, to go to the server together with what else the unit has to say. A large
        one is encoded in a thread and sent block by block, so that neither the event loop nor the memory feels its size.
        """
        for revision in revisions:
            for passage in revision.passages:
                if revision.live:
                    self._count(revision.space_id, passage.terms, passage.length, 1)
        todo = blocks(revisions, pids, self._tenant, generations)
        if count(revisions) <= _INLINE_TERMS:
            return [statement for block in todo for statement in block]
        while block := await UNIT.run(next, todo, None):
            async with self._connection.pipeline():
                for sql, params in block:
                    await self._connection.execute(sql, params)
        return []

    @staticmethod
    def pids(amount: int) -> Statement:
        """Reserves ``amount`` pids; a row each."""
        return _PIDS, (amount,)

    def copy_vectors(self, memory_id: UUID, *, old: int, new: int, live: bool) -> Statement:
        """Gives the passages of revision ``new`` the vectors of ``old``, ordinal by ordinal, in every generation."""
        return _COPY_EMBEDDINGS, {"tenant": self._tenant, "memory": memory_id, "old": old, "new": new, "live": live}

    async def retire(self, memory_id: UUID) -> None:
        """Take the live passages of a memory out of what recall sees."""
        params = {"tenant": self._tenant, "memory": memory_id}
        retired = await (await self._connection.execute(_RETIRE_PASSAGES, params)).fetchall()
        if not retired:
            return
        pids = [pid for pid, *_ in retired]
        found = [np.array(terms, dtype=np.int64) for *_, terms in retired]
        terms = int8s(np.unique(np.concatenate(found)))
        postings = _RETIRE_POSTINGS, params | {"terms": terms, "pids": pids}
        await trip(self._connection, [postings, (_RETIRE_EMBEDDINGS, params | {"pids": pids})])
        for (_, space_id, length, _), array in zip(retired, found, strict=True):
            self._count(space_id, array, length, -1)

    async def purge(self, memory_id: UUID) -> None:
        """Retire, then erase the postings of every revision; passages and vectors go with the memory's row."""
        await self.retire(memory_id)
        await self._connection.execute(_PURGE_POSTINGS, {"tenant": self._tenant, "memory": memory_id})

    async def statistics(self) -> list[Statement]:
        """What this unit changed of the statistics: the last statements before the commit, in an order that all share."""
        if not self._documents:
            return []
        spaces = sorted(self._documents)
        params: dict[str, object] = {
            "tenant": self._tenant,
            "spaces": spaces,
            "documents": [self._documents[space] for space in spaces],
            "lengths": [self._lengths[space] for space in spaces],
        }
        said = sum(len(terms) for changes in self._terms.values() for terms, _ in changes)
        terms = self._changes() if said <= _INLINE_TERMS else await UNIT.run(self._changes)
        return [(_ADD_SPACES, params), *terms]

    def _changes(self) -> list[Statement]:
        """By term, which belongs to one space: the changes that do not cancel out."""
        terms, spaces, documents = [], [], []
        for number, (_, changes) in enumerate(sorted(self._terms.items())):
            distinct, inverse = np.unique(np.concatenate([array for array, _ in changes]), return_inverse=True)
            weights = np.concatenate([np.full(len(array), sign) for array, sign in changes])
            change = np.bincount(inverse, weights=weights, minlength=len(distinct)).astype(np.int64)
            terms.append(distinct[change != 0])
            documents.append(change[change != 0])
            spaces.append(np.full(len(terms[-1]), number))
        if not terms:
            return []
        found, change, owner = np.concatenate(terms), np.concatenate(documents), np.concatenate(spaces)
        order = np.argsort(found, kind="stable")
        named = sorted(self._terms)
        return [
            (
                _ADD_TERMS,
                {
                    "tenant": self._tenant,
                    "terms": int8s(found[part]),
                    "spaces": uuids([named[one] for one in owner[part]]),
                    "documents": int8s(change[part]),
                },
            )
            for part in np.array_split(order, len(order) // 50_000 + 1)
            if len(part)
        ]

    def _count(self, space: UUID, terms: NDArray[np.int64], length: int, sign: int) -> None:
        self._terms.setdefault(space, []).append((terms, sign))
        self._documents[space] += sign
        self._lengths[space] += sign * length
