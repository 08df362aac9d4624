"""Idempotency keys of the operator, in one namespace for the installation: taken and answered in the request's transaction."""

from datetime import datetime

from psycopg.types.json import Jsonb

from memoryd.errors import IdempotencyInProgress
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Receipt
from memoryd.stores.idempotency import checked
from memoryd.stores.trips import Connection

_FORGET = "DELETE FROM operator_idempotency_keys WHERE created_at < %(old)s"
_RESERVE = """
INSERT INTO operator_idempotency_keys (key, fingerprint, created_at) VALUES (%(key)s, %(fingerprint)s, %(at)s)
ON CONFLICT DO NOTHING RETURNING true
"""
_FIND = "SELECT fingerprint, response FROM operator_idempotency_keys WHERE key = %(key)s"
_ANSWER = "UPDATE operator_idempotency_keys SET response = %(response)s WHERE key = %(key)s"


async def forget(connection: Connection, old: datetime) -> None:
    """The keys from before ``old``."""
    await connection.execute(_FORGET, {"old": old})


async def reserve(connection: Connection, given: Idempotency, at: datetime) -> Receipt | None:
    """Take the key for this transaction; an earlier request's receipt when it was taken before.

    Raises ``IdempotencyKeyReused``, ``IdempotencyInProgress``.
    """
    params = {"key": given.key, "fingerprint": given.fingerprint, "at": at}
    if await (await connection.execute(_RESERVE, params)).fetchone():
        return None
    found = await receipt(connection, given)
    if found is None:
        raise IdempotencyInProgress("a request with this Idempotency-Key ended just now; send it again")
    return found


async def receipt(connection: Connection, given: Idempotency) -> Receipt | None:
    """An earlier request's. Raises as :func:`reserve`."""
    row = await (await connection.execute(_FIND, {"key": given.key})).fetchone()
    return None if row is None else checked(row, given)


async def answer(connection: Connection, given: Idempotency, made: Receipt) -> None:
    """Keep the receipt under the reserved key."""
    await connection.execute(_ANSWER, {"key": given.key, "response": Jsonb(made)})
