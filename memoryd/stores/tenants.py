"""Tenants in PostgreSQL, as the operator: what it does is logged, and answered once by its Idempotency-Key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from memoryd.access.model import DEFAULT_SPACE, OPERATOR, KeyRecord, Operation, Space, Tenant
from memoryd.errors import AlreadyExists, Conflict, InvalidRequest, NotFound
from memoryd.memory.ports import Receipt
from memoryd.stores import operator_idempotency
from memoryd.stores.access import insert_key, insert_space, select_key
from memoryd.stores.audit import Entry, append_audit
from memoryd.stores.database import Database
from memoryd.stores.trips import Connection
from retrieval.filters import JsonValue
from retrieval.scope import Scope

_COLUMNS = "tenant_id, name, created_at, suspended_at, deleted_at"
_PAGE = f"""
SELECT {_COLUMNS} FROM tenants
WHERE (%(after)s::uuid IS NULL OR tenant_id > %(after)s) ORDER BY tenant_id LIMIT %(limit)s
"""
_ONE = f"SELECT {_COLUMNS} FROM tenants WHERE tenant_id = %(tenant)s OR name = %(name)s"
_LOCK = f"SELECT {_COLUMNS} FROM tenants WHERE tenant_id = %(tenant)s FOR NO KEY UPDATE"
_ADD = "INSERT INTO tenants (tenant_id, name, created_at) VALUES (%(tenant)s, %(name)s, %(now)s)"
_SUSPEND = "UPDATE tenants SET suspended_at = %(at)s WHERE tenant_id = %(tenant)s"
_MARK = """
UPDATE tenants SET suspended_at = coalesce(suspended_at, %(at)s), deleted_at = %(at)s
WHERE tenant_id = %(tenant)s AND deleted_at IS NULL
"""
_LOG = """
INSERT INTO operator_log (at, action, tenant, request_id, detail)
VALUES (%(at)s, %(action)s, %(tenant)s, %(request)s, %(detail)s)
"""

# The tables with many rows, each before those that it points to. What else a tenant has goes with its own row, by cascade.
_LARGE = (
    *("job_items", "jobs"),
    *("embeddings", "postings", "passages", "memory_revisions", "memories", "term_statistics", "spaces"),
    *("kb_vectors", "kb_postings", "kb_chunks", "kb_sections", "kb_documents"),
    *("idempotency_keys", "audit_log"),
)
_BATCH = 10_000
# Two deletions of one tenant take turns: they would lock the same rows in different orders.
_TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended(%(tenant)s::text, 5))"
_ERASE = """
DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE tenant_id = %(tenant)s LIMIT %(batch)s))
"""
# By its key: the operator may read nothing else of it.
_ERASE_LOG = """
DELETE FROM audit_log WHERE tenant_id = %(tenant)s
    AND audit_id = ANY(ARRAY(SELECT audit_id FROM audit_log WHERE tenant_id = %(tenant)s LIMIT %(batch)s))
