""":class:`memoryd.jobs.ports.Desk` in PostgreSQL: what workers do to jobs, each step in one short transaction."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID, uuid4

from memoryd.errors import StoreUnavailable
from memoryd.jobs.decide import ended
from memoryd.jobs.model import (
    Again,
    Busy,
    Claim,
    Dead,
    Failure,
    ItemState,
    Job,
    JobItem,
    JobState,
    Outcome,
    Settled,
    Through,
    Waits,
    Wish,
)
from memoryd.jobs.ports import LeaseLost, NotYet
from memoryd.jobs.retry import WORKER_LOST
from memoryd.stores.database import Database
from memoryd.stores.jobs.endings import STILL, ending, returning
from memoryd.stores.jobs.rows import BEAT, ITEM, JOB, OF, RELEASE, cancel, changed, job, leave_behind
from memoryd.stores.jobs.rows import item as item_of
from memoryd.stores.trips import Connection, last_trip
from memoryd.together import Company, Together
from retrieval.scope import Scope

# Claims of one tenant take turns, so that its limit holds however many workers there are.
_TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended(%(tenant)s::text, 9))"
# None begins while another is to publish what is in the draft, and waits for those that are at it: jobs that come one after the
# other would keep it waiting for ever.
_RUNNABLE: LiteralString = """
tenant_id = %(tenant)s AND state IN ('queued', 'running') AND not_before <= %(now)s
AND (lease_until IS NULL OR lease_until <= %(now)s)
AND EXISTS (SELECT FROM tenants WHERE tenant_id = %(tenant)s AND suspended_at IS NULL)
AND (started_at IS NOT NULL OR NOT EXISTS (
    SELECT FROM jobs w WHERE w.tenant_id = %(tenant)s AND w.kb_id = jobs.kb_id AND w.state IN ('queued', 'running')
        AND w.error_code = %(not_yet)s))
"""
_NEXT_JOB = f"""
SELECT {JOB} FROM jobs WHERE {_RUNNABLE} AND kind = ANY(%(kinds)s)
    AND (SELECT count(*) FROM jobs WHERE tenant_id = %(tenant)s AND state IN ('queued', 'running')
         AND lease_until > %(now)s) < %(limit)s
ORDER BY turn_at, job_id LIMIT 1 FOR UPDATE
"""
_WAITING = f"SELECT job_id FROM jobs WHERE {_RUNNABLE} ORDER BY turn_at, job_id LIMIT 1"
_MAY_STAY = f"""
SELECT EXISTS (SELECT FROM tenants WHERE tenant_id = %(tenant)s AND suspended_at IS NULL)
    AND NOT EXISTS (SELECT FROM jobs WHERE {_RUNNABLE})
    AND (SELECT count(*) FROM job_items WHERE {OF} AND state = 'running') <= %(under_way)s
"""
# Locked in the order in which everybody locks several jobs. What an older job of its knowledge base may still come to is kept:
# it is not to bring back what this one has replaced.
_OLD = """
SELECT job_id FROM jobs WHERE tenant_id = %(tenant)s AND finished_at < %(before)s AND job_id = ANY(ARRAY(
    SELECT job_id FROM jobs j WHERE tenant_id = %(tenant)s AND finished_at < %(before)s AND NOT EXISTS (
        SELECT FROM jobs o WHERE o.tenant_id = %(tenant)s AND o.kb_id = j.kb_id AND o.job_id < j.job_id
            AND o.finished_at IS NULL)
    ORDER BY finished_at LIMIT %(batch)s))
ORDER BY job_id FOR UPDATE
"""
_FORGET = "DELETE FROM jobs WHERE tenant_id = %(tenant)s AND job_id = ANY(%(old)s::uuid[])"
# Each brings up to ten thousand items with it.
_FORGOTTEN = 10
_RECOVER = f"""
WITH lost AS (
    UPDATE job_items SET state = CASE WHEN attempts >= %(attempts)s THEN 'failed' ELSE 'queued' END,
        dead = attempts >= %(attempts)s, reason = '{WORKER_LOST}', detail = 'the worker that did this item ended in the middle',
        finished_at = CASE WHEN attempts >= %(attempts)s THEN %(now)s::timestamptz END, not_before = %(now)s
    WHERE {OF} AND state = 'running' RETURNING dead)
