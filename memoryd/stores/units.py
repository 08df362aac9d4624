"""Units of work on PostgreSQL: everything that one write changes commits together, or not at all."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from memoryd.errors import AlreadyExists, NotFound
from memoryd.memory.model import Change, Idempotency, Outcome, Prepared, Revision, Written
from memoryd.memory.ports import Clock, NewRevision, Receipt
from memoryd.stores import idempotency as idempotency_store
from memoryd.stores.audit import Entry, append_audit
from memoryd.stores.database import Connection, Database
from memoryd.stores.passage_rows import Addressed, PassageRows
from memoryd.stores.revisions import HEAD, revision, row
from retrieval.filters import JsonValue
from retrieval.scope import Scope

_INSERT_MEMORIES = """
INSERT INTO memories (tenant_id, memory_id, space_id, external_id, identity, created_at)
SELECT %(tenant)s, q.memory_id, q.space_id, q.external_id, decode(q.identity, 'hex'), %(now)s
FROM jsonb_to_recordset(%(rows)s) AS q(memory_id uuid, space_id uuid, external_id text, identity text, number int)
ORDER BY q.number
ON CONFLICT (tenant_id, space_id, identity) DO NOTHING
RETURNING memory_id, seq
"""
_SAME = """
SELECT memory_id FROM memories WHERE tenant_id = %(tenant)s AND space_id = %(space)s AND identity = %(identity)s
"""
_INSERT_REVISIONS = """
INSERT INTO memory_revisions (tenant_id, memory_id, revision, space_id, seq, action, actor, reason, recorded_at, retired_at,
    kind, text, speaker, role, user_id, agent_id, session_id, event_time, occurred_at, valid_from, valid_to, source_type,
    source_uri, confidence, topics, metadata, supersedes, superseded_by, live)
SELECT %(tenant)s, q.memory_id, q.revision, q.space_id, q.seq, q.action, %(actor)s, q.reason, %(now)s, q.retired_at,
    q.kind, q.text, q.speaker, q.role, q.user_id, q.agent_id, q.session_id, q.event_time,
    coalesce(q.event_time, q.created_at), q.valid_from, q.valid_to, q.source_type, q.source_uri, q.confidence, q.topics,
    q.metadata, q.supersedes, q.superseded_by, q.live
FROM jsonb_to_recordset(%(rows)s) AS q(memory_id uuid, revision int, space_id uuid, seq bigint, action text, reason text,
    retired_at timestamptz, created_at timestamptz, kind text, text text, speaker text, role text, user_id text,
    agent_id text, session_id text, event_time timestamptz, valid_from timestamptz, valid_to timestamptz,
    source_type text, source_uri text, confidence float8, topics text[], metadata jsonb, supersedes uuid,
    superseded_by uuid, live bool)
"""
_LOCK = "SELECT FROM memories WHERE tenant_id = %(tenant)s AND memory_id = %(memory)s FOR UPDATE"
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


class PgUnits:
    """:class:`memoryd.memory.ports.Units` on PostgreSQL."""

    def __init__(self, database: Database, clock: Clock, *, generation: int) -> None:
        self._database = database
        self._clock = clock
        self._generation = generation

    @asynccontextmanager
    async def begin(self, scope: Scope, idempotency: Idempotency | None) -> AsyncIterator["PgUnit"]:
        """One transaction as the scope's tenant."""
        async with self._database.transaction(scope) as connection:
            replay = None
            if idempotency is not None:
                replay = await idempotency_store.reserve(connection, scope, idempotency)
            unit = PgUnit(connection, scope, self._clock.now(), self._generation, idempotency, replay)
            yield unit
            await unit.finish()


