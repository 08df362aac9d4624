"""Making and moving generations in PostgreSQL, as the operator, with an entry in the tenant's or the operator's log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from memoryd.errors import AlreadyExists, Conflict, Forbidden, NotFound, WrongState
from memoryd.generations.model import Actor, Generation, ItemKind, Mark, NewGeneration, Progress, Registered, State
from memoryd.generations.owed import settled
from memoryd.generations.ports import Report
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Receipt
from memoryd.stores.database import Database
from memoryd.stores.generation_requests import answered, earlier, log, reserved
from memoryd.stores.generations import ALONE, COLUMNS, generation
from memoryd.stores.trips import Connection
from retrieval.filters import JsonValue

WHOLE = f"""
{COLUMNS}, total, done, embedded, tokens, busy_s, at_tenant, at_kind, at_pid, paused, failure,
EXISTS (SELECT FROM generation_gaps p WHERE p.generation = g.generation), report, forced, created_by, created_at, live_at,
drained_at, retired_at, purged_at
"""
_VISIBLE = "(%(tenant)s::uuid IS NULL OR g.tenant_id IS NULL OR g.tenant_id = %(tenant)s)"
_PAGE = f"""
SELECT {WHOLE} FROM generations g WHERE {_VISIBLE} AND g.generation > %(after)s ORDER BY g.generation LIMIT %(limit)s
"""
_ONE = f"SELECT {WHOLE} FROM generations g WHERE {_VISIBLE} AND g.generation = %(number)s"
_OF_SCOPE = f"""
SELECT {COLUMNS} FROM generations
WHERE tenant_id IS NOT DISTINCT FROM %(tenant)s AND kb_id IS NOT DISTINCT FROM %(kb)s AND state <> 'retired'
"""
_UNRETIRED = """
SELECT count(*) FILTER (WHERE (tenant_id IS NULL) = (%(tenant)s::uuid IS NULL)), count(*) FILTER (WHERE tenant_id = %(tenant)s)
FROM generations WHERE state <> 'retired'
"""
_ADD = """
INSERT INTO generations (model, revision, dimension, query_prefix, passage_prefix, tenant_id, kb_id, state, created_by,
    created_at)
VALUES (%(model)s, %(revision)s, %(dimension)s, %(query_prefix)s, %(passage_prefix)s, %(tenant)s, %(kb)s, 'building', %(by)s,
    %(now)s)
RETURNING generation
"""
_TABLE = "SELECT add_vectors_table(%(number)s, %(dimension)s)"
_PAUSE = "UPDATE generations SET paused = %(paused)s WHERE generation = %(number)s"
# Moves "live" in one statement; either of the two may be nobody.
_MOVE = """
UPDATE generations SET
    state = CASE WHEN generation = %(live)s THEN 'live' ELSE 'draining' END,
    live_at = CASE WHEN generation = %(live)s THEN %(now)s ELSE live_at END,
    drained_at = CASE WHEN generation = %(live)s THEN NULL ELSE %(now)s END,
    replaced = CASE WHEN generation = %(live)s AND %(forward)s THEN %(drained)s ELSE replaced END,
    forced = CASE WHEN generation = %(live)s THEN %(forced)s ELSE forced END
WHERE generation = %(live)s AND state IN ('verifying', 'draining') OR generation = %(drained)s AND state = 'live'
"""
_RETIRE = "UPDATE generations SET state = 'retired', retired_at = %(now)s, paused = false WHERE generation = %(number)s"
_LOCK = "SELECT FROM generations WHERE generation = %(number)s FOR UPDATE"
_REPORT = "UPDATE generations SET report = %(report)s WHERE generation = %(number)s AND state <> 'retired'"
# Of what is live around a tenant's own generation, and lacks vectors of this tenant.
_LACKING_AROUND = """
SELECT g.generation FROM generations g JOIN generation_gaps p USING (generation)
WHERE p.tenant_id = %(tenant)s AND g.state = 'live' AND g.kb_id IS NULL AND g.generation <> %(number)s LIMIT 1
"""
OWE = """
UPDATE generations SET
    report = '{"owed": {}}'::jsonb || coalesce(report, '{}') || '{"passed": false}'::jsonb || %(note)s::jsonb
