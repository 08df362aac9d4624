"""Staging of changes in PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from memoryd.errors import Collision
from memoryd.generations.catalogue import Catalogue
from memoryd.generations.ports import Missing
from memoryd.knowledge.model import NewDocument, Read, ReadyChunk, ReadySection, Staging, Written
from memoryd.stores.database import Database
from memoryd.stores.gaps import gaps, reached
from memoryd.stores.generations import CATALOGUE, HOLDING, generation
from memoryd.stores.knowledge.batches import Batch, statements
from memoryd.stores.knowledge.discard import discard
from memoryd.stores.knowledge.locks import (
    BEGINNING,
    BEGUN,
    ENDING,
    STILL_WRITABLE,
    THERE,
    lock_document,
    naming,
    open_draft,
)
from memoryd.stores.knowledge.revisions import LIVE, OF_DRAFT, REVISIONS, Revision
from memoryd.stores.knowledge.rows import close, copy, erase
from memoryd.stores.trips import Connection, Cursor, Statement, last_trip
from memoryd.threads import UNIT
from retrieval.scope import Scope

_INTO = """
INSERT INTO kb_documents (tenant_id, kb_id, document_id, from_seq, content_hash, settings_hash, title, media_type, source_uri,
    metadata, object_key, bytes, stored_at)
SELECT %(tenant)s, %(kb)s, %(document)s, {seq}, %(content)s, %(settings)s, %(title)s, %(media_type)s, %(uri)s,
    coalesce(%(metadata)s::jsonb, '{{}}'), %(key)s, %(size)s, %(now)s
"""
_INSERT = _INTO.format(seq="%(seq)s") + "RETURNING document_pid"
# Most documents are new to their knowledge base: such a one is begun behind ``BEGINNING``, in the same trip.
_INSERT_NEW = f"""
{_INTO.format(seq="v.seq")}
FROM (SELECT {BEGUN} AS seq) v
WHERE v.seq IS NOT NULL AND NOT EXISTS (
    SELECT FROM kb_documents d
    WHERE d.tenant_id = %(tenant)s AND d.kb_id = %(kb)s AND d.document_id = %(document)s AND {OF_DRAFT})
RETURNING document_pid
"""
_DESCRIBE = """
UPDATE kb_documents SET title = coalesce(%(title)s, title), source_uri = coalesce(%(uri)s, source_uri),
    metadata = coalesce(%(metadata)s::jsonb, metadata)
WHERE tenant_id = %(tenant)s AND document_pid = %(pid)s
"""
# Where the original lies is no part of what a version says.
_KEEP = """
UPDATE kb_documents SET object_key = %(key)s WHERE tenant_id = %(tenant)s AND document_pid = %(pid)s AND object_key IS NULL
"""
_KNOWN = """
SELECT g.generation, q.hash, halfvec_send(found.embedding)
FROM unnest(%(hashes)s::bytea[]) AS q(hash) CROSS JOIN unnest(%(generations)s::int[]) AS g(generation)
CROSS JOIN LATERAL (
    SELECT v.embedding FROM kb_chunks c
    JOIN kb_vectors v ON v.tenant_id = c.tenant_id AND v.pid = c.pid AND v.generation = g.generation
    WHERE c.tenant_id = %(tenant)s AND v.tenant_id = %(tenant)s AND c.hash = q.hash LIMIT 1) found
"""
_OPEN = """
SELECT d.document_pid, d.from_seq FROM kb_documents d {staged}
WHERE d.tenant_id = %(tenant)s AND d.kb_id = %(kb)s AND d.document_id = {document} AND d.complete AND d.to_seq IS NULL
FOR UPDATE OF d
"""
_OPEN_OF_ID = _OPEN.format(staged="", document="%(document)s")
# In one statement what is locked and looked at of a document that is being written: its row, the revision that is to go, and for
# chunks that are to be written their numbers, and that no generation is made or retired meanwhile.
_STAGED = f"""
WITH staged AS MATERIALIZED (
    SELECT document_id, chunks FROM kb_documents
    WHERE tenant_id = %(tenant)s AND document_pid = %(pid)s AND kb_id = %(kb)s AND from_seq = %(seq)s AND NOT complete
    FOR UPDATE),