SELECT count(*) FILTER (WHERE dead) FROM lost
"""
# One that was held to be finished lost its worker at that: it was an attempt.
_CLAIM = f"""
UPDATE jobs SET state = 'running', lease_owner = %(owner)s, lease_until = %(until)s, beat_at = %(now)s, turn_at = %(now)s,
    started_at = coalesce(started_at, %(now)s), updated_at = %(now)s, failed = failed + %(lost)s, revision = revision + 1,
    attempts = attempts + (lease_until IS NOT NULL AND succeeded + unchanged + failed + cancelled >= items)::int
WHERE {OF} RETURNING {JOB}
"""
_PAUSE = f"""
UPDATE jobs SET state = 'paused', wish = NULL, {BEAT}, revision = revision + 1 WHERE {OF} RETURNING {JOB}
"""
_RELEASE = f"UPDATE jobs SET {RELEASE} WHERE {OF}"
_HELD: LiteralString = f"{OF} AND lease_owner = %(owner)s"
_LOCK = f"SELECT 1 FROM jobs WHERE {_HELD} FOR NO KEY UPDATE"
_BEAT = f"UPDATE jobs SET {BEAT}, lease_until = %(until)s WHERE {_HELD} RETURNING {JOB}"
_BEGIN = f"""
UPDATE job_items SET state = 'running', attempts = attempts + 1, started_at = coalesce(started_at, %(now)s), reason = NULL,
    detail = NULL
WHERE {OF} AND item = ANY(ARRAY(
        SELECT item FROM job_items WHERE {OF} AND state = 'queued' AND not_before <= %(now)s
        ORDER BY not_before, item LIMIT %(most)s))
    AND EXISTS (SELECT FROM jobs WHERE {OF} AND lease_owner = %(owner)s AND wish IS NULL)
RETURNING {ITEM}
"""
# One that was tried may have been the end of a worker: it has nothing beside it.
_BEGIN_UNTRIED = _BEGIN.replace("RETURNING", "AND attempts = 0 RETURNING")
_UNDER_WAY = f"""
SELECT EXISTS (SELECT FROM job_items WHERE {OF} AND state = 'running'),
    (SELECT min(not_before) FROM job_items WHERE {OF} AND state = 'queued')
"""
_HAND_BACK = f"""
UPDATE job_items SET state = 'queued', attempts = attempts - 1, not_before = %(now)s WHERE {OF} AND state = 'running'
"""
_WAIT = f"UPDATE jobs SET not_before = %(due)s, {RELEASE} WHERE {OF}"
_PROGRESS = f"""
UPDATE jobs SET {BEAT}, lease_until = %(until)s, chunks = chunks + %(chunks)s, tokens = tokens + %(tokens)s,
    revision = revision + %(seen)s
WHERE {_HELD} RETURNING wish
"""
_ITEM_PROGRESS = f"""
UPDATE job_items SET chunks = chunks + %(chunks)s, tokens = tokens + %(tokens)s
WHERE {OF} AND item = %(item)s AND state = 'running' AND {STILL}
"""
_LEFT = f"SELECT EXISTS (SELECT FROM job_items WHERE {OF} AND state IN ('queued', 'running'))"
_LATER = f"""
UPDATE jobs SET attempts = attempts + %(counted)s, not_before = %(due)s, error_code = %(code)s, error_detail = %(detail)s,
    {RELEASE}, revision = revision + 1
WHERE {OF} RETURNING {JOB}
"""
_FINISH = f"""
UPDATE jobs SET state = %(state)s, wish = NULL, error_code = %(code)s, error_detail = %(detail)s, finished_at = %(now)s,
    {RELEASE}, revision = revision + 1