WHERE generation = %(number)s AND state IN ('verifying', 'live', 'draining')
"""
"""The report does not pass until the worker has measured again; see :mod:`memoryd.generations.owed`."""
# Behind the longest statement of a write that began before; whoever asked can ask again.
_PATIENCE = "SET LOCAL lock_timeout = '5s'"
_MOST = 32
"""Unretired generations of an installation, and as many of all its tenants: each is a table, which every plan over vectors has
to look at. Apart, for tenants must not keep the operator from changing the model."""
_MOST_OF_A_TENANT = 8
_TTL = timedelta(days=1)


class PgRegistry:
    """:class:`memoryd.generations.ports.Registry` on PostgreSQL. ``idempotency_ttl``: how long the operator's keys are kept."""

    def __init__(self, database: Database, *, idempotency_ttl: timedelta = _TTL) -> None:
        self._database = database
        self._ttl = idempotency_ttl

    async def page(self, actor: Actor, *, after: int, limit: int) -> list[Registered]:
        """By number; a tenant sees its own and the installation's."""
        async with self._database.operator() as connection:
            params = {"tenant": actor.tenant_id, "after": after, "limit": limit}
            return [registered(row) for row in await (await connection.execute(_PAGE, params)).fetchall()]

    async def get(self, actor: Actor, number: int) -> Registered:
        """Raises ``NotFound``."""
        async with self._database.operator() as connection:
            return await _one(connection, actor, number)

    async def earlier(self, actor: Actor, idempotency: Idempotency) -> Registered | None:
        """What the first of repeated requests made, as it is by now. Raises ``IdempotencyKeyReused``."""
        receipt = await earlier(self._database, actor, idempotency, self._ttl)
        return None if receipt is None else await self.get(actor, _number(receipt))

    async def add(self, actor: Actor, new: NewGeneration, *, idempotency: Idempotency | None) -> Registered:
        """Make one, with the table of its vectors; the one that the first of repeated requests made, as it is by now.

        Raises ``AlreadyExists``, ``Conflict``.
        """
        params: dict[str, object] = {
            "model": new.model,
            "revision": new.revision,
            "dimension": new.dimension,
            "query_prefix": new.query_prefix,
            "passage_prefix": new.passage_prefix,
            "tenant": new.tenant_id,
            "kb": new.kb_id,
            "by": actor.principal,
            "now": actor.at,
        }
        async with self._alone() as connection:
            replay = None if idempotency is None else await reserved(connection, actor, idempotency, self._ttl)
            if replay is not None:
                return await _one(connection, actor, _number(replay))
            rows = await (await connection.execute(_OF_SCOPE, params)).fetchall()
            for one in map(generation, rows):
                if (one.model, one.revision) == (new.model, new.revision):
                    raise AlreadyExists(f"generation {one.number} is of this model, and {one.state}")
                if one.state in (State.BUILDING, State.CATCHING_UP, State.VERIFYING):
                    raise Conflict(f"generation {one.number} is {one.state}: cut over to it or retire it first")
            ((count, own),) = await (await connection.execute(_UNRETIRED, params)).fetchall()
            if count >= _MOST or own >= _MOST_OF_A_TENANT:
                there = own if own >= _MOST_OF_A_TENANT else count
                raise Conflict(f"there are {there} generations that are not retired, and no more are allowed")
            ((number,),) = await (await connection.execute(_ADD, params)).fetchall()
            if new.kb_id is None:
                await connection.execute(_TABLE, {"number": number, "dimension": new.dimension})
            made = await _one(connection, actor, number)
            await log(connection, actor, made.generation, "create", {"model": new.model})
            if idempotency is not None:
                await answered(connection, actor, idempotency, {"generation": number})
        return made

    async def set_paused(self, actor: Actor, number: int, *, paused: bool) -> Registered:
        """Raises ``NotFound``, ``Forbidden``, ``WrongState``."""
        async with self._database.operator() as connection:
            found = await _own(connection, actor, number)
            if found.generation.state is State.RETIRED:
                raise _wrong(found, "pause" if paused else "resume")
            if found.paused != paused:
                await connection.execute(_PAUSE, {"number": number, "paused": paused})
                await log(connection, actor, found.generation, "pause" if paused else "resume", {})
            return await _one(connection, actor, number)

    async def keep_report(self, actor: Actor, number: int, report: Report, *, answers: JsonValue = None) -> Registered:
        """What a verification found, settled with what is kept. Raises ``NotFound``."""
        async with self._database.operator() as connection:
            # What was measured at the same time waits, and is settled with this.
            await connection.execute(_LOCK, {"number": number})
            found = await _one(connection, actor, number)
            await connection.execute(_REPORT, {"number": number, "report": Jsonb(settled(report, found.report, answers))})
            return await _one(connection, actor, number)

    async def owe_report(self, actor: Actor, number: int, note: Report) -> Registered:
        """The worker is to measure again. Raises ``NotFound``."""
        async with self._database.operator() as connection:
            await connection.execute(OWE, {"number": number, "note": Jsonb(note)})
            return await _one(connection, actor, number)

    async def cut_over(self, actor: Actor, number: int, *, before: int | None, forced: str | None) -> Registered:
        """One UPDATE: ``number`` live, and ``before`` draining.

        Raises ``NotFound``, ``Forbidden``, ``WrongState``, and ``Conflict`` when another was live, or vectors are missing.
        """
        async with self._alone() as connection:
            found = await _own(connection, actor, number)
            if found.generation.state not in (State.VERIFYING, State.DRAINING):
                raise _wrong(found, "cut over to")
            live = await _live(connection, found.generation)
            if (None if live is None else live.number) != before:
                raise Conflict("another generation was made live meanwhile: look again")
            await _move(connection, actor, live=found, drained=before, forward=True, forced=forced)
            await log(connection, actor, found.generation, "cutover", {"before": before, "forced": forced})
            return await _one(connection, actor, number)

    async def roll_back(self, actor: Actor, number: int, *, forced: str | None) -> Registered:
        """One UPDATE: what it replaced is live again. Where that is retired, what that had replaced is; where nothing is left,
        the scope around it serves again. Nothing is done where it is so already.

        Raises as :meth:`cut_over`.
        """
        async with self._alone() as connection:
            found = await _own(connection, actor, number)
            back = await _before(connection, actor, found.generation)
            to = None if back is None else back.generation.number
            if found.generation.state is State.DRAINING:
                live = await _live(connection, found.generation)
                if (None if live is None else live.number) != to:
                    also = "" if live is None else f", and {live.number} is live: roll back {live.number}"
                    raise WrongState(f"generation {number} is draining{also}", found.generation.state.value)
                return found
            if found.generation.state is not State.LIVE:
                raise _wrong(found, "roll back")
            if back is None:
                await _served_around(connection, found.generation, forced)
            await _move(connection, actor, live=back, drained=number, forward=False, forced=forced)
            await log(connection, actor, found.generation, "rollback", {"to": to, "forced": forced})
            return await _one(connection, actor, number)

    async def retire(self, actor: Actor, number: int) -> Registered:
        """Nobody writes to it from now on. Raises ``NotFound``, ``Forbidden``, ``WrongState`` for what is live."""
        async with self._alone() as connection:
            found = await _own(connection, actor, number)
            if found.generation.state is State.LIVE:
                raise _wrong(found, "retire")
            if found.generation.state is not State.RETIRED:
                await connection.execute(_RETIRE, {"number": number, "now": actor.at})
                await log(connection, actor, found.generation, "retire", {})
            return await _one(connection, actor, number)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Connection]:
        """A transaction as the operator beside which nobody writes vectors: those who did have committed."""
        async with self._database.operator() as connection:
            await connection.execute(_PATIENCE)
            await connection.execute(ALONE)
            yield connection


