"""Idempotency keys around work that has transactions of its own.

The key is reserved in a transaction that stays open until the work has committed, and is answered then: of two requests with
one key the second waits and finds the receipt of the first. A crash between the work's commit and the answer's loses the receipt
only; the work must be such that doing it again changes nothing or is refused.
"""

import asyncio
from collections.abc import Awaitable, Callable

from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Receipt
from memoryd.stores.database import Database
from memoryd.stores.idempotency import answer, reserve
from retrieval.scope import Scope

# It waits for the work, which may take as long as a knowledge base is large.
_WAITS = "SET LOCAL idle_in_transaction_session_timeout = 0"
# Each takes a connection beside those of the work: were all connections taken so, nobody could go on.
_AT_ONCE = 2


class PgOnce:
    """Does work once for one key of one principal."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def run(self, scope: Scope, idempotency: Idempotency | None, work: Callable[[], Awaitable[Receipt]]) -> Receipt:
        """The receipt of ``work``, or of an earlier request with this key. Raises ``IdempotencyKeyReused``."""
        if idempotency is None:
            return await work()
        async with self._turns, self._database.transaction(scope) as connection:
            earlier = await reserve(connection, scope, idempotency)
            if earlier is not None:
                return earlier
            await connection.execute(_WAITS)
            receipt = await work()
            await answer(connection, scope, idempotency, receipt)
            return receipt