"""
# The tables that no cascade reaches.
_ERASE_POSTINGS = ("DELETE FROM postings WHERE tenant_id = %(tenant)s", "DELETE FROM kb_postings WHERE tenant_id = %(tenant)s")
_LEAVE_GRAPH = """
UPDATE hnsw_graphs g SET vectors = greatest(0, g.vectors - t.vectors) FROM tenant_hnsw_graphs t
WHERE t.tenant_id = %(tenant)s AND g.graph = t.graph
"""
_DELETE = "DELETE FROM tenants WHERE tenant_id = %(tenant)s"


class PgTenants:
    """:class:`memoryd.access.ports.TenantStore` on PostgreSQL."""

    def __init__(self, database: Database, *, idempotency_ttl: timedelta) -> None:
        self._database = database
        self._ttl = idempotency_ttl

    async def tenants(self, *, after: UUID | None, limit: int) -> list[Tenant]:
        """All tenants, in order of creation."""
        async with self._database.operator() as connection:
            rows = await (await connection.execute(_PAGE, {"after": after, "limit": limit})).fetchall()
        return [Tenant(*row) for row in rows]

    async def tenant(self, tenant_id: UUID | None, name: str | None = None) -> Tenant | None:
        """The tenant of this id, or of this name."""
        async with self._database.operator() as connection:
            row = await (await connection.execute(_ONE, {"tenant": tenant_id, "name": name})).fetchone()
        return Tenant(*row) if row else None

    async def add_tenant(
        self, tenant: Tenant, default_space: UUID, key: KeyRecord, operation: Operation
    ) -> tuple[Tenant, KeyRecord]:
        """Create a tenant with its default space and first key; what a repeated request made the first time.

        Raises ``AlreadyExists``.
        """
        async with self._once(operation) as (connection, replay):
            if replay is not None:
                return await _made(connection, replay)
            params = {"tenant": tenant.tenant_id, "name": tenant.name, "now": tenant.created_at}
            try:
                await connection.execute(_ADD, params)
            except psycopg.errors.UniqueViolation as error:
                raise AlreadyExists(f"there is a tenant named {tenant.name!r} already") from error
            await _log(connection, operation, "tenant.create", tenant.tenant_id, {"name": tenant.name})
            await _answer(connection, operation, {"tenant_id": str(tenant.tenant_id), "key_id": str(key.key_id)})
            scope = await _act_as(connection, tenant.tenant_id, operation)
            await _audit(connection, scope, "tenant.create", operation)
            await insert_space(connection, scope, Space(default_space, DEFAULT_SPACE, None, tenant.created_at))
            await insert_key(connection, scope, key)
        return tenant, key

    async def add_tenant_key(self, tenant_id: UUID, key: KeyRecord, operation: Operation) -> KeyRecord:
        """Store a key; what a repeated request made the first time. Raises ``NotFound``, ``Conflict``."""
        async with self._once(operation) as (connection, replay):
            if replay is not None:
                return (await _made(connection, replay))[1]
            await _locked(connection, tenant_id)
            await _log(connection, operation, "key.create", tenant_id, {"key_id": str(key.key_id)})
            await _answer(connection, operation, {"tenant_id": str(tenant_id), "key_id": str(key.key_id)})
            await insert_key(connection, await _act_as(connection, tenant_id, operation), key)
        return key

    async def set_suspended(self, tenant_id: UUID, suspended: bool, operation: Operation) -> Tenant:
        """Suspend or resume; a repeated request changes nothing. Raises ``NotFound``, ``Conflict``."""
        async with self._once(operation) as (connection, replay):
            if replay is not None:
                return await _as_answered(connection, tenant_id, replay)
            before = await _locked(connection, tenant_id)
            changed = (before.suspended_at is not None) != suspended
            after = replace(before, suspended_at=operation.at if suspended else None) if changed else before
            await _answer(connection, operation, {"suspended_at": after.suspended_at.isoformat() if after.suspended_at else None})
            if changed:
                action = "tenant.suspend" if suspended else "tenant.resume"
                await connection.execute(_SUSPEND, {"tenant": tenant_id, "at": after.suspended_at})
                await _log(connection, operation, action, tenant_id, {})
                await _audit(connection, await _act_as(connection, tenant_id, operation), action, operation)
        return after

    async def mark_deleted(self, tenant_id: UUID, name: str, operation: Operation) -> bool:
        """Stop its keys for good. False when this very request has erased it before.

        Raises ``NotFound``, and ``InvalidRequest`` when ``name`` is not the tenant's.
        """
        async with self._database.operator() as connection:
            given = operation.idempotency
            if given is not None and await operator_idempotency.receipt(connection, given) is not None:
                return False
            row = await (await connection.execute(_LOCK, {"tenant": tenant_id})).fetchone()
            if row is None:
                raise NotFound("no such tenant")
            if Tenant(*row).name != name:
                raise InvalidRequest("confirm: must be the name of the tenant")
            if (await connection.execute(_MARK, {"tenant": tenant_id, "at": operation.at})).rowcount:
                await _log(connection, operation, "tenant.delete", tenant_id, {"name": name})
        return True

    async def erase_tenant(self, tenant_id: UUID, operation: Operation) -> None:
        """Remove its rows in bounded transactions, then the tenant. Interrupted, it goes on when repeated."""
        erased = {table: await self._erase(tenant_id, table) for table in _LARGE}
        async with self._once(operation) as (connection, replay):
            if replay is not None:
                return
            await connection.execute(_TAKE_TURNS, {"tenant": tenant_id})
            await _act_as(connection, tenant_id, operation)
            await connection.execute(_LEAVE_GRAPH, {"tenant": tenant_id})
            await connection.execute("SET LOCAL ROLE memoryd_operator")
            gone = (await connection.execute(_DELETE, {"tenant": tenant_id})).rowcount
            # A write that was under way when its key was stopped may have committed until now: the deletion waited for it, and
            # there are no spaces any more for another.
            await _act_as(connection, tenant_id, operation)
            for erase in _ERASE_POSTINGS:
                await connection.execute(erase, {"tenant": tenant_id})
            await connection.execute("SET LOCAL ROLE memoryd_operator")
            if gone:
                await _log(connection, operation, "tenant.erased", tenant_id, {"rows": dict[str, JsonValue](erased)})
            await _answer(connection, operation, {})

    async def _erase(self, tenant_id: UUID, table: str) -> int:
        """All rows of a tenant in one table; how many."""
        of_operator = table == "audit_log"  # the service may only append to it
        sql = _ERASE_LOG if of_operator else _ERASE.format(table=table)
        params = {"tenant": tenant_id, "batch": _BATCH}
        erased, step = 0, _BATCH
        while step:
            async with self._database.operator() if of_operator else self._database.tenant(tenant_id) as connection:
                await connection.execute(_TAKE_TURNS, params)
                step = (await connection.execute(sql.encode(), params)).rowcount
            erased += step
        return erased

    @asynccontextmanager
    async def _once(self, operation: Operation) -> AsyncIterator[tuple[Connection, Receipt | None]]:
        """A transaction as the operator, with the receipt of an earlier request of the same Idempotency-Key."""
        async with self._database.operator() as connection:
            replay = None
            if operation.idempotency is not None:
                await operator_idempotency.forget(connection, operation.at - self._ttl)
                replay = await operator_idempotency.reserve(connection, operation.idempotency, operation.at)
            yield connection, replay


async def _made(connection: Connection, replay: Receipt) -> tuple[Tenant, KeyRecord]:
    tenant_id, key_id = UUID(str(replay["tenant_id"])), UUID(str(replay["key_id"]))
    row = await (await connection.execute(_ONE, {"tenant": tenant_id, "name": None})).fetchone()
    if row is None:
        raise NotFound("the tenant was deleted since")
    await _become(connection, tenant_id)
    key = await select_key(connection, tenant_id, key_id)
    if key is None:
        raise NotFound("the tenant was deleted since")
    return Tenant(*row), key


async def _as_answered(connection: Connection, tenant_id: UUID, replay: Receipt) -> Tenant:
    """As the first of repeated requests left it, whatever became of it since."""
    row = await (await connection.execute(_ONE, {"tenant": tenant_id, "name": None})).fetchone()
    if row is None:
        raise NotFound("the tenant was deleted since")
    at = replay["suspended_at"]
    return replace(Tenant(*row), suspended_at=datetime.fromisoformat(at) if isinstance(at, str) else None)


async def _locked(connection: Connection, tenant_id: UUID) -> Tenant:
    row = await (await connection.execute(_LOCK, {"tenant": tenant_id})).fetchone()
    if row is None:
        raise NotFound("no such tenant")
    tenant = Tenant(*row)
    if tenant.deleted_at is not None:
        raise Conflict("the tenant is being deleted")
    return tenant


async def _become(connection: Connection, tenant_id: UUID) -> None:
    """Give up the operator's rights for the tenant's."""
    await connection.execute("RESET ROLE")
    await connection.execute("SELECT set_config('memoryd.tenant_id', %s, true)", (str(tenant_id),))


async def _act_as(connection: Connection, tenant_id: UUID, operation: Operation) -> Scope:
    await _become(connection, tenant_id)
    return Scope(tenant_id, OPERATOR, frozenset(), request_id=operation.request_id)


async def _audit(connection: Connection, scope: Scope, action: str, operation: Operation) -> None:
    await append_audit(connection, scope, Entry(action, "tenant", (scope.tenant_id,)), operation.at)


async def _log(connection: Connection, operation: Operation, action: str, tenant_id: UUID, detail: dict[str, JsonValue]) -> None:
    params = {
        "at": operation.at,
        "action": action,
        "tenant": tenant_id,
        "request": operation.request_id,
        "detail": Jsonb(detail),
    }
    await connection.execute(_LOG, params)


async def _answer(connection: Connection, operation: Operation, receipt: dict[str, JsonValue]) -> None:
    if operation.idempotency is not None:
        await operator_idempotency.answer(connection, operation.idempotency, receipt)
