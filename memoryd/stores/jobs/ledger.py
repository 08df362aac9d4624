""":class:`memoryd.jobs.ports.Ledger` in PostgreSQL: what callers make, see and ask of jobs."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from memoryd.errors import NotFound, WrongState
from memoryd.ids import uuid7_behind
from memoryd.jobs.decide import decide
from memoryd.jobs.model import Command, DeadLetter, ItemState, Job, JobItem, JobState, NewItem, NewJob
from memoryd.memory.model import Idempotency
from memoryd.stores import idempotency
from memoryd.stores.audit import Entry, append_audit
from memoryd.stores.database import Database
from memoryd.stores.jobs.rows import JOB, LISTED, OF, RELEASE, cancel, changed, item, job
from memoryd.stores.trips import Connection
from memoryd.threads import BULK
from retrieval.filters import JsonValue
from retrieval.scope import Scope

_ADD = """
INSERT INTO jobs (tenant_id, job_id, kind, kb_id, space, state, payload, items, created_by, actions, created_at, updated_at,
                  not_before, turn_at)
VALUES (%(tenant)s, %(job)s, %(kind)s, %(kb)s, %(space)s, 'queued', %(payload)s, %(items)s, %(by)s, %(actions)s, %(now)s,
        %(now)s, %(now)s, %(now)s)
"""
# Who orders one job after the other may be answered by machines whose clocks differ.
_NEWEST = "SELECT job_id FROM jobs WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s ORDER BY job_id DESC LIMIT 1"
_ADD_ITEMS = """
INSERT INTO job_items (tenant_id, job_id, item, document_id, source, not_before)
SELECT %(tenant)s, %(job)s, one.number - 1, one.value->>0, one.value->1, %(now)s
FROM jsonb_array_elements(%(new)s::jsonb) WITH ORDINALITY AS one (value, number)
"""
_SEEN: LiteralString = "(%(spaces)s::text[] IS NULL OR space = ANY(%(spaces)s))"
_ONE = f"SELECT {JOB} FROM jobs WHERE {OF} AND {_SEEN}"
_LOCK = f"SELECT {JOB}, coalesce(lease_until > %(now)s, false) FROM jobs WHERE {OF} AND {_SEEN} FOR UPDATE"
_PAGE = f"SELECT {JOB} FROM jobs WHERE tenant_id = %(tenant)s AND {_SEEN} {{where}} ORDER BY job_id DESC LIMIT %(limit)s"
_ITEMS = f"SELECT {LISTED} FROM job_items WHERE {OF} AND item > %(after)s {{where}} ORDER BY item LIMIT %(limit)s"
_DEAD = f"""
SELECT j.kind, j.kb_id, i.* FROM (
    SELECT {LISTED} FROM job_items WHERE tenant_id = %(tenant)s AND dead AND (job_id, item) > (%(job)s, %(item)s)) i
JOIN jobs j ON j.tenant_id = %(tenant)s AND j.job_id = i.job_id
WHERE (%(spaces)s::text[] IS NULL OR j.space = ANY(%(spaces)s))
ORDER BY i.job_id, i.item LIMIT %(limit)s
"""
# A worker that holds it will see the wish; one whose lease ran out must not write any more.
_WISH = f"""
UPDATE jobs SET wish = %(wish)s, updated_at = %(now)s, revision = revision + 1 WHERE {OF} RETURNING {JOB}
"""
_MOVE = f"""
UPDATE jobs SET state = %(state)s, wish = NULL, {RELEASE}, not_before = %(now)s, updated_at = %(now)s, revision = revision + 1
WHERE {OF} RETURNING {JOB}
"""
# What a worker that died left running waits with the others; its attempt counts.
_SET_DOWN = f"UPDATE job_items SET state = 'queued', not_before = %(now)s WHERE {OF} AND state = 'running'"
_REQUEUE = f"""
UPDATE job_items SET state = 'queued', attempts = 0, dead = false, reason = NULL, detail = NULL, finished_at = NULL,
    not_before = %(now)s
WHERE {OF} AND state = 'failed' {{where}}
"""
_REOPEN = f"""
UPDATE jobs SET state = %(state)s, failed = failed - %(requeued)s, error_code = NULL, error_detail = NULL, attempts = 0,
    finished_at = NULL, not_before = %(now)s, updated_at = %(now)s, revision = revision + 1