async def _move(
    connection: Connection, actor: Actor, *, live: Registered | None, drained: int | None, forward: bool, forced: str | None
) -> None:
    if live is not None and live.gaps and forced is None:
        raise _lacks(live.generation.number)
    params = {
        "live": None if live is None else live.generation.number,
        "drained": drained,
        "forward": forward,
        "forced": forced,
        "now": actor.at,
    }
    wanted = sum(one is not None for one in (live, drained))
    if (await connection.execute(_MOVE, params)).rowcount != wanted:
        raise Conflict("the generations changed meanwhile: look again")


async def _one(connection: Connection, actor: Actor, number: int) -> Registered:
    row = await (await connection.execute(_ONE, {"tenant": actor.tenant_id, "number": number})).fetchone()
    if row is None:
        raise NotFound("no such generation")
    return registered(row)


def _number(receipt: Receipt) -> int:
    return int(str(receipt["generation"]))


async def _own(connection: Connection, actor: Actor, number: int) -> Registered:
    found = await _one(connection, actor, number)
    if actor.tenant_id is not None and found.generation.tenant_id is None:
        raise Forbidden("a generation of the installation needs the operator's key")
    return found


async def _live(connection: Connection, of: Generation) -> Generation | None:
    rows = await (await connection.execute(_OF_SCOPE, {"tenant": of.tenant_id, "kb": of.kb_id})).fetchall()
    return next((one for one in map(generation, rows) if one.state is State.LIVE), None)


async def _before(connection: Connection, actor: Actor, of: Generation) -> Registered | None:
    """What a rollback makes live: of those that it and they replaced, the first that is written to; ``None`` where none is."""
    seen, number = {of.number}, of.replaced
    while number is not None and number not in seen:
        one = await _one(connection, actor, number)
        if one.generation.state is not State.RETIRED:
            return one
        seen.add(number)
        number = one.generation.replaced
    return None


async def _served_around(connection: Connection, of: Generation, forced: str | None) -> None:
    """Raises ``Conflict`` unless what serves the scope around it can take its place."""
    if of.tenant_id is None and of.replaced is None:
        raise Conflict("it is the first generation of the installation: there is nothing to go back to")
    if of.tenant_id is None:
        raise WrongState(f"generation {of.replaced} is retired: there is nothing to go back to", State.RETIRED.value)
    around = await (await connection.execute(_LACKING_AROUND, {"tenant": of.tenant_id, "number": of.number})).fetchone()
    if around is not None and forced is None:
        raise _lacks(around[0])


def _lacks(number: int) -> Conflict:
    return Conflict(f"generation {number} lacks vectors that the worker is still making: try again soon")


def _wrong(found: Registered, verb: str) -> WrongState:
    state = found.generation.state
    return WrongState(f"generation {found.generation.number} is {state}: it is not one to {verb}", state.value)


def registered(row: TupleRow) -> Registered:
    """A row of :data:`WHOLE`."""
    named, (total, done, embedded, tokens, busy_s), (tenant, kind, pid), rest = row[:10], row[10:15], row[15:18], row[18:]
    mark = None if tenant is None else Mark(tenant, ItemKind(kind), pid)
    return Registered(generation(named), Progress(total, done, embedded, tokens, busy_s), mark, *rest)


def as_operator(now: datetime, request_id: str) -> Actor:
    """The operator, or the service itself."""
    return Actor(None, "operator", request_id, now)
