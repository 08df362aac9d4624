"""Units of work on PostgreSQL: everything that one write changes commits together, or not at all."""

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import psycopg

from memoryd.errors import AlreadyExists, NotFound
from memoryd.generations.catalogue import Catalogue
from memoryd.generations.ports import Missing
from memoryd.memory.model import Change, Content, Idempotency, Outcome, Passage, Prepared, Revision, Written
from memoryd.memory.ports import Clock, NewRevision, Receipt
from memoryd.stores import idempotency as idempotency_store
from memoryd.stores.audit import Entry, audit_statement
from memoryd.stores.database import Database
from memoryd.stores.gaps import gaps, reached, uncopied_passages
from memoryd.stores.generations import CATALOGUE, generation
from memoryd.stores.passage_blocks import Addressed
from memoryd.stores.passage_rows import PassageRows
from memoryd.stores.revisions import HEADS, KNOWN_IDENTITIES, revision, row
from memoryd.stores.trips import Connection, Statement, last_trip, trip
from memoryd.threads import UNIT
from retrieval.scope import Scope

_CONTENT = """
    kind, text, speaker, role, user_id, agent_id, session_id, event_time, valid_from, valid_to, source_type, source_uri,
    confidence, topics, metadata, supersedes
"""
_CONTENT_TYPES = """
    kind text, text text, speaker text, role text, user_id text, agent_id text, session_id text, event_time timestamptz,
    valid_from timestamptz, valid_to timestamptz, source_type text, source_uri text, confidence float8, topics text[],
    metadata jsonb, supersedes uuid
"""
# Identities and first revisions at once; a memory that is there already is left alone and not returned.
_INSERT = f"""
WITH sent AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb)
        AS q(memory_id uuid, space_id uuid, external_id text, identity text, number int, {_CONTENT_TYPES})),
made AS (
    INSERT INTO memories (tenant_id, memory_id, space_id, external_id, identity, created_at)
    SELECT %(tenant)s, memory_id, space_id, external_id, decode(identity, 'hex'), %(now)s FROM sent ORDER BY number
    ON CONFLICT (tenant_id, space_id, identity) DO NOTHING
    RETURNING memory_id, seq),
told AS (
    INSERT INTO memory_revisions (tenant_id, memory_id, revision, space_id, seq, action, actor, recorded_at, occurred_at, live,
        {_CONTENT})
    SELECT %(tenant)s, memory_id, 1, space_id, seq, 'created', %(actor)s, %(now)s, coalesce(event_time, %(now)s), true,
        {_CONTENT}
    FROM made JOIN sent USING (memory_id))
SELECT memory_id FROM made
"""
_INSERT_REVISION = f"""
INSERT INTO memory_revisions (tenant_id, memory_id, revision, space_id, seq, action, actor, reason, recorded_at, retired_at,
    occurred_at, superseded_by, live, {_CONTENT})
SELECT %(tenant)s, %(memory)s, %(revision)s, %(space)s, %(seq)s, %(action)s, %(actor)s, %(reason)s, %(now)s, %(retired_at)s,
    coalesce(event_time, %(created_at)s), %(superseded_by)s, %(live)s, {_CONTENT}
FROM jsonb_to_record(%(row)s::jsonb) AS q({_CONTENT_TYPES})
"""
# In the order of ids, so that two writers cannot wait in a circle.
_LOCK = "SELECT FROM memories WHERE tenant_id = %(tenant)s AND memory_id = ANY(%(memories)s) ORDER BY memory_id FOR UPDATE"
_RETIRE = """
UPDATE memory_revisions SET retired_at = coalesce(retired_at, %(now)s), live = false
WHERE tenant_id = %(tenant)s AND memory_id = %(memory)s AND revision = %(revision)s
"""
_ADVANCE = """
UPDATE memories SET head_revision = %(revision)s, deleted_at = %(deleted_at)s, identity = %(identity)s
WHERE tenant_id = %(tenant)s AND memory_id = %(memory)s
"""
_PURGE = "DELETE FROM memories WHERE tenant_id = %(tenant)s AND memory_id = %(memory)s"
_COUNT_REVISIONS = "SELECT count(*) FROM memory_revisions WHERE tenant_id = %(tenant)s AND memory_id = %(memory)s"


# Up to so many characters are made into JSON where we are; more go to a thread. Metadata counts as what it may be at most,
# as far as its number of keys tells.
_INLINE_CHARACTERS = 10_000
_KEY_CHARACTERS = 20
_ROW_CHARACTERS = 200
_METADATA_CHARACTERS = 1_000
_TICK = timedelta(microseconds=1)


class PgUnits:
    """:class:`memoryd.memory.ports.Units` on PostgreSQL."""

    def __init__(self, database: Database, clock: Clock, *, missing: Missing = lambda generation: False) -> None:
        self._database = database
        self._clock = clock
        self._missing = missing

    @asynccontextmanager
    async def begin(self, scope: Scope, idempotency: Idempotency | None) -> AsyncIterator["PgUnit"]:
        """One transaction as the scope's tenant.

        Its writes raise ``GenerationsChanged`` where passages have no vectors for a generation that is there by now.
        """
        async with self._database.writing(scope) as connection:
            replay = None
            if idempotency is not None:
                replay = await idempotency_store.reserve(connection, scope, idempotency)
            unit = PgUnit(connection, scope, self._clock, self._missing, idempotency, replay)
            yield unit
            await unit.finish()


