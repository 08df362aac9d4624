"""Idempotency keys around work that has transactions of its own.

The key is reserved in a transaction that stays open until the work has committed, and is answered then: a second request with one
key is told meanwhile that the first is still running, and finds its receipt after that. A crash between the work's commit and the
answer's loses the receipt only; the work must be such that doing it again changes nothing or is refused.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary

from memoryd.errors import IdempotencyInProgress
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Receipt
from memoryd.stores.database import Database
from memoryd.stores.idempotency import answer, reserve
from memoryd.stores.trips import Connection
from retrieval.scope import Scope

# It waits for the work, which may take as long as a knowledge base is large.
_WAITS = "SET LOCAL idle_in_transaction_session_timeout = 0"
# Of another process of the API too. Not waited for: a place and a connection would wait with it.
_ALONE = """
SELECT pg_try_advisory_xact_lock(hashtextextended(%(tenant)s::text || ':' || %(principal)s || ':' || %(key)s, 11))
"""
# Each takes a connection beside the one of its work: were all connections taken so, nobody could go on. Of two kinds of work
# all places together leave one of the smallest pool.
_AT_ONCE, _KINDS = 2, 2
_RUNNING = "a request with this Idempotency-Key is still running"


class PgOnce:
    """Does work once for one key of one principal: of one tenant one after the other, so that nobody takes all places.

    What takes moments and what takes as long as a knowledge base is large have one each: the one waits for the other otherwise.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._places = asyncio.Semaphore(max(1, min(_AT_ONCE, (database.size - 1) // _KINDS)))
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._running: set[tuple[UUID, str, str]] = set()

    async def run(self, scope: Scope, idempotency: Idempotency | None, work: Callable[[], Awaitable[Receipt]]) -> Receipt:
        """The receipt of ``work``, or of an earlier request with this key.

        Raises ``IdempotencyKeyReused``, and ``IdempotencyInProgress`` while that one is running or waits for its turn.
        """
        if idempotency is None:
            return await work()
        async with self._alone(scope, idempotency) as connection:
            earlier = await reserve(connection, scope, idempotency)
            if earlier is not None:
                return earlier
            await connection.execute(_WAITS)
            receipt = await work()
            await answer(connection, scope, idempotency, receipt)
            return receipt

    @asynccontextmanager
    async def _alone(self, scope: Scope, idempotency: Idempotency) -> AsyncIterator[Connection]:
        """The key's transaction, with the only place of its tenant."""
        name = (scope.tenant_id, scope.principal, idempotency.key)
        if name in self._running:
            raise IdempotencyInProgress(_RUNNING)
        self._running.add(name)
        try:
            async with (
                self._turns.setdefault(scope.tenant_id, asyncio.Lock()),
                self._places,
                self._database.transaction(scope) as connection,
            ):
                params = dict(zip(("tenant", "principal", "key"), name, strict=True))
                ((alone,),) = await (await connection.execute(_ALONE, params)).fetchall()
                if not alone:
                    raise IdempotencyInProgress(_RUNNING)
                yield connection
        finally:
            self._running.discard(name)
