"""Parts of documents on their way into a draft: what is looked at before they are written, and what writes them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from memoryd.errors import Collision
from memoryd.generations.catalogue import Catalogue
from memoryd.generations.ports import Missing
from memoryd.knowledge.model import Read, ReadyChunk, ReadySection, Staging
from memoryd.stores.gaps import gaps, reached
from memoryd.stores.generations import CATALOGUE, HOLDING, generation
from memoryd.stores.knowledge.batches import Batch, statements
from memoryd.stores.knowledge.locks import naming
from memoryd.stores.trips import Cursor, Statement
from memoryd.threads import UNIT
from retrieval.scope import Scope

OPEN = """
SELECT document_id, document_pid, from_seq FROM kb_documents
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND document_id = {document} AND complete AND to_seq IS NULL LIMIT 1 FOR UPDATE
"""
"""The open revision of a document: there is one at most."""
# Of rows that are found by their numbers: where they have to be, said so that no index takes it for what to look by. The one of
# rows that are being written is wide with those that were, and the one of a draft's leads to all that it has.
OF_THIS_DRAFT = "d.kb_id IS NOT DISTINCT FROM %(kb)s AND d.from_seq IS NOT DISTINCT FROM %(seq)s AND NOT d.complete"
# In one statement what is locked and looked at of documents that are being written: their rows, the revisions that are to go, and
# for chunks that are to be written their numbers, and that no generation is made or retired meanwhile.
_STAGED = f"""
WITH staged AS MATERIALIZED (
    SELECT d.document_pid, d.document_id, d.chunks FROM kb_documents d
    WHERE d.tenant_id = %(tenant)s AND d.document_pid = ANY(%(documents)s::bigint[]) AND {OF_THIS_DRAFT}
    ORDER BY d.document_pid FOR UPDATE),
former AS MATERIALIZED ({{former}})
SELECT s.document_pid, s.document_id, s.chunks, ARRAY(SELECT nextval('passages_pid_seq') FROM generate_series(1, g.chunks)),
    f.document_pid, f.from_seq, CASE WHEN g.chunks > 0 THEN {HOLDING} END
FROM unnest(%(documents)s::bigint[], %(counts)s::int[]) AS g(document, chunks)
    JOIN staged s ON s.document_pid = g.document LEFT JOIN former f ON f.document_id = s.document_id
"""
TO_GO_ON = _STAGED.format(former="SELECT NULL::text AS document_id, NULL::bigint AS document_pid, NULL::int AS from_seq")
TO_END = _STAGED.format(former=f"SELECT f.* FROM staged s CROSS JOIN LATERAL ({OPEN.format(document='s.document_id')}) f")
_SEEN = """
SELECT hash, count(*) FROM kb_chunks
WHERE tenant_id = %(tenant)s AND hash = ANY(%(hashes)s::bytea[]) AND document_pid = %(pid)s GROUP BY hash
"""
# Up to so many postings are encoded in a millisecond or two; more go to a thread.
_INLINE = 2_000
GONE = "the draft that this was written to is gone: it was published or discarded, or the document was begun anew"


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a document's sections and chunks, which go on where ``staging`` ends; or none. Raises ``ValueError`` for a gap."""

    scope: Scope
    staging: Staging
    sections: Sequence[ReadySection]
    chunks: Sequence[ReadyChunk]

    def __post_init__(self) -> None:
        stored = self.staging.stored
        if [chunk.ordinal for chunk in self.chunks] != list(range(stored, stored + len(self.chunks))):
            raise ValueError("a batch goes on where the one before it ended")

    @property
    def goes_on(self) -> bool:
        """Its chunks are not the first."""
        return bool(self.chunks and self.staging.stored)

    @property
    def after(self) -> Staging:
        """Where the document ends then."""
        return replace(self.staging, stored=self.staging.stored + len(self.chunks))


@dataclass(frozen=True, slots=True)
class Ending:
    """The last part of a document, and what is known of the whole."""

    part: Part
    read: Read
    now: datetime

    @property
    def row(self) -> dict[str, object]:
        """What becomes of the document."""
        return {
            "document": self.part.staging.document_pid,
            "title": self.read.title,
            "media_type": self.read.media_type,
            "pages": self.read.pages,
            "characters": self.read.characters,
            "warnings": list(self.read.warnings),
            "stored": self.part.after.stored,
        }


class Former(NamedTuple):
    """The open revision that a document's new one takes the place of."""

    document_pid: int
    from_seq: int


def naming_parts(parts: Sequence[Part]) -> dict[str, object]:
    """Parameters that say which documents: parts of several of one draft, or one part."""
    first = parts[0]
    return naming(first.scope, first.staging.kb_id) | {
        "seq": first.staging.seq,
        "documents": [one.staging.document_pid for one in parts],
        "counts": [len(one.chunks) for one in parts],
    }


def looking(parts: Sequence[Part], staged: str) -> list[Statement]:
    """What has to be known before parts are written: of their documents, and where there are chunks to write of those. Only one
    that is alone goes on."""
    params = naming_parts(parts)
    asked: list[Statement] = [(staged, params)]
    if any(one.chunks for one in parts):
        asked.append((CATALOGUE, params))
    if parts[0].goes_on:
        hashes = list({chunk.hash for chunk in parts[0].chunks})
        asked.append((_SEEN, params | {"hashes": hashes, "pid": parts[0].staging.document_pid}))
    return asked


async def writing(parts: Sequence[Part], found: Sequence[Cursor], missing: Missing) -> tuple[list[Statement], dict[int, Former]]:
    """What writes parts, by whether they can be written and what :func:`looking` found; and the revisions that are to go, by the
    document that takes their place. Raises ``Collision``, ``GenerationsChanged``."""
    writable, staged, *others = found
    rows = {row[0]: row[1:] for row in await staged.fetchall()}
    if not writable.rowcount or len(rows) < len(parts):
        raise Collision(GONE)
    seen = {bytes(content): count for content, count in await others[1].fetchall()} if parts[0].goes_on else {}
    catalogue = Catalogue(tuple(map(generation, await others[0].fetchall()))) if others else None
    former: dict[int, Former] = {}
    batches: list[Batch] = []
    without: list[int] = []
    for part in parts:
        document_id, stored, pids, former_pid, former_seq, _ = rows[part.staging.document_pid]
        if stored != part.staging.stored:
            raise Collision("another attempt writes this document")
        if former_pid is not None:
            former[part.staging.document_pid] = Former(former_pid, former_seq)
        generations: list[int] = []
        if part.chunks and catalogue is not None:
            given = set.intersection(*(set(chunk.vectors) for chunk in part.chunks))
            generations, without = reached(catalogue, part.staging.kb_id, given, missing)
        batches.append(Batch(part.staging, document_id, generations, part.sections, part.chunks, pids, seen))
    if len({tuple(one.generations) for one in batches if one.chunks}) > 1:
        raise Collision("of these documents, some were embedded for other models")
    tenant_id = parts[0].scope.tenant_id
    small = sum(len(chunk.terms) for one in parts for chunk in one.chunks) <= _INLINE
    encoded = statements(tenant_id, batches) if small else await UNIT.run(statements, tenant_id, batches)
    return [*encoded, *gaps(tenant_id, without)], former