WHERE {OF} RETURNING {JOB}
"""
_FIRST = UUID(int=0)


class PgLedger:
    """Jobs as their callers see them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, scope: Scope, job_id: UUID, new: NewJob, now: datetime, once: Idempotency | None) -> UUID:
        """See :class:`memoryd.jobs.ports.Ledger`."""
        items = await BULK.run(_encoded, new.items)
        params = {
            "tenant": scope.tenant_id,
            "job": job_id,
            "kind": new.kind,
            "kb": new.kb_id,
            "space": new.space,
            "payload": Jsonb(new.payload),
            "items": len(new.items),
            "by": scope.principal,
            "actions": sorted(scope.actions),
            "now": now,
            "new": items,
        }
        async with self._database.transaction(scope) as connection:
            if once is not None and (replay := await idempotency.reserve(connection, scope, once)) is not None:
                return UUID(str(replay["job_id"]))
            newest = await (await connection.execute(_NEWEST, params)).fetchone()
            if newest is not None and newest[0] >= job_id:
                job_id = params["job"] = uuid7_behind(newest[0])
            await connection.execute(_ADD, params)
            await connection.execute(_ADD_ITEMS, params)
            detail: dict[str, JsonValue] = {"kind": new.kind, "items": len(new.items)}
            await append_audit(connection, scope, Entry("job.create", "job", (job_id,), detail), now)
            if once is not None:
                await idempotency.answer(connection, scope, once, {"job_id": str(job_id)})
        return job_id

    async def job(self, scope: Scope, job_id: UUID) -> Job:
        """See :class:`memoryd.jobs.ports.Ledger`."""
        rows = await self._database.read(scope, _ONE, _params(scope, job_id))
        if not rows:
            raise NotFound("no such job")
        return job(rows[0])

    async def page(
        self, scope: Scope, *, state: JobState | None, kb_id: UUID | None, before: UUID | None, limit: int
    ) -> list[Job]:
        """See :class:`memoryd.jobs.ports.Ledger`."""
        where = (" AND state = %(state)s" if state else "") + (" AND kb_id = %(kb)s" if kb_id else "")
        where += " AND job_id < %(before)s" if before else ""
        params = _params(scope, _FIRST) | {"state": state, "kb": kb_id, "before": before, "limit": limit}
        return [job(row) for row in await self._database.read(scope, _PAGE.format(where=where), params)]

    async def items(self, scope: Scope, job_id: UUID, *, state: ItemState | None, after: int, limit: int) -> list[JobItem]:
        """See :class:`memoryd.jobs.ports.Ledger`."""
        where = "AND state = %(state)s" if state else ""
        params = _params(scope, job_id) | {"state": state, "after": after, "limit": limit}
        seen, rows = await self._database.read_all(scope, [(_ONE, params), (_ITEMS.format(where=where), params)])
        if not seen:
            raise NotFound("no such job")
        return [item(row) for row in rows]

    async def act(self, scope: Scope, job_id: UUID, command: Command, now: datetime, once: Idempotency | None) -> Job:
        """See :class:`memoryd.jobs.ports.Ledger`."""
        params = _params(scope, job_id) | {"now": now}
        async with self._database.transaction(scope) as connection:
            replay = await idempotency.reserve(connection, scope, once) if once is not None else None
            found, held = await _locked(connection, params)
            if replay is not None:
                return found
            after = await self._acted(connection, scope, found, command, now, held=held)
            if once is not None:
                await idempotency.answer(connection, scope, once, {"job_id": str(job_id)})
        return after

    async def _acted(
        self, connection: Connection, scope: Scope, found: Job, command: Command, now: datetime, *, held: bool
    ) -> Job:
        change = decide(found.state, found.wish, command, held=held)
        if change is None:
            return found
        params = _params(scope, found.job_id) | {"now": now, "state": change.state, "wish": change.wish}
        if change.drop:
            after = await cancel(connection, scope.tenant_id, found.job_id, now)
        elif change.requeue:
            requeued = (await connection.execute(_REQUEUE.format(where="").encode(), params)).rowcount
            after = await changed(connection, _REOPEN, params | {"requeued": requeued})
        elif change.state is found.state:
            after = await changed(connection, _WISH, params)
        else:
            await connection.execute(_SET_DOWN, params)
            after = await changed(connection, _MOVE, params)
        await append_audit(connection, scope, Entry(f"job.{command.value}", "job", (found.job_id,)), now)
        return after

    async def dead(self, scope: Scope, *, after: tuple[UUID, int] | None, limit: int) -> list[DeadLetter]:
        """See :class:`memoryd.jobs.ports.Ledger`."""
        last, number = after or (_FIRST, 0)
        rows = await self._database.read(scope, _DEAD, _params(scope, last) | {"item": number, "limit": limit})
        return [DeadLetter(kind, kb_id, item(tuple(rest))) for kind, kb_id, *rest in rows]

    async def replay(
        self, scope: Scope, job_id: UUID, items: Sequence[int] | None, now: datetime, once: Idempotency | None
    ) -> int:
        """See :class:`memoryd.jobs.ports.Ledger`."""
        params = _params(scope, job_id) | {"now": now, "items": None if items is None else list(items)}
        where = "AND dead" + ("" if items is None else " AND item = ANY(%(items)s::int[])")
        async with self._database.transaction(scope) as connection:
            if once is not None and (replay := await idempotency.reserve(connection, scope, once)) is not None:
                return int(str(replay["replayed"]))
            found, _ = await _locked(connection, params)
            if found.state is JobState.CANCELLED or found.wish is not None:
                raise WrongState("the job is cancelled, or about to stop: its dead letters stay as they are", found.state.value)
            requeued = (await connection.execute(_REQUEUE.format(where=where).encode(), params)).rowcount
            if requeued:
                state = JobState.QUEUED if found.state.final else found.state
                await changed(connection, _REOPEN, params | {"state": state, "requeued": requeued})
                detail: dict[str, JsonValue] = {"items": requeued}
                await append_audit(connection, scope, Entry("job.replay", "job", (job_id,), detail), now)
            if once is not None:
                await idempotency.answer(connection, scope, once, {"job_id": str(job_id), "replayed": requeued})
        return requeued


async def _locked(connection: Connection, params: dict[str, object]) -> tuple[Job, bool]:
    row = await (await connection.execute(_LOCK, params)).fetchone()
    if row is None:
        raise NotFound("no such job")
    *columns, held = row
    return job(tuple(columns)), held


def _params(scope: Scope, job_id: UUID) -> dict[str, object]:
    spaces = None if scope.spaces is None else sorted(scope.spaces)
    return {"tenant": scope.tenant_id, "job": job_id, "spaces": spaces}


def _encoded(items: Sequence[NewItem]) -> str:
    """Ten thousand sources as one parameter, in a thread: some of them hold texts."""
    return json.dumps([[one.document_id, one.source] for one in items])
