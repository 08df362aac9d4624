"""Passages, postings and vectors as parameters of a few statements. Pure: run it in a thread for large writes.

PostgreSQL refuses ``COPY`` into tables with row-level security, so these are ``INSERT``s from arrays, encoded by numpy.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from memoryd.memory.model import Passage
from memoryd.stores.arrays import bools, int2s, int4s, int8s, uuids
from memoryd.stores.trips import Statement
from memoryd.stores.vectors import HalfVectorArrayParam

# Arrays cannot be nested in `unnest`: the terms of all passages come as one, and each takes its slice.
_INSERT_PASSAGES = """
INSERT INTO passages (tenant_id, pid, memory_id, revision, space_id, ordinal, span_start, span_end, length, live, terms, facets)
SELECT %(tenant)s, q.pid, q.memory_id, q.revision, q.space_id, q.ordinal, q.span_start, q.span_end, q.length, q.live,
    (%(terms)s::bigint[])[q.terms_from + 1 : q.terms_to], (%(facets)s::bigint[])[q.facets_from + 1 : q.facets_to]
FROM unnest(%(pids)s::bigint[], %(memories)s::uuid[], %(revisions)s::int[], %(spaces)s::uuid[], %(ordinals)s::int[],
        %(starts)s::int[], %(ends)s::int[], %(lengths)s::int[], %(live)s::bool[], %(terms_from)s::int[], %(terms_to)s::int[],
        %(facets_from)s::int[], %(facets_to)s::int[])
    AS q(pid, memory_id, revision, space_id, ordinal, span_start, span_end, length, live, terms_from, terms_to, facets_from,
        facets_to)
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
# A block is about 3 MiB of parameters.
_BLOCK_POSTINGS = 65_536
_BLOCK_PASSAGES = 1_000


@dataclass(frozen=True, slots=True)
class Addressed:
    """Passages of one revision."""

    memory_id: UUID
    revision: int
    space_id: UUID
    passages: Sequence[Passage]
    live: bool


@dataclass(frozen=True, slots=True)
class _Row:
    pid: int
    ordinal: int
    owner: Addressed
    passage: Passage


def count(revisions: Sequence[Addressed]) -> int:
    """How many postings these have."""
    return sum(len(passage.terms) + len(passage.facets) for revision in revisions for passage in revision.passages)


def blocks(
    revisions: Sequence[Addressed], pids: Sequence[int], tenant: UUID, generations: Collection[int]
) -> Iterator[tuple[Statement, ...]]:
    """Statements for all passages, some thousands of postings at a time; each block is encoded when it is asked for.

    Of the vectors that the passages carry, those of ``generations``.
    """
    free = iter(pids)
    rows: list[_Row] = []
    postings = 0
    for revision in revisions:
        for ordinal, passage in enumerate(revision.passages):
            rows.append(_Row(next(free), ordinal, revision, passage))
            postings += len(passage.terms) + len(passage.facets)
            if postings >= _BLOCK_POSTINGS or len(rows) == _BLOCK_PASSAGES:
                yield _block(rows, tenant, generations)
                rows, postings = [], 0
    if rows:
        yield _block(rows, tenant, generations)


def _block(rows: Sequence[_Row], tenant: UUID, generations: Collection[int]) -> tuple[Statement, ...]:
    statements: list[Statement] = [(_INSERT_PASSAGES, _passages(rows) | {"tenant": tenant})]
    if any(len(row.passage.terms) or len(row.passage.facets) for row in rows):
        statements.append((_INSERT_POSTINGS, _postings(rows) | {"tenant": tenant}))
    for generation in sorted(generations):
        carried = [row for row in rows if generation in row.passage.vectors]
        if carried:
            params = _vectors(carried, generation) | {"tenant": tenant, "generation": generation}
            statements.append((_INSERT_EMBEDDINGS, params))
    return tuple(statements)


def _passages(rows: Sequence[_Row]) -> dict[str, object]:
    terms, facets = [row.passage.terms for row in rows], [row.passage.facets for row in rows]
    terms_to, facets_to = list(accumulate(map(len, terms))), list(accumulate(map(len, facets)))
    return {
        "pids": int8s([row.pid for row in rows]),
        "memories": uuids([row.owner.memory_id for row in rows]),
        "revisions": int4s([row.owner.revision for row in rows]),
        "spaces": uuids([row.owner.space_id for row in rows]),
        "ordinals": int4s([row.ordinal for row in rows]),
        "starts": int4s([row.passage.span[0] for row in rows]),
        "ends": int4s([row.passage.span[1] for row in rows]),
        "lengths": int4s([row.passage.length for row in rows]),
        "live": bools([row.owner.live for row in rows]),
        "terms": int8s(np.concatenate(terms)),
        "terms_from": int4s([0, *terms_to[:-1]]),
        "terms_to": int4s(terms_to),
        "facets": int8s(np.concatenate(facets)),
        "facets_from": int4s([0, *facets_to[:-1]]),
        "facets_to": int4s(facets_to),
    }


def _postings(rows: Sequence[_Row]) -> dict[str, object]:
    """In the order of the index, so that neighbours go to one page of it."""
    sizes = [len(row.passage.terms) + len(row.passage.facets) for row in rows]
    terms = np.concatenate([array for row in rows for array in (row.passage.terms, row.passage.facets)])
    tfs = np.concatenate([array for row in rows for array in (row.passage.tfs, _no_tf(row.passage))])
    owners = np.repeat(np.arange(len(rows)), sizes)
    pids = np.array([row.pid for row in rows], dtype=np.int64)[owners]
    order = np.lexsort((pids, terms))
    return {
        "terms": int8s(terms[order]),
        "pids": int8s(pids[order]),
        "tfs": int2s(tfs[order]),
        "lengths": int4s(np.array([row.passage.length for row in rows])[owners][order]),
        "live": bools(np.array([row.owner.live for row in rows])[owners][order]),
    }


def _no_tf(passage: Passage) -> NDArray[np.int16]:
    return np.zeros(len(passage.facets), dtype=np.int16)


def _vectors(rows: Sequence[_Row], generation: int) -> dict[str, object]:
    return {
        "pids": int8s([row.pid for row in rows]),
        "spaces": uuids([row.owner.space_id for row in rows]),
        "live": bools([row.owner.live for row in rows]),
        "vectors": HalfVectorArrayParam(np.stack([row.passage.vectors[generation] for row in rows])),
    }