class PgUnit:
    """:class:`memoryd.memory.ports.Unit` over one open transaction."""

    def __init__(
        self,
        connection: Connection,
        scope: Scope,
        now: datetime,
        generation: int,
        idempotency: Idempotency | None,
        replay: Receipt | None,
    ) -> None:
        self._connection = connection
        self._scope = scope
        self._now = now
        self._idempotency = idempotency
        self._replay = replay
        self._passages = PassageRows(connection, scope.tenant_id, generation)

    @property
    def replay(self) -> Receipt | None:
        """The receipt of an earlier request with the same key."""
        return self._replay

    async def insert(self, memories: Sequence[Prepared]) -> list[Written]:
        """Insert what is new; a memory that exists already, or twice in ``memories``, is answered with its id."""
        rows: list[JsonValue] = [
            {
                "memory_id": str(memory.memory_id),
                "space_id": str(memory.space_id),
                "external_id": memory.external_id,
                "identity": memory.identity.hex(),
                "number": number,
            }
            for number, memory in enumerate(memories)
        ]
        params = {"tenant": self._scope.tenant_id, "now": self._now, "rows": Jsonb(rows)}
        inserted: dict[UUID, int] = dict(await (await self._connection.execute(_INSERT_MEMORIES, params)).fetchall())
        new = [memory for memory in memories if memory.memory_id in inserted]
        await self._insert_revisions([self._first(memory, inserted[memory.memory_id]) for memory in new])
        await self._passages.insert([Addressed(m.memory_id, 1, m.space_id, m.passages, live=True) for m in new])
        ids = {(memory.space_id, memory.identity): memory.memory_id for memory in new}
        return [await self._written(memory, inserted, ids) for memory in memories]

    async def lock(self, memory_id: UUID) -> Revision | None:
        """The head revision, deleted memories included, locked until the unit ends; ``None`` outside the key's spaces."""
        params = {"tenant": self._scope.tenant_id, "memory": memory_id}
        await self._connection.execute(_LOCK, params)
        found = await (await self._connection.execute(HEAD, params)).fetchone()
        head = revision(found) if found else None
        return head if head and self._scope.may_use(head.space) else None

    async def revise(self, head: Revision, new: NewRevision) -> int:
        """Retire ``head`` and append ``new``; its number."""
        number = head.revision + 1
        deleted = new.action is Change.DELETED
        live = not deleted and new.superseded_by is None
        params: dict[str, object] = {
            "tenant": self._scope.tenant_id,
            "memory": head.memory_id,
            "now": self._now,
            "deleted_at": self._now if deleted else None,
            "identity": new.identity,
        }
        await self._connection.execute(_RETIRE, params | {"revision": head.revision})
        try:
            await self._connection.execute(_ADVANCE, params | {"revision": number})
        except psycopg.errors.UniqueViolation as error:
            raise AlreadyExists("the space has another memory with this very content") from error
        record = self._record(head.memory_id, head.space_id, number, head.seq, head.created_at, new.action)
        record |= row(new.content)
        record["reason"] = new.reason
        record["superseded_by"] = str(new.superseded_by) if new.superseded_by else None
        record["live"] = live
        record["retired_at"] = self._now.isoformat() if deleted else None
        await self._insert_revisions([record])
        await self._passages.retire(head.memory_id)
        if new.passages is not None:
            addressed = Addressed(head.memory_id, number, head.space_id, new.passages, live=live)
            await self._passages.insert([addressed])
            if new.keep_vectors:
                await self._passages.copy_vectors(head.memory_id, old=head.revision, new=number, live=live)
        return number

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
        await append_audit(self._connection, self._scope, entry, self._now)

    async def receipt(self, receipt: Receipt) -> None:
        """Keep what a repeated request is answered with; nothing to do without an Idempotency-Key."""
        if self._idempotency is not None:
            await idempotency_store.answer(self._connection, self._scope, self._idempotency, receipt)

    async def finish(self) -> None:
        """Write the statistics; called by the unit of work just before it commits."""
        await self._passages.write_statistics()

    async def _written(self, memory: Prepared, inserted: dict[UUID, int], ids: dict[tuple[UUID, bytes], UUID]) -> Written:
        if memory.memory_id in inserted:
            return Written(memory.memory_id, memory.external_id, Outcome.CREATED)
        existing = ids.get((memory.space_id, memory.identity))
        if existing is None:
            params = {"tenant": self._scope.tenant_id, "space": memory.space_id, "identity": memory.identity}
            found = await (await self._connection.execute(_SAME, params)).fetchone()
            # Deleted between the two statements: say so rather than lose the write.
            if found is None:
                raise AlreadyExists("a memory with this content was deleted just now; send the request again")
            existing = found[0]
        return Written(existing, memory.external_id, Outcome.DUPLICATE)

    def _first(self, memory: Prepared, seq: int) -> dict[str, JsonValue]:
        record = self._record(memory.memory_id, memory.space_id, 1, seq, self._now, Change.CREATED)
        return record | row(memory.content) | {"live": True}

    def _record(
        self, memory_id: UUID, space_id: UUID, number: int, seq: int, created_at: datetime, action: Change
    ) -> dict[str, JsonValue]:
        return {
            "memory_id": str(memory_id),
            "space_id": str(space_id),
            "revision": number,
            "seq": seq,
            "action": action,
            "created_at": created_at.isoformat(),
        }

    async def _insert_revisions(self, rows: Sequence[dict[str, JsonValue]]) -> None:
        if rows:
            params = {
                "tenant": self._scope.tenant_id,
                "actor": self._scope.principal,
                "now": self._now,
                "rows": Jsonb(list(rows)),
            }
            await self._connection.execute(_INSERT_REVISIONS, params)