former AS MATERIALIZED ({{former}})
SELECT s.document_id, s.chunks, ARRAY(SELECT nextval('passages_pid_seq') FROM generate_series(1, %(count)s)),
    f.document_pid, f.from_seq, CASE WHEN %(count)s > 0 THEN {HOLDING} END
FROM staged s LEFT JOIN former f ON true
"""
_STAGED_TO_GO_ON = _STAGED.format(former="SELECT NULL::bigint AS document_pid, NULL::int AS from_seq")
_STAGED_TO_END = _STAGED.format(former=_OPEN.format(staged="CROSS JOIN staged", document="staged.document_id"))
_SEEN = """
SELECT hash, count(*) FROM kb_chunks
WHERE tenant_id = %(tenant)s AND hash = ANY(%(hashes)s::bytea[]) AND document_pid = %(pid)s GROUP BY hash
"""
_COUNT = "UPDATE kb_documents SET chunks = %(stored)s WHERE tenant_id = %(tenant)s AND document_pid = %(pid)s"
_FINISH = """
UPDATE kb_documents SET complete = true, title = coalesce(title, %(title)s), media_type = %(media_type)s, pages = %(pages)s,
    characters = %(characters)s, warnings = %(warnings)s, stored_at = %(now)s, chunks = %(stored)s,
    tokens = (SELECT coalesce(sum(tokens), 0) FROM kb_chunks WHERE tenant_id = %(tenant)s AND document_pid = %(pid)s)
WHERE tenant_id = %(tenant)s AND document_pid = %(pid)s RETURNING tokens
"""
# What the draft has, or what it would have if it were begun now.
_PRESENT = f"""
SELECT d.document_id, encode(d.content_hash, 'hex')
FROM knowledge_bases b
LEFT JOIN kb_versions v ON v.tenant_id = b.tenant_id AND v.kb_id = b.kb_id AND v.state = 'draft' AND NOT v.discarding
JOIN kb_documents d ON d.tenant_id = %(tenant)s AND d.kb_id = %(kb)s AND d.document_id = ANY(%(documents)s::text[])
WHERE b.tenant_id = %(tenant)s AND b.kb_id = %(kb)s AND {THERE} AND d.complete
    AND CASE WHEN v.seq IS NOT NULL THEN d.to_seq IS NULL
             ELSE d.from_seq <= b.live_seq AND (d.to_seq IS NULL OR d.to_seq > b.live_seq) END
"""
_WRITTEN = """
SELECT d.chunks, d.tokens, d.pages
FROM kb_versions v JOIN kb_documents d ON d.tenant_id = v.tenant_id AND d.kb_id = v.kb_id AND d.from_seq = v.seq
WHERE v.tenant_id = %(tenant)s AND v.kb_id = %(kb)s AND v.state = 'draft' AND d.document_id = %(document)s
    AND d.complete AND d.to_seq IS NULL AND d.stored_at >= %(since)s
