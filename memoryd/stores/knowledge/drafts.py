"""Staging of changes in PostgreSQL."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from memoryd.errors import Collision, StoreUnavailable
from memoryd.generations.ports import Missing
from memoryd.jobs.ports import NotYet
from memoryd.knowledge.model import NewDocument, Overtaken, Read, ReadyChunk, ReadySection, Staging, Written
from memoryd.stores.database import Database
from memoryd.stores.jobs.order import EARLIER, OVERTAKEN, TO_COME, nobody_to_come, overtaken, wait_for_earlier
from memoryd.stores.knowledge.beginnings import INSERT, Beginning, Beginnings, row
from memoryd.stores.knowledge.discard import discard
from memoryd.stores.knowledge.locks import BEGINNING, ENDING, STILL_WRITABLE, THERE, lock_document, naming, open_draft
from memoryd.stores.knowledge.revisions import LIVE, REVISIONS, Revision, revisions
from memoryd.stores.knowledge.rows import close, copy, erase
from memoryd.stores.knowledge.writing import (
    OF_THIS_DRAFT,
    TO_END,
    TO_GO_ON,
    Ending,
    Former,
    Part,
    looking,
    naming_parts,
    writing,
)
from memoryd.stores.trips import Connection, last_trip
from memoryd.together import Company, Together
from retrieval.scope import Scope

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
_COUNT = "UPDATE kb_documents SET chunks = %(stored)s WHERE tenant_id = %(tenant)s AND document_pid = %(pid)s"
_FINISH = f"""
UPDATE kb_documents d SET complete = true, title = coalesce(d.title, q.title), media_type = q.media_type, pages = q.pages,
    characters = q.characters, warnings = q.warnings, stored_at = %(now)s, chunks = q.stored,
    tokens = (SELECT coalesce(sum(c.tokens), 0) FROM kb_chunks c WHERE c.tenant_id = %(tenant)s AND c.document_pid = q.document)
FROM jsonb_to_recordset(%(rows)s::jsonb) AS q(document bigint, title text, media_type text, pages int, characters bigint,
    warnings text[], stored int)
WHERE d.tenant_id = %(tenant)s AND d.document_pid = q.document AND d.document_pid = ANY(%(documents)s::bigint[])
    AND {OF_THIS_DRAFT}
RETURNING d.document_pid, d.tokens
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
_BESIDE_DRAFT = """
FROM kb_versions v JOIN kb_documents d ON d.tenant_id = v.tenant_id AND d.kb_id = v.kb_id
WHERE v.tenant_id = %(tenant)s AND v.kb_id = %(kb)s AND v.state = 'draft' AND d.document_id = %(document)s
"""
_WRITTEN = f"""
SELECT d.chunks, d.tokens, d.pages {_BESIDE_DRAFT}
    AND d.from_seq = v.seq AND d.complete AND d.to_seq IS NULL AND d.stored_at >= %(since)s
"""
_REMOVED = f"SELECT d.document_pid {_BESIDE_DRAFT} AND d.to_seq = v.seq"
# A draft that is not there when a document is to be begun in it is begun; the next may be gone as fast.
_TRIES = 3
# Longer last parts are written alone: what several are written in is not to hold what they look at for long.
_SHORT = 16


