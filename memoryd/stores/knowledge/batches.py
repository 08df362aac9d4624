"""Sections, chunks, vectors and postings of some documents as parameters of four statements. Pure: run it in a thread."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from uuid import UUID

import numpy as np

from memoryd.knowledge.model import ReadyChunk, ReadySection, Staging
from memoryd.stores.arrays import int2s, int4s, int8s
from memoryd.stores.trips import Statement
from memoryd.stores.vectors import HalfVectorArrayParam

_SECTIONS = """
INSERT INTO kb_sections (tenant_id, document_pid, ordinal, path, text, span_start, span_end, page_first, page_last, tokens)
SELECT %(tenant)s, q.* FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS q(document bigint, ordinal int, path text[], text text, span_start bigint, span_end bigint, page_first int, page_last int,
         tokens int)
ON CONFLICT DO NOTHING
"""
# Arrays cannot be nested in `unnest`: the terms of all chunks come as one, and each takes its slice.
_CHUNKS = """
INSERT INTO kb_chunks (tenant_id, document_pid, kb_id, from_seq, pid, chunk_id, section, ordinal, hash, prefix, text, kind,
    span_start, span_end, page_first, page_last, tokens, length, terms)
SELECT %(tenant)s, document, %(kb)s, %(seq)s, pid, chunk_id, section, ordinal, decode(hash, 'hex'), prefix, text, kind,
    span_start, span_end, page_first, page_last, tokens, length, (%(terms)s::bigint[])[terms_from + 1 : terms_to]
FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS q(document bigint, pid bigint, chunk_id uuid, section int, ordinal int, hash text, prefix text, text text, kind text,
         span_start bigint, span_end bigint, page_first int, page_last int, tokens int, length int, terms_from int, terms_to int)
"""
_VECTORS = """
INSERT INTO kb_vectors (tenant_id, generation, kb_id, from_seq, pid, embedding)
SELECT %(tenant)s, %(generation)s, %(kb)s, %(seq)s, q.*
FROM unnest(%(pids)s::bigint[], %(vectors)s::halfvec[]) AS q
"""
_POSTINGS = """
INSERT INTO kb_postings (tenant_id, from_seq, term, pid, tf, length)
SELECT %(tenant)s, %(seq)s, q.*
FROM unnest(%(terms)s::bigint[], %(pids)s::bigint[], %(tfs)s::smallint[], %(lengths)s::int[]) AS q
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """A part of a document. ``pids``: one a chunk. ``seen``: how often a hash is in the document before this part. Of the chunks'
    vectors, those of ``generations`` are written."""

    staging: Staging
    document_id: str
    generations: Sequence[int]
    sections: Sequence[ReadySection]
    chunks: Sequence[ReadyChunk]
    pids: Sequence[int]
    seen: Mapping[bytes, int]


def chunk_id(kb_id: UUID, document_id: str, content: bytes, occurrence: int) -> UUID:
    """The same for the same content in the same document in every version. UUID version 8 (RFC 9562) of a SHA-256."""
    said = b"\0".join((kb_id.bytes, content, str(occurrence).encode(), document_id.encode()))
    value = int.from_bytes(hashlib.sha256(said).digest()[:16], "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def statements(tenant_id: UUID, batches: Sequence[Batch]) -> list[Statement]:
    """What writes parts of one or more documents of one draft, whose chunks have vectors of the same generations."""
    of = {"tenant": tenant_id, "kb": batches[0].staging.kb_id, "seq": batches[0].staging.seq}
    made: list[Statement] = []
    if sections := [_section(batch, one) for batch in batches for one in batch.sections]:
        made.append((_SECTIONS, of | {"rows": _json(sections)}))
    filled = [one for one in batches if one.chunks]
    if not filled:
        return made
    chunks, pids = [chunk for one in filled for chunk in one.chunks], [pid for one in filled for pid in one.pids]
    made.append((_CHUNKS, of | _chunks(filled, chunks)))
    for number in filled[0].generations:
        vectors = HalfVectorArrayParam(np.stack([chunk.vectors[number] for chunk in chunks]))
        made.append((_VECTORS, of | {"generation": number, "pids": int8s(pids), "vectors": vectors}))
    made.append((_POSTINGS, of | _postings(chunks, pids)))
    return made


def _section(batch: Batch, section: ReadySection) -> dict[str, object]:
    return {
        "document": batch.staging.document_pid,
        "ordinal": section.ordinal,
        "path": list(section.path),
        "text": section.text,
        "span_start": section.start,
        "span_end": section.end,
        "page_first": section.page_first,
        "page_last": section.page_last,
        "tokens": section.tokens,
    }


def _chunks(batches: Sequence[Batch], chunks: Sequence[ReadyChunk]) -> dict[str, object]:
    ends = accumulate(len(chunk.terms) for chunk in chunks)
    rows = [_chunk(batch, *one, next(ends)) for batch in batches for one in _occurring(batch)]
    return {"rows": _json(rows), "terms": int8s(np.concatenate([chunk.terms for chunk in chunks]))}


def _occurring(batch: Batch) -> Iterator[tuple[int, ReadyChunk, int]]:
    """Each chunk with its number, and how often the document has its content before it."""
    seen = Counter(batch.seen)
    for pid, chunk in zip(batch.pids, batch.chunks, strict=True):
        yield pid, chunk, seen[chunk.hash]
        seen[chunk.hash] += 1


def _chunk(batch: Batch, pid: int, chunk: ReadyChunk, occurrence: int, end: int) -> dict[str, object]:
    return {
        "document": batch.staging.document_pid,
        "pid": pid,
        "chunk_id": str(chunk_id(batch.staging.kb_id, batch.document_id, chunk.hash, occurrence)),
        "section": chunk.section,
        "ordinal": chunk.ordinal,
        "hash": chunk.hash.hex(),
        "prefix": chunk.prefix,
        "text": chunk.text,
        "kind": chunk.kind,
        "span_start": chunk.start,
        "span_end": chunk.end,
        "page_first": chunk.page_first,
        "page_last": chunk.page_last,
        "tokens": chunk.tokens,
        "length": chunk.length,
        "terms_from": end - len(chunk.terms),
        "terms_to": end,
    }


def _postings(chunks: Sequence[ReadyChunk], chunk_pids: Sequence[int]) -> dict[str, object]:
    """In the order of the index, so that neighbours go to one page of it."""
    sizes = [len(chunk.terms) for chunk in chunks]
    terms = np.concatenate([chunk.terms for chunk in chunks])
    pids = np.repeat(np.array(chunk_pids, dtype=np.int64), sizes)
    lengths = np.repeat(np.array([chunk.length for chunk in chunks]), sizes)
    order = np.lexsort((pids, terms))
    return {
        "terms": int8s(terms[order]),
        "pids": int8s(pids[order]),
        "tfs": int2s(np.concatenate([chunk.tfs for chunk in chunks])[order]),
        "lengths": int4s(lengths[order]),
    }


def _json(rows: Sequence[Mapping[str, object]]) -> str:
    return json.dumps(rows, ensure_ascii=False)