"""
# A draft that is not there when a document is to be begun in it is begun; the next may be gone as fast.
_TRIES = 3
# Up to so many postings are encoded in a millisecond or two; more go to a thread.
_INLINE = 2_000
_GONE = "the draft that this was written to is gone: it was published or discarded, or the document was begun anew"


@dataclass(frozen=True, slots=True)
class _Part:
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
    def params(self) -> dict[str, object]:
        """Which document."""
        return naming(self.scope, self.staging.kb_id) | {"seq": self.staging.seq, "pid": self.staging.document_pid}

    def looking(self, staged: str) -> list[Statement]:
        """What has to be known before it is written: of the document, and where there are chunks to write of those."""
        looking: list[Statement] = [(staged, self.params | {"count": len(self.chunks)})]
        if self.chunks:
            looking.append((CATALOGUE, self.params))
        if self.goes_on:
            looking.append((_SEEN, self.params | {"hashes": list({chunk.hash for chunk in self.chunks})}))
        return looking

    @property
    def goes_on(self) -> bool:
        """Its chunks are not the first."""
        return bool(self.chunks and self.staging.stored)

    @property
    def after(self) -> Staging:
        """Where the document ends then."""
        return replace(self.staging, stored=self.staging.stored + len(self.chunks))


class PgDrafts:
    """:class:`memoryd.knowledge.ports.Drafts` on PostgreSQL."""

    def __init__(self, database: Database, *, missing: Missing = lambda generation: False) -> None:
        self._database = database
        self._missing = missing

    async def begin(self, scope: Scope, kb_id: UUID, document: NewDocument, now: datetime) -> Staging | None:
        """Begin to write a document, or go on with what an earlier attempt at the same content wrote.

        ``None``: the draft has it, or without one the live version; or the draft had it before it changed it, and has it again.
        A new title, URI or metadata make a revision with the same chunks, for what a published version says of a document stays.
        Raises ``NotFound``, ``Collision``.
        """
        params = naming(scope, kb_id) | _params(document) | {"now": now}
        looking = [(BEGINNING, params), (REVISIONS, params)]
        for _ in range(_TRIES):
            # Sent again, it finds what it inserted among the revisions. It waits for the disk: a number that a crash of the
            # server took back would be another document's next, and what is written to it with that.
            found = await self._database.at_once(scope, [*looking, (_INSERT_NEW, params)])
            if (seq := await _number(found[0])) is not None:
                if (document_pid := await _number(found[2])) is not None:
                    return Staging(kb_id, seq, document_pid, 0)
                if [one.stands(document) for one in await _revisions(found[1])] == [True]:
                    return None
                async with self._database.opened(scope, looking) as (connection, again):
                    if (seq := await _number(again[0])) is not None:
                        fresh, revisions = Staging(kb_id, seq, 0, 0), await _revisions(again[1])
                        return await self._begin(connection, scope, fresh, document, revisions, params)
            # Apart from that, for who begins a draft must not hold a document; and none for what would not change it.
            async with self._database.opened(scope, [(LIVE, params)]) as (connection, (live,)):
                if [one.stands(document) for one in await _revisions(live)] == [True]:
                    return None
                await open_draft(connection, scope, kb_id, now)
        raise Collision("one draft after the other was published or discarded under this document")

    async def _begin(
        self,
        connection: Connection,
        scope: Scope,
        fresh: Staging,
        document: NewDocument,
        revisions: Sequence[Revision],
        params: dict[str, object],
    ) -> Staging | None:
        current = next((one for one in revisions if one.complete and one.to_seq is None), None)
        former = next((one for one in revisions if one.to_seq is not None), None)
        writing = next((one for one in revisions if not one.complete), None)
        there = current is not None and current.same(document)
        fresh = replace(fresh, replaces=current is not None)
        if writing is not None and writing.same(document) and not there:
            await connection.execute(_DESCRIBE, params | {"pid": writing.document_pid})
            return replace(fresh, document_pid=writing.document_pid, stored=writing.chunks)
        if writing is not None:
            await erase(connection, scope.tenant_id, [writing.document_pid])
        if current is not None and there:
            await self._describe(connection, scope, fresh.seq, current, document)
            return None
        if former is not None and former.same(document):
            if current is not None:
                await erase(connection, scope.tenant_id, [current.document_pid])
            await close(connection, scope.tenant_id, [former.document_pid], None)
            await self._describe(connection, scope, fresh.seq, former, document)
            return None
        (inserted,) = await last_trip(connection, [(_INSERT, params | {"seq": fresh.seq})])
        ((document_pid,),) = await inserted.fetchall()
        return replace(fresh, document_pid=document_pid)

    async def known(
        self, scope: Scope, generations: Collection[int], hashes: Sequence[bytes]
    ) -> Mapping[int, Mapping[bytes, NDArray[np.float32]]]:
        """Vectors that chunks of this tenant with these contents have already, by generation; shape ``(dimension,)`` each."""
        params = {"tenant": scope.tenant_id, "hashes": list(set(hashes)), "generations": list(generations)}
        found: dict[int, dict[bytes, NDArray[np.float32]]] = {number: {} for number in generations}
        (rows,) = await self._database.at_once(scope, [(_KNOWN, params)])
        for number, content, sent in await rows.fetchall():
            found[number][bytes(content)] = _vector(sent)
        return found

    async def add(
        self, scope: Scope, staging: Staging, sections: Sequence[ReadySection], chunks: Sequence[ReadyChunk]
    ) -> Staging:
        """Write a batch, all or none; the staging with the new count. Raises ``Collision``, ``ValueError`` for a gap."""
        part = _Part(scope, staging, sections, chunks)
        looking = [(STILL_WRITABLE, part.params), *part.looking(_STAGED_TO_GO_ON)]
        async with self._database.opened(scope, looking) as (connection, found):
            writing, _ = await self._writing(part, found)
            await last_trip(connection, [*writing, (_COUNT, part.params | {"stored": part.after.stored})])
        return part.after

    async def finish(
        self,
        scope: Scope,
        staging: Staging,
        read: Read,
        now: datetime,
        *,
        sections: Sequence[ReadySection] = (),
        chunks: Sequence[ReadyChunk] = (),
    ) -> int:
        """The document is whole: it takes the place of its former revision in the draft. The tokens of its chunks.

        Raises ``Collision``, ``ValueError`` for a gap.
        """
        if staging.replaces and chunks:
            # Apart: to take out a large revision takes seconds, in which no generation could be made or retired.
            staging, sections, chunks = await self.add(scope, staging, sections, chunks), (), ()
        part = _Part(scope, staging, sections, chunks)
        done = {
            "title": read.title,
            "media_type": read.media_type,
            "pages": read.pages,
            "characters": read.characters,
            "warnings": list(read.warnings),
            "now": now,
            "stored": part.after.stored,
        }
        # Looked at behind the lock: the document may have been begun anew, or another attempt may have gone on.
        looking = [(ENDING, part.params), *part.looking(_STAGED_TO_END)]
        async with self._database.opened(scope, looking) as (connection, found):
            writing, former = await self._writing(part, found)
            await self._take_out(connection, scope, staging.seq, former)
            *_, finished = await last_trip(connection, [*writing, (_FINISH, part.params | done)])
            ((tokens,),) = await finished.fetchall()
            return int(tokens)

    async def written(self, scope: Scope, kb_id: UUID, document_id: str, since: datetime) -> Written | None:
        """See :class:`memoryd.knowledge.ports.Drafts`."""
        params = naming(scope, kb_id) | {"document": document_id, "since": since}
        rows = await self._database.read(scope, _WRITTEN, params)
        return Written(*rows[0]) if rows else None

    async def remove(self, scope: Scope, kb_id: UUID, document_id: str, now: datetime) -> bool:
        """Stage a removal; false when the draft has no such document, which begins none. Raises ``NotFound``, ``Conflict``."""
        async with self._database.transaction(scope) as connection:
            params = naming(scope, kb_id) | {"document": document_id, "documents": [document_id]}
            if await (await connection.execute(_PRESENT, params)).fetchone() is None:
                return False
            seq = await open_draft(connection, scope, kb_id, now)
            await lock_document(connection, kb_id, document_id)
            return await self._take_out(connection, scope, seq, await (await connection.execute(_OPEN_OF_ID, params)).fetchone())

    async def discard(self, scope: Scope, kb_id: UUID, *, unchanged_by: UUID | None = None) -> bool:
        """See :func:`memoryd.stores.knowledge.discard.discard`."""
        return await discard(self._database, scope, kb_id, unchanged_by=unchanged_by)

    async def hashes(self, scope: Scope, kb_id: UUID, document_ids: Sequence[str]) -> Mapping[str, str]:
        """SHA-256 (hex) of the originals, by document id, of those that the draft, or without one the live version, has."""
        params = naming(scope, kb_id) | {"documents": list(document_ids)}
        return dict(await self._database.read(scope, _PRESENT, params))

    async def _writing(self, part: "_Part", found: Sequence[Cursor]) -> tuple[list[Statement], TupleRow | None]:
        """What writes a part, by whether it can be written and what :meth:`_Part.looking` found; and the revision that is to go,
        if there is one. Raises ``Collision``."""
        writable, staged, *others = found
        row = await staged.fetchone()
        if not writable.rowcount or row is None:
            raise Collision(_GONE)
        document_id, stored, pids, former_pid, former_seq, _ = row
        former = None if former_pid is None else (former_pid, former_seq)
        if stored != part.staging.stored:
            raise Collision("another attempt writes this document")
        generations, without = await self._reached(part, others[0]) if part.chunks else ([], [])
        batch = Batch(
            tenant=part.scope.tenant_id,
            generations=generations,
            staging=part.staging,
            document_id=document_id,
            sections=part.sections,
            chunks=part.chunks,
            pids=pids,
            seen={bytes(content): count for content, count in await others[1].fetchall()} if part.goes_on else {},
        )
        small = sum(len(chunk.terms) for chunk in part.chunks) <= _INLINE
        encoded = statements(batch) if small else await UNIT.run(statements, batch)
        return [*encoded, *gaps(part.scope.tenant_id, without)], former

    async def _reached(self, part: _Part, registered: Cursor) -> tuple[list[int], list[int]]:
        """The generations that a part's chunks have vectors for, and those that they are a gap in."""
        catalogue = Catalogue(tuple(map(generation, await registered.fetchall())))
        given = set.intersection(*(set(chunk.vectors) for chunk in part.chunks))
        return reached(catalogue, part.staging.kb_id, given, self._missing)

    async def _take_out(self, connection: Connection, scope: Scope, seq: int, row: TupleRow | None) -> bool:
        """The open revision (``_OPEN``) is not in the draft any more: erased if it is the draft's own, else closed."""
        if row is None:
            return False
        document_pid, from_seq = row
        if from_seq == seq:
            await erase(connection, scope.tenant_id, [document_pid])
        else:
            await close(connection, scope.tenant_id, [document_pid], seq)
        return True

    async def _describe(self, connection: Connection, scope: Scope, seq: int, revision: Revision, document: NewDocument) -> None:
        """Title, URI and metadata of an open revision: of a copy of it where published versions have it too."""
        pid, params = revision.document_pid, _params(document) | {"tenant": scope.tenant_id}
        if revision.object_key is None and document.object_key is not None:
            await connection.execute(_KEEP, params | {"pid": pid})
        if revision.described(document):
            return
        if revision.from_seq != seq:
            await close(connection, scope.tenant_id, [pid], seq)
            (pid,) = await copy(connection, scope.tenant_id, [pid], seq)
        await connection.execute(_DESCRIBE, params | {"pid": pid})


async def _number(cursor: Cursor) -> int | None:
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def _revisions(cursor: Cursor) -> list[Revision]:
    return [Revision(*row) for row in await cursor.fetchall()]


def _params(document: NewDocument) -> dict[str, object]:
    return {
        "document": document.document_id,
        "content": document.content_hash,
        "settings": document.settings_hash,
        "title": document.title,
        "media_type": document.media_type,
        "uri": document.source_uri,
        "metadata": None if document.metadata is None else Jsonb(dict(document.metadata)),
        "key": document.object_key,
        "size": document.size,
    }


def _vector(sent: bytes) -> NDArray[np.float32]:
    """pgvector's halfvec on the wire: dimension, two unused bytes, big-endian half floats."""
    return np.frombuffer(sent, dtype=">f2", offset=4).astype(np.float32)