class PgDrafts:
    """:class:`memoryd.knowledge.ports.Drafts` on PostgreSQL."""

    def __init__(
        self, database: Database, *, missing: Missing = lambda generation: False, company: Company | None = None
    ) -> None:
        """``company``: those who write documents, if several do."""
        company = company or Company()
        self._database = database
        self._missing = missing
        self._beginnings = Beginnings(database, company)
        self._knowing = Together(self._known, company, final=StoreUnavailable)
        # Its end may be lost behind its COMMIT, and is then found by the next attempt.
        self._finishing = Together(self._finish, company, final=StoreUnavailable)

    async def begin(
        self, scope: Scope, kb_id: UUID, document: NewDocument, now: datetime, *, by: UUID | None = None
    ) -> Staging | Overtaken | None:
        """Begin to write a document, or go on with what an earlier attempt at the same content wrote.

        ``None``: the draft has it, or without one the live version; or the draft had it before it changed it, and has it again.
        A new title, URI or metadata make a revision with the same chunks, for what a published version says of a document stays.
        Raises ``NotFound``, ``Collision``, ``NotYet``.
        """
        params = naming(scope, kb_id) | _params(document) | {"now": now, "by": by}
        for _ in range(_TRIES):
            begun = await self._beginnings.begun(scope, kb_id, document, now, by)
            if isinstance(begun, NotYet):
                raise begun
            if not isinstance(begun, Beginning):
                return begun
            if begun is Beginning.STANDS:
                return None
            if begun is Beginning.OTHERWISE:
                looking = [(BEGINNING, params), (OVERTAKEN, params), (REVISIONS, params)]
                async with self._database.opened(scope, looking) as (connection, (draft, others, of_draft)):
                    if (overtaking := _of_one(await overtaken(others))) is not None:
                        return overtaking
                    if (row := await draft.fetchone()) is not None:
                        fresh, there = Staging(kb_id, row[0], 0, 0), await revisions(of_draft)
                        return await self._begin(connection, scope, fresh, document, there, params)
            # Apart from that, for who begins a draft must not hold a document; and none for what would not change it.
            async with self._database.opened(scope, [(LIVE, params)]) as (connection, (live,)):
                if [one.stands(document) for one in await revisions(live)] == [True]:
                    return None
                await open_draft(connection, scope, kb_id, now)
        raise Collision("one draft after the other was published or discarded under this document")

    async def _begin(
        self,
        connection: Connection,
        scope: Scope,
        fresh: Staging,
        document: NewDocument,
        there: Sequence[Revision],
        params: dict[str, object],
    ) -> Staging | None:
        current = next((one for one in there if one.complete and one.to_seq is None), None)
        former = next((one for one in there if one.to_seq is not None), None)
        writing = next((one for one in there if not one.complete), None)
        same = current is not None and current.same(document)
        fresh = replace(fresh, replaces=current is not None)
        if writing is not None and writing.same(document) and not same:
            # Two that went on with it side by side would each find that the other has.
            await wait_for_earlier(await connection.execute(EARLIER, params))
            await connection.execute(_DESCRIBE, params | {"pid": writing.document_pid})
            return replace(fresh, document_pid=writing.document_pid, stored=writing.chunks)
        if writing is not None:
            await erase(connection, scope.tenant_id, [writing.document_pid])
        if current is not None and same:
            await self._describe(connection, scope, fresh.seq, current, document)
            return None
        if former is not None and former.same(document):
            if current is not None:
                await erase(connection, scope.tenant_id, [current.document_pid])
            await close(connection, scope.tenant_id, [former.document_pid], None)
            await self._describe(connection, scope, fresh.seq, former, document)
            return None
        (inserted,) = await last_trip(connection, [(INSERT, params | {"seq": fresh.seq})])
        ((document_pid,),) = await inserted.fetchall()
        return replace(fresh, document_pid=document_pid)

    async def known(
        self, scope: Scope, generations: Collection[int], hashes: Sequence[bytes]
    ) -> Mapping[int, Mapping[bytes, NDArray[np.float32]]]:
        """Vectors that chunks of this tenant with these contents have already, by generation; shape ``(dimension,)`` each."""
        key = scope.tenant_id, tuple(generations)
        return await self._knowing.ask(key, (scope, frozenset(hashes)))

    async def _known(
        self, key: tuple[UUID, tuple[int, ...]], asked: Sequence[tuple[Scope, frozenset[bytes]]]
    ) -> list[dict[int, dict[bytes, NDArray[np.float32]]]]:
        tenant_id, generations = key
        hashes = frozenset[bytes]().union(*(some for _, some in asked))
        params = {"tenant": tenant_id, "hashes": list(hashes), "generations": list(generations)}
        found: dict[int, dict[bytes, NDArray[np.float32]]] = {number: {} for number in generations}
        (rows,) = await self._database.at_once(asked[0][0], [(_KNOWN, params)])
        for number, content, sent in await rows.fetchall():
            found[number][bytes(content)] = _vector(sent)
        return [
            {number: {one: vector for one, vector in made.items() if one in some} for number, made in found.items()}
            for _, some in asked
        ]

    async def add(
        self, scope: Scope, staging: Staging, sections: Sequence[ReadySection], chunks: Sequence[ReadyChunk]
    ) -> Staging:
        """Write a batch, all or none; the staging with the new count. Raises ``Collision``, ``ValueError`` for a gap."""
        parts = [Part(scope, staging, sections, chunks)]
        params, after = naming_parts(parts), parts[0].after
        async with self._database.opened(scope, [(STILL_WRITABLE, params), *looking(parts, TO_GO_ON)]) as (connection, found):
            statements, _ = await writing(parts, found, self._missing)
            counted = params | {"pid": staging.document_pid, "stored": after.stored}
            await last_trip(connection, [*statements, (_COUNT, counted)])
        return after

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
        key = scope.tenant_id, scope.spaces, staging.kb_id, staging.seq
        ending = Ending(Part(scope, staging, sections, chunks), read, now)
        if staging.replaces or staging.stored or len(chunks) > _SHORT:
            (tokens,) = await self._finish(key, [ending])
            return tokens
        return await self._finishing.ask(key, ending)

    async def _finish(self, key: tuple[Hashable, ...], endings: Sequence[Ending]) -> list[int]:
        """Several of one draft, of which none has a former revision; or one."""
        parts = [one.part for one in endings]
        scope, params = parts[0].scope, naming_parts(parts)
        # Looked at behind the lock: a document may have been begun anew, or another attempt may have gone on.
        async with self._database.opened(scope, [(ENDING, params), *looking(parts, TO_END)]) as (connection, found):
            statements, former = await writing(parts, found, self._missing)
            if former and len(parts) > 1:
                raise Collision("a document has a former revision by now, which takes its time to go")
            for one in former.values():
                await self._take_out(connection, scope, parts[0].staging.seq, one)
            ended = params | {"rows": Jsonb([one.row for one in endings]), "now": max(one.now for one in endings)}
            *_, finished = await last_trip(connection, [*statements, (_FINISH, ended)])
            tokens: dict[int, int] = dict(await finished.fetchall())
            return [tokens[one.staging.document_pid] for one in parts]

    async def written(self, scope: Scope, kb_id: UUID, document_id: str, since: datetime) -> Written | None:
        """See :class:`memoryd.knowledge.ports.Drafts`."""
        params = naming(scope, kb_id) | {"document": document_id, "since": since}
        rows = await self._database.read(scope, _WRITTEN, params)
        return Written(*rows[0]) if rows else None

    async def remove(
        self, scope: Scope, kb_id: UUID, document_id: str, now: datetime, *, by: UUID | None = None
    ) -> bool | Overtaken:
        """Stage a removal; false when the draft has no such document, which begins none. What is being written of it is gone too.

        Raises ``NotFound``, ``Conflict``, ``NotYet``.
        """
        async with self._database.transaction(scope) as connection:
            params = naming(scope, kb_id) | {"document": document_id, "documents": [document_id], "by": by}
            draft = await (await connection.execute(BEGINNING, params)).fetchone()
            if by is None:
                await nobody_to_come(connection, params)
            if (overtaking := await _overtaking(connection, params)) is not None:
                return overtaking
            if draft is None:
                if await (await connection.execute(_PRESENT, params)).fetchone() is None:
                    return False
                seq = await open_draft(connection, scope, kb_id, now)
                await lock_document(connection, kb_id, document_id)
                if (overtaking := await _overtaking(connection, params)) is not None:
                    return overtaking
            else:
                seq = draft[0]
            there = await revisions(await connection.execute(REVISIONS, params))
            await erase(connection, scope.tenant_id, [one.document_pid for one in there if not one.complete])
            for one in there:
                if one.complete and one.to_seq is None:
                    await self._take_out(connection, scope, seq, Former(one.document_pid, one.from_seq))
                    return True
            return False

    async def overtaken(self, scope: Scope, kb_id: UUID, document_id: str, now: datetime, *, by: UUID) -> Overtaken | None:
        """See :class:`memoryd.knowledge.ports.Drafts`."""
        params = naming(scope, kb_id) | {"document": document_id, "documents": [document_id], "now": now, "by": by}
        async with self._database.opened(scope, [(OVERTAKEN, params), (EARLIER, params)]) as (_, (later, earlier)):
            if (overtaking := _of_one(await overtaken(later))) is None:
                await wait_for_earlier(earlier)
            return overtaking

    async def removed(self, scope: Scope, kb_id: UUID, document_id: str) -> bool:
        """See :class:`memoryd.knowledge.ports.Drafts`."""
        return bool(await self._database.read(scope, _REMOVED, naming(scope, kb_id) | {"document": document_id}))

    async def discard(self, scope: Scope, kb_id: UUID, *, unchanged_by: UUID | None = None) -> bool:
        """See :func:`memoryd.stores.knowledge.discard.discard`."""
        return await discard(self._database, scope, kb_id, unchanged_by=unchanged_by)

    async def hashes(self, scope: Scope, kb_id: UUID, document_ids: Sequence[str]) -> Mapping[str, str | None]:
        """See :class:`memoryd.knowledge.ports.Drafts`."""
        params = naming(scope, kb_id) | {"documents": list(document_ids)}
        present, to_come = await self._database.read_all(scope, [(_PRESENT, params), (TO_COME, params)])
        known: dict[str, str | None] = dict(present)
        return known | {document_id: None for document_id, _ in to_come}

    async def _take_out(self, connection: Connection, scope: Scope, seq: int, former: Former) -> None:
        """The open revision is not in the draft any more: erased if it is the draft's own, else closed."""
        if former.from_seq == seq:
            await erase(connection, scope.tenant_id, [former.document_pid])
        else:
            await close(connection, scope.tenant_id, [former.document_pid], seq)

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


async def _overtaking(connection: Connection, params: dict[str, object]) -> Overtaken | None:
    return _of_one(await overtaken(await connection.execute(OVERTAKEN, params)))


def _of_one(found: Mapping[str, Overtaken | NotYet]) -> Overtaken | None:
    """What is known of the one document that was asked of. Raises ``NotYet``."""
    for one in found.values():
        if isinstance(one, NotYet):
            raise one
        return one
    return None


def _params(document: NewDocument) -> dict[str, object]:
    return {
        "document": document.document_id,
        "documents": [document.document_id],
        "rows": Jsonb([row(document)]),
        "title": document.title,
        "uri": document.source_uri,
        "metadata": None if document.metadata is None else Jsonb(dict(document.metadata)),
        "key": document.object_key,
    }


def _vector(sent: bytes) -> NDArray[np.float32]:
    """pgvector's halfvec on the wire: dimension, two unused bytes, big-endian half floats."""
    return np.frombuffer(sent, dtype=">f2", offset=4).astype(np.float32)