class PgUnit:
    """:class:`memoryd.memory.ports.Unit` over one open transaction.

    Statements that need no answer wait in ``_pending`` and travel together: each round trip costs as much as a statement.
    """

    def __init__(
        self,
        connection: Connection,
        scope: Scope,
        clock: Clock,
        missing: Missing,
        idempotency: Idempotency | None,
        replay: Receipt | None,
    ) -> None:
        self._connection = connection
        self._scope = scope
        self._clock = clock
        self._idempotency = idempotency
        self._replay = replay
        self._passages = PassageRows(connection, scope.tenant_id)
        self._missing = missing
        self._pending: list[Statement] = []

    @property
    def replay(self) -> Receipt | None:
        """The receipt of an earlier request with the same key."""
        return self._replay

    async def insert(self, memories: Sequence[Prepared]) -> list[Written]:
        """Insert what is new; a memory that exists already, or twice in ``memories``, is answered with its id."""
        large = sum(_characters(memory.content) for memory in memories) > _INLINE_CHARACTERS
        params = {
            "tenant": self._scope.tenant_id,
            "actor": self._scope.principal,
            "now": self._clock.now(),
            "rows": await UNIT.run(_rows, memories) if large else _rows(memories),
        }
        pids = PassageRows.pids(sum(len(memory.passages) for memory in memories))
        registry = CATALOGUE, {"tenant": self._scope.tenant_id}
        inserting, reserving, registered = await trip(self._connection, [(_INSERT, params), pids, registry])
        inserted = {memory_id for (memory_id,) in await inserting.fetchall()}
        new = [memory for memory in memories if memory.memory_id in inserted]
        addressed = [Addressed(m.memory_id, 1, m.space_id, m.passages, live=True) for m in new]
        catalogue = Catalogue(tuple(map(generation, await registered.fetchall())))
        carried = [one for memory in new for one in memory.passages]
        if carried:
            await self._write(catalogue, carried, addressed, [pid for (pid,) in await reserving.fetchall()])
        ids = {(memory.space_id, memory.identity): memory.memory_id for memory in new}
        ids |= await self._same([memory for memory in memories if (memory.space_id, memory.identity) not in ids])
        return [_written(memory, ids) for memory in memories]

    async def lock(self, memory_id: UUID) -> Revision | None:
        """The head revision, deleted memories included, locked until the unit ends; ``None`` outside the key's spaces."""
        return (await self.lock_all([memory_id])).get(memory_id)

    async def lock_all(self, memory_ids: Collection[UUID]) -> dict[UUID, Revision]:
        """As :meth:`lock`, for many at once; what there is not is missing."""
        if not memory_ids:
            return {}
        await self._flush()
        params = {"tenant": self._scope.tenant_id, "memories": list(memory_ids)}
        # The second sees what was committed while the lock was waited for: each statement has a snapshot of its own.
        _, reading = await trip(self._connection, [(_LOCK, params), (HEADS, params)])
        heads = map(revision, await reading.fetchall())
        return {head.memory_id: head for head in heads if self._scope.may_use(head.space)}

    async def revise(self, head: Revision, new: NewRevision) -> Revision:
        """Retire ``head``, which is locked, and append ``new``; the new head."""
        await self._flush()
        number = head.revision + 1
        deleted = new.action is Change.DELETED
        live = not deleted and new.superseded_by is None
        # Not before the lock was ours, and after the head whatever the clocks of other machines say: its time ends here.
        now = max(self._clock.now(), head.recorded_at + _TICK)
        params: dict[str, object] = {
            "tenant": self._scope.tenant_id,
            "memory": head.memory_id,
            "now": now,
            "deleted_at": now if deleted else None,
            "identity": new.identity,
        }
        try:
            await self._connection.execute(_ADVANCE, params | {"revision": number})
        except psycopg.errors.UniqueViolation as error:
            raise AlreadyExists("the space has another memory with this very content") from error
        retiring = _RETIRE, params | {"revision": head.revision}
        await trip(self._connection, [retiring, (_INSERT_REVISION, self._revision(head, new, number, now, live=live))])
        await self._passages.retire(head.memory_id)
        if new.passages is not None:
            await self._index(head, new, number, live=live)
        return replace(
            head,
            revision=number,
            action=new.action,
            actor=self._scope.principal,
            reason=new.reason,
            recorded_at=now,
            retired_at=now if deleted else None,
            deleted_at=now if deleted else None,
            superseded_by=new.superseded_by,
            live=live,
            content=new.content,
        )

    async def purge(self, memory_id: UUID) -> int:
        """Erase every trace but the audit entry; how many revisions went."""
        params = {"tenant": self._scope.tenant_id, "memory": memory_id}
        counted = await (await self._connection.execute(_COUNT_REVISIONS, params)).fetchone()
        if not counted or not counted[0]:
            raise NotFound("no such memory")
        await self._passages.purge(memory_id)
        await self._connection.execute(_PURGE, params)
        return int(counted[0])

    async def audit(self, action: str, memory_ids: Sequence[UUID], detail: Receipt) -> None:
        """Append to the audit log."""
        entry = Entry(action, "memory", tuple(memory_ids), detail)
        self._pending.append(audit_statement(self._scope, entry, self._clock.now()))

    async def receipt(self, receipt: Receipt) -> None:
        """Keep what a repeated request is answered with; nothing to do without an Idempotency-Key."""
        if self._idempotency is not None:
            self._pending.append(idempotency_store.answer_statement(self._scope, self._idempotency, receipt))

    async def finish(self) -> None:
        """Send what waits, the statistics last, and with it the commit; called by the unit of work at its end."""
        statements, self._pending = [*self._pending, *await self._passages.statistics()], []
        await last_trip(self._connection, statements)

    async def _flush(self) -> None:
        if self._pending:
            statements, self._pending = self._pending, []
            await trip(self._connection, statements)

    async def _same(self, memories: Sequence[Prepared]) -> dict[tuple[UUID, bytes], UUID]:
        """Who has the identities of these, which were not inserted."""
        if not memories:
            return {}
        params = {
            "tenant": self._scope.tenant_id,
            "spaces": [memory.space_id for memory in memories],
            "identities": [memory.identity for memory in memories],
        }
        found = await (await self._connection.execute(KNOWN_IDENTITIES, params)).fetchall()
        return {(space, bytes(identity)): memory_id for space, identity, memory_id in found}

    async def _index(self, head: Revision, new: NewRevision, number: int, *, live: bool) -> None:
        passages = new.passages or ()
        registry = CATALOGUE, {"tenant": self._scope.tenant_id}
        reserving, registered = await trip(self._connection, [PassageRows.pids(len(passages)), registry])
        pids = [pid for (pid,) in await reserving.fetchall()]
        catalogue = Catalogue(tuple(map(generation, await registered.fetchall())))
        addressed = Addressed(head.memory_id, number, head.space_id, passages, live=live)
        if not new.keep_vectors:
            await self._write(catalogue, passages, [addressed], pids)
            return
        self._pending += await self._passages.insert([addressed], pids, ())
        self._pending.append(self._passages.copy_vectors(head.memory_id, old=head.revision, new=number, live=live))
        covering = [one.number for one in catalogue.covering(None)]
        if len(covering) > 1:
            # One that is being built may have nothing to copy yet, and what is built meanwhile is not seen here.
            self._pending.append(uncopied_passages(self._scope.tenant_id, covering, head.memory_id, number))

    async def _write(
        self, catalogue: Catalogue, passages: Sequence[Passage], addressed: Sequence[Addressed], pids: Sequence[int]
    ) -> None:
        """Passages with their vectors, in every generation that is over memories. Raises ``GenerationsChanged``."""
        given = set.intersection(*(set(one.vectors) for one in passages))
        numbers, without = reached(catalogue, None, given, self._missing)
        self._pending += await self._passages.insert(addressed, pids, numbers)
        self._pending += gaps(self._scope.tenant_id, without)

    def _revision(self, head: Revision, new: NewRevision, number: int, now: datetime, *, live: bool) -> dict[str, object]:
        return {
            "tenant": self._scope.tenant_id,
            "memory": head.memory_id,
            "revision": number,
            "space": head.space_id,
            "seq": head.seq,
            "action": new.action,
            "actor": self._scope.principal,
            "reason": new.reason,
            "now": now,
            "retired_at": now if new.action is Change.DELETED else None,
            "created_at": head.created_at,
            "superseded_by": new.superseded_by,
            "live": live,
            "row": json.dumps(row(new.content), ensure_ascii=False),
        }


def _characters(content: Content) -> int:
    """About how much JSON a row is, without looking at all of it."""
    metadata = _METADATA_CHARACTERS + _KEY_CHARACTERS * len(content.metadata) if content.metadata else 0
    return _ROW_CHARACTERS + len(content.text) + metadata


def _rows(memories: Sequence[Prepared]) -> str:
    """What ``_INSERT`` takes, as JSON. The order decides which of two alike is the memory."""
    rows = [
        row(memory.content)
        | {
            "memory_id": str(memory.memory_id),
            "space_id": str(memory.space_id),
            "external_id": memory.external_id,
            "identity": memory.identity.hex(),
            "number": number,
        }
        for number, memory in enumerate(memories)
    ]
    return json.dumps(rows, ensure_ascii=False)


def _written(memory: Prepared, ids: Mapping[tuple[UUID, bytes], UUID]) -> Written:
    known = ids.get((memory.space_id, memory.identity))
    if known is None:
        # Deleted between the two statements: say so rather than lose the write.
        raise AlreadyExists("a memory with this content was deleted just now; send the request again")
    return Written(known, memory.external_id, Outcome.CREATED if known == memory.memory_id else Outcome.DUPLICATE)
