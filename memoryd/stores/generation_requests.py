"""What a request about generations leaves beside them, in its transaction as the operator: log entries, its Idempotency-Key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from psycopg.types.json import Jsonb

from memoryd.generations.model import Actor, Generation
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Receipt
from memoryd.stores import idempotency as idempotency_store
from memoryd.stores import operator_idempotency
from memoryd.stores.audit import Entry, append_audit
from memoryd.stores.database import Database
from memoryd.stores.trips import Connection
from retrieval.filters import JsonValue
from retrieval.scope import Scope

_LOG = """
INSERT INTO operator_log (at, action, tenant, request_id, detail)
VALUES (%(now)s, %(action)s, NULL, %(request)s, %(detail)s)
"""


async def log(connection: Connection, actor: Actor, of: Generation, verb: str, detail: dict[str, JsonValue]) -> None:
    """What was done, in the log of the tenant whose generation it is, or in the operator's."""
    told = {"generation": of.number, **detail}
    action = f"generation.{verb}"
    if of.tenant_id is None:
        params = {"now": actor.at, "action": action, "request": actor.request_id, "detail": Jsonb(told)}
        await connection.execute(_LOG, params)
        return
    async with _as_tenant(connection, actor, of.tenant_id) as scope:
        await append_audit(connection, scope, Entry(action, "generation", (), told), actor.at)


async def earlier(database: Database, actor: Actor, given: Idempotency, ttl: timedelta) -> Receipt | None:
    """An earlier request's receipt. ``ttl``: how long the operator's are kept; those of tenants are forgotten by the worker."""
    if actor.tenant_id is None:
        async with database.operator() as connection:
            await operator_idempotency.forget(connection, actor.at - ttl)
            return await operator_idempotency.receipt(connection, given)
    return await idempotency_store.earlier_receipt(database, _scope(actor, actor.tenant_id), given)


async def reserved(connection: Connection, actor: Actor, given: Idempotency, ttl: timedelta) -> Receipt | None:
    """Take the key for this transaction; an earlier request's receipt, as :func:`earlier`, when it was taken before."""
    if actor.tenant_id is None:
        await operator_idempotency.forget(connection, actor.at - ttl)
        return await operator_idempotency.reserve(connection, given, actor.at)
    async with _as_tenant(connection, actor, actor.tenant_id) as scope:
        return await idempotency_store.reserve(connection, scope, given)


async def answered(connection: Connection, actor: Actor, given: Idempotency, receipt: Receipt) -> None:
    """Keep the receipt under the reserved key."""
    if actor.tenant_id is None:
        await operator_idempotency.answer(connection, given, receipt)
        return
    async with _as_tenant(connection, actor, actor.tenant_id) as scope:
        await idempotency_store.answer(connection, scope, given, receipt)


@asynccontextmanager
async def _as_tenant(connection: Connection, actor: Actor, tenant_id: UUID) -> AsyncIterator[Scope]:
    """With the tenant's rights instead of the operator's, which are back at the end unless it fails."""
    await connection.execute("RESET ROLE")
    await connection.execute("SELECT set_config('memoryd.tenant_id', %s, true)", (str(tenant_id),))
    yield _scope(actor, tenant_id)
    await connection.execute("SET LOCAL ROLE memoryd_operator")


def _scope(actor: Actor, tenant_id: UUID) -> Scope:
    return Scope(tenant_id, actor.principal, frozenset(), request_id=actor.request_id)