WHERE {OF} RETURNING {JOB}
"""


@dataclass(frozen=True, slots=True)
class _End:
    """What an item came to."""

    claim: Claim
    item: int
    verdict: Outcome | Dead
    now: datetime


class PgDesk:
    """Jobs as workers see them. ``attempts``: how often an item is tried when workers die of it."""

    def __init__(self, database: Database, *, attempts: int, company: Company | None = None) -> None:
        """``company``: those who work on items, if several do."""
        self._database = database
        self._attempts = attempts
        self._settling = Together(self._settle_and_begin, company or Company(), final=(LeaseLost, StoreUnavailable))

    async def claim(self, tenant_id: UUID, kinds: Sequence[str], now: datetime, *, lease: timedelta, limit: int) -> Claim | None:
        """See :class:`memoryd.jobs.ports.Desk`."""
        owner = uuid4()
        params: dict[str, object] = {
            "tenant": tenant_id,
            "kinds": list(kinds),
            "now": now,
            "limit": limit,
            "owner": owner,
            "until": now + lease,
            "lease_s": lease.total_seconds(),
            "attempts": self._attempts,
            "not_yet": NotYet.code,
        }
        async with self._database.tenant(tenant_id) as connection:
            await connection.execute(_TAKE_TURNS, params)
            while row := await (await connection.execute(_NEXT_JOB, params)).fetchone():
                found = job(row)
                params["job"] = found.job_id
                lost = await (await connection.execute(_RECOVER, params)).fetchone()
                params["lost"] = lost[0] if lost else 0
                claimed = await changed(connection, _CLAIM, params)
                # Its worker died before it could do what was asked of it.
                if await _granted(connection, tenant_id, claimed, params, now):
                    continue
                if not claimed.counters.left and claimed.attempts >= self._attempts:
                    await _finish(
                        connection, claimed, Failure(WORKER_LOST, "the worker that finished this job ended in it"), params
                    )
                else:
                    return Claim(claimed, claimed.scope(tenant_id), owner, lease)
        return None

    async def next(self, claim: Claim, now: datetime) -> JobItem | Busy | Waits | Through | Settled:
        """See :class:`memoryd.jobs.ports.Desk`."""
        params = _params(claim, now) | {"most": 1}
        # Sent again where the connection was lost, it may begin one that nobody works on: the end of the turn finds it.
        held, begun = await self._database.at_once(claim.scope, [(_BEAT, params), (_BEGIN, params)])
        if (row := await begun.fetchone()) is not None:
            return item_of(row)
        if not held.rowcount:
            raise LeaseLost
        # Behind a lock again: what is said of the job has to be so when it is done.
        async with self._database.opened(claim.scope, [(_BEAT, params), (_BEGIN, params)]) as (connection, (held, begun)):
            if (row := await begun.fetchone()) is not None:
                return item_of(row)
            if (row := await held.fetchone()) is not None:
                return await _nothing(connection, claim.scope.tenant_id, job(row), params, now)
        raise LeaseLost

    async def progress(self, claim: Claim, item: int | None, *, chunks: int, tokens: int, now: datetime) -> Wish | None:
        """See :class:`memoryd.jobs.ports.Desk`."""
        params = _params(claim, now) | {"item": item, "chunks": chunks, "tokens": tokens, "seen": int(bool(chunks or tokens))}
        beats = [(_PROGRESS, params)] if item is None or not params["seen"] else [(_PROGRESS, params), (_ITEM_PROGRESS, params)]
        async with self._database.transaction(claim.scope) as connection:
            held, *_ = await last_trip(connection, beats)
            row = await held.fetchone()
        if row is None:
            raise LeaseLost
        return Wish(row[0]) if row[0] else None

    async def settle(self, claim: Claim, item: int, verdict: Outcome | Again | Dead, now: datetime) -> None:
        """See :class:`memoryd.jobs.ports.Desk`."""
        params = _params(claim, now) | {"item": item}
        if isinstance(verdict, Again):
            # Not to be done twice: it may be begun again meanwhile.
            async with self._database.opened(claim.scope, [(_BEAT, params), returning(verdict, params)]) as (_, (held, _)):
                pass
        else:
            held, _ = await self._database.at_once(claim.scope, [(_LOCK, params), ending({item: verdict}, params)])
        if not held.rowcount:
            raise LeaseLost

    async def settle_and_next(self, claim: Claim, item: int, verdict: Outcome | Dead, now: datetime) -> JobItem | None:
        """See :class:`memoryd.jobs.ports.Desk`."""
        key = claim.scope.tenant_id, claim.job.job_id, claim.owner
        return await self._settling.ask(key, _End(claim, item, verdict, now))

    async def _settle_and_begin(self, key: tuple[Hashable, ...], ends: Sequence["_End"]) -> list[JobItem | None]:
        """The end of some items of one job, and the beginning of as many."""
        claim = ends[0].claim
        params = _params(claim, max(one.now for one in ends)) | {"most": len(ends)}
        sent = [(_LOCK, params), ending({one.item: one.verdict for one in ends}, params), (_BEGIN_UNTRIED, params)]
        held, _, begun = await self._database.at_once(claim.scope, sent)
        if not held.rowcount:
            raise LeaseLost
        following = sorted(map(item_of, await begun.fetchall()), key=lambda one: one.item)
        return [*following, *(None for _ in range(len(ends) - len(following)))]

    async def finish(self, claim: Claim, verdict: Failure | Again | None, now: datetime) -> Job:
        """See :class:`memoryd.jobs.ports.Desk`."""
        params = _params(claim, now)
        async with self._database.transaction(claim.scope) as connection:
            row = await (await connection.execute(_BEAT, params)).fetchone()
            if row is not None:
                return await _finish(connection, job(row), verdict, params)
        raise LeaseLost

    async def let_go(self, claim: Claim, now: datetime) -> None:
        """See :class:`memoryd.jobs.ports.Desk`."""
        params = _params(claim, now)
        async with self._database.transaction(claim.scope) as connection:
            if await (await connection.execute(_BEAT, params)).fetchone() is not None:
                for sql in (_HAND_BACK, _RELEASE):
                    await connection.execute(sql, params)

    async def may_stay(self, claim: Claim, under_way: int, now: datetime) -> bool:
        """See :class:`memoryd.jobs.ports.Desk`."""
        params = _params(claim, now) | {"under_way": under_way, "not_yet": NotYet.code}
        ((may,),) = await self._database.read(claim.scope, _MAY_STAY, params)
        return bool(may)

    async def waiting(self, tenant_id: UUID, now: datetime) -> UUID | None:
        """See :class:`memoryd.jobs.ports.Waiting`."""
        nobody = Scope(tenant_id, "worker", frozenset())
        rows = await self._database.read(nobody, _WAITING, {"tenant": tenant_id, "now": now, "not_yet": NotYet.code})
        return rows[0][0] if rows else None

    async def forget(self, tenant_id: UUID, before: datetime) -> int:
        """See :class:`memoryd.jobs.ports.Waiting`."""
        params = {"tenant": tenant_id, "before": before, "batch": _FORGOTTEN}
        async with self._database.tenant(tenant_id) as connection:
            old = [job_id for (job_id,) in await (await connection.execute(_OLD, params)).fetchall()]
            if old:
                await leave_behind(connection, tenant_id, old, [ItemState.FAILED])
                await connection.execute(_FORGET, params | {"old": old})
        return len(old)


def _params(claim: Claim, now: datetime) -> dict[str, object]:
    return {
        "tenant": claim.scope.tenant_id,
        "job": claim.job.job_id,
        "owner": claim.owner,
        "now": now,
        "until": now + claim.lease,
        "lease_s": claim.lease.total_seconds(),
    }


async def _granted(
    connection: Connection, tenant_id: UUID, found: Job, params: dict[str, object], now: datetime
) -> Settled | None:
    """Do what was asked of a job that is held; ``None``: nothing was."""
    if found.wish is None:
        return None
    if found.wish is Wish.CANCEL:
        after = await cancel(connection, tenant_id, found.job_id, now)
    else:
        after = await changed(connection, _PAUSE, params)
        await connection.execute(_RELEASE, params)
    return Settled(after.state)


async def _nothing(
    connection: Connection, tenant_id: UUID, found: Job, params: dict[str, object], now: datetime
) -> Busy | Waits | Through | Settled:
    """Why there is nothing to begin now."""
    ((under_way, due),) = await (await connection.execute(_UNDER_WAY, params)).fetchall()
    if under_way:
        return Busy()
    if (settled := await _granted(connection, tenant_id, found, params, now)) is not None:
        return settled
    if due is None:
        return Through(found)
    await connection.execute(_WAIT, params | {"due": due})
    return Waits(due)


async def _finish(connection: Connection, found: Job, verdict: Failure | Again | None, params: dict[str, object]) -> Job:
    left = await (await connection.execute(_LEFT, params)).fetchone()
    if left is not None and left[0]:
        await connection.execute(_RELEASE, params)
        return found
    failure = verdict.failure if isinstance(verdict, Again) else verdict
    said = {"code": failure.code if failure else None, "detail": failure.detail if failure else None}
    if isinstance(verdict, Again):
        return await changed(connection, _LATER, params | said | {"due": verdict.not_before, "counted": int(verdict.counted)})
    state: JobState = ended(found.counters, failed=failure is not None)
    return await changed(connection, _FINISH, params | said | {"state": state})
