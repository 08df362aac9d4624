"""Idempotency keys: reserved at the start of a unit of work, answered in the same transaction."""

from psycopg.types.json import Jsonb

from memoryd.errors import IdempotencyInProgress, IdempotencyKeyReused
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Receipt
from memoryd.stores.database import Database
from memoryd.stores.trips import Connection
from retrieval.scope import Scope

_FIND = """
SELECT fingerprint, response FROM idempotency_keys
WHERE tenant_id = %(tenant)s AND principal = %(principal)s AND key = %(key)s
"""
# Waits for a concurrent request with the same key to end, and then finds its receipt.
_RESERVE = """
INSERT INTO idempotency_keys (tenant_id, principal, key, fingerprint)
VALUES (%(tenant)s, %(principal)s, %(key)s, %(fingerprint)s) ON CONFLICT DO NOTHING RETURNING true
"""
_ANSWER = """
UPDATE idempotency_keys SET response = %(response)s
WHERE tenant_id = %(tenant)s AND principal = %(principal)s AND key = %(key)s
"""


def _params(scope: Scope, idempotency: Idempotency) -> dict[str, object]:
    return {
        "tenant": scope.tenant_id,
        "principal": scope.principal,
        "key": idempotency.key,
        "fingerprint": idempotency.fingerprint,
    }


async def earlier_receipt(database: Database, scope: Scope, idempotency: Idempotency) -> Receipt | None:
    """The committed receipt of this key, or ``None``. Raises ``IdempotencyKeyReused``."""
    rows = await database.read(scope, _FIND, _params(scope, idempotency))
    return checked(rows[0], idempotency) if rows else None


async def reserve(connection: Connection, scope: Scope, idempotency: Idempotency) -> Receipt | None:
    """Take the key for this transaction; an earlier request's receipt when it was taken before."""
    params = _params(scope, idempotency)
    if await (await connection.execute(_RESERVE, params)).fetchone():
        return None
    row = await (await connection.execute(_FIND, params)).fetchone()
    if row is None:
        raise IdempotencyInProgress("a request with this Idempotency-Key ended just now; send it again")
    return checked(row, idempotency)


def answer_statement(scope: Scope, idempotency: Idempotency, receipt: Receipt) -> tuple[str, dict[str, object]]:
    """The statement that keeps the receipt under the reserved key, to be sent together with others."""
    return _ANSWER, _params(scope, idempotency) | {"response": Jsonb(receipt)}


async def answer(connection: Connection, scope: Scope, idempotency: Idempotency, receipt: Receipt) -> None:
    """Keep the receipt under the reserved key."""
    await connection.execute(*answer_statement(scope, idempotency, receipt))


def checked(row: tuple[object, ...], idempotency: Idempotency) -> Receipt:
    """The receipt in a row (fingerprint, response). Raises ``IdempotencyKeyReused``, ``IdempotencyInProgress``."""
    fingerprint, response = row
    if not isinstance(fingerprint, bytes) or fingerprint != idempotency.fingerprint:
        raise IdempotencyKeyReused("this Idempotency-Key was used with another request; use a new one")
    if not isinstance(response, dict):
        raise IdempotencyInProgress("a request with this Idempotency-Key is still running")
    return response
