"""Tenants, spaces and keys in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow

from memoryd.access.model import DEFAULT_SPACE, KeyRecord, Space, Tenant
from memoryd.errors import AlreadyExists, Conflict
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Receipt
from memoryd.stores import idempotency as idempotency_store
from memoryd.stores.audit import Entry, append_audit
from memoryd.stores.database import Connection, Database
from retrieval.scope import Action, Scope

_KEY_COLUMNS = "key_id, name, secret_hash, actions, spaces, created_at, expires_at, revoked_at, last_used_at, rotated_from"
_FIND_KEY = f"""
SELECT {_KEY_COLUMNS} FROM api_keys k
WHERE k.tenant_id = %(tenant)s AND k.key_id = %(key)s
      AND EXISTS (SELECT FROM tenants t WHERE t.tenant_id = k.tenant_id AND t.suspended_at IS NULL)
"""
_LIST_KEYS = f"""
SELECT {_KEY_COLUMNS} FROM api_keys
WHERE tenant_id = %(tenant)s AND (%(after)s::uuid IS NULL OR key_id > %(after)s)
      AND (%(names)s::text[] IS NULL OR spaces <@ %(names)s) ORDER BY key_id LIMIT %(limit)s
"""
_INSERT_KEY = """
INSERT INTO api_keys (tenant_id, key_id, name, secret_hash, actions, spaces, created_at, expires_at, rotated_from)
VALUES (%(tenant)s, %(key)s, %(name)s, %(hash)s, %(actions)s, %(spaces)s, %(created)s, %(expires)s, %(rotated)s)
"""
_LOCK_KEY = """
SELECT revoked_at IS NULL AND (expires_at IS NULL OR expires_at > %(now)s) FROM api_keys
WHERE tenant_id = %(tenant)s AND key_id = %(key)s FOR UPDATE
"""
_TOUCH_KEY = "UPDATE api_keys SET last_used_at = %(now)s WHERE tenant_id = %(tenant)s AND key_id = %(key)s"
_REVOKE_KEY = """
UPDATE api_keys SET revoked_at = least(coalesce(revoked_at, %(at)s), %(at)s)
WHERE tenant_id = %(tenant)s AND key_id = %(key)s
"""
_SPACES = "SELECT space_id, name, description, created_at FROM spaces WHERE tenant_id = %(tenant)s"
_SPACES_PAGE = (
    _SPACES + " AND (%(names)s::text[] IS NULL OR name = ANY(%(names)s)) AND name > %(after)s ORDER BY name LIMIT %(limit)s"
)
_SPACES_NAMED = _SPACES + " AND name = ANY(%(names)s)"
_ADD_SPACE = """
INSERT INTO spaces (tenant_id, space_id, name, description, created_at)
VALUES (%(tenant)s, %(space)s, %(name)s, %(description)s, %(now)s) ON CONFLICT (tenant_id, name) DO NOTHING
RETURNING space_id
"""
_ADD_SPACES = """
INSERT INTO spaces (tenant_id, space_id, name, created_at)
SELECT %(tenant)s, q.id, q.name, %(now)s FROM unnest(%(ids)s::uuid[], %(names)s::text[]) AS q(id, name)
ON CONFLICT (tenant_id, name) DO NOTHING RETURNING space_id
"""
_TENANTS = """
SELECT tenant_id, name, created_at, suspended_at FROM tenants
WHERE (%(after)s::uuid IS NULL OR tenant_id > %(after)s) ORDER BY tenant_id LIMIT %(limit)s
"""
_TENANT = "SELECT tenant_id, name, created_at, suspended_at FROM tenants WHERE tenant_id = %(tenant)s"
_TENANT_NAMED = "SELECT tenant_id, name, created_at, suspended_at FROM tenants WHERE name = %(name)s"
_ADD_TENANT = "INSERT INTO tenants (tenant_id, name, created_at) VALUES (%(tenant)s, %(name)s, %(now)s)"
_SUSPEND = """
UPDATE tenants SET suspended_at = %(at)s WHERE tenant_id = %(tenant)s
RETURNING tenant_id, name, created_at, suspended_at
"""


class PgAccess:
    """:class:`memoryd.access.ports.AccessStore` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_key(self, tenant_id: UUID, key_id: UUID) -> KeyRecord | None:
        """The key, if its tenant exists and is not suspended."""
        claimed = Scope(tenant_id, "-", frozenset())
        # Every request waits for this one: with a frozen server it answers 503 after seconds, whatever a statement may take.
        params = {"tenant": tenant_id, "key": key_id}
        rows = await self._database.read(claimed, _FIND_KEY, params, timeout_s=self._database.timeout_s)
        return _key(rows[0]) if rows else None

    async def touch_key(self, tenant_id: UUID, key_id: UUID, now: datetime) -> None:
        """Remember that the key was used."""
        async with self._database.tenant(tenant_id) as connection:
            await connection.execute(_TOUCH_KEY, {"tenant": tenant_id, "key": key_id, "now": now})

    async def keys(self, scope: Scope, *, after: UUID | None, limit: int) -> list[KeyRecord]:
        """Keys in order of creation; a confined key sees those within its spaces."""
        names = None if scope.spaces is None else sorted(scope.spaces)
        params = {"tenant": scope.tenant_id, "after": after, "limit": limit, "names": names}
        return [_key(row) for row in await self._database.read(scope, _LIST_KEYS, params)]

    async def add_key(
        self,
        scope: Scope,
        key: KeyRecord,
        *,
        idempotency: Idempotency | None,
        expire: tuple[UUID, datetime] | None = None,
    ) -> Receipt | None:
        """Store a key, and end another one (``expire``) in the same transaction; an earlier receipt if repeated.

        Raises ``Conflict`` when that other one has ended, or will because it was rotated: one key has one successor.
        """
        async with self._database.transaction(scope) as connection:
            if idempotency is not None:
                replay = await idempotency_store.reserve(connection, scope, idempotency)
                if replay is not None:
                    return replay
            if expire is not None:
                params = {"tenant": scope.tenant_id, "key": expire[0], "now": key.created_at}
                row = await (await connection.execute(_LOCK_KEY, params)).fetchone()
                if row is None or not row[0]:
                    raise Conflict("an expired, revoked or rotated key cannot be rotated; make a new one")
            await connection.execute(_INSERT_KEY, _key_params(scope.tenant_id, key))
            if expire is not None:
                await connection.execute(_REVOKE_KEY, {"tenant": scope.tenant_id, "key": expire[0], "at": expire[1]})
            await _audit(connection, scope, "key.create", "key", [key.key_id], key.created_at)
            if idempotency is not None:
                await idempotency_store.answer(connection, scope, idempotency, {"key_id": str(key.key_id)})
        return None

    async def revoke_key(self, scope: Scope, key_id: UUID, at: datetime) -> bool:
        """Revoke; false when there is no such key."""
        async with self._database.transaction(scope) as connection:
            cursor = await connection.execute(_REVOKE_KEY, {"tenant": scope.tenant_id, "key": key_id, "at": at})
            if not cursor.rowcount:
                return False
            await _audit(connection, scope, "key.revoke", "key", [key_id], at)
        return True

    async def spaces_named(self, scope: Scope, names: Sequence[str]) -> dict[str, Space]:
        """The spaces of these names that exist."""
        params = {"tenant": scope.tenant_id, "names": list(names)}
        return {s.name: s for s in map(_space, await self._database.read(scope, _SPACES_NAMED, params))}

    async def spaces(self, scope: Scope, *, after: str, limit: int) -> list[Space]:
        """Spaces by name; a confined key sees its own."""
        names = None if scope.spaces is None else sorted(scope.spaces)
        params = {"tenant": scope.tenant_id, "names": names, "after": after, "limit": limit}
        return [_space(row) for row in await self._database.read(scope, _SPACES_PAGE, params)]

    async def add_space(self, scope: Scope, space: Space, *, idempotency: Idempotency | None = None) -> bool:
        """Create; false when the name is taken. A repeated request is true again, whatever was made by the first."""
        async with self._database.transaction(scope) as connection:
            if idempotency is not None:
                if await idempotency_store.reserve(connection, scope, idempotency) is not None:
                    return True
                await idempotency_store.answer(connection, scope, idempotency, {"name": space.name})
            row = await (await connection.execute(_ADD_SPACE, _space_params(scope.tenant_id, space))).fetchone()
            if row:
                await _audit(connection, scope, "space.create", "space", [space.space_id], space.created_at)
        return row is not None

    async def add_spaces(self, scope: Scope, spaces: Sequence[Space]) -> None:
        """Create those whose names are free, in one transaction. Given in order of names, so that two cannot wait in a circle."""
        params = {
            "tenant": scope.tenant_id,
            "ids": [space.space_id for space in spaces],
            "names": [space.name for space in spaces],
            "now": spaces[0].created_at,
        }
        async with self._database.transaction(scope) as connection:
            made = await (await connection.execute(_ADD_SPACES, params)).fetchall()
            if made:
                await _audit(connection, scope, "space.create", "space", [space for (space,) in made], spaces[0].created_at)

    async def tenants(self, *, after: UUID | None, limit: int) -> list[Tenant]:
        """All tenants, in order of creation."""
        async with self._database.operator() as connection:
            rows = await (await connection.execute(_TENANTS, {"after": after, "limit": limit})).fetchall()
        return [Tenant(*row) for row in rows]

    async def tenant(self, tenant_id: UUID) -> Tenant | None:
        """One tenant."""
        async with self._database.operator() as connection:
            row = await (await connection.execute(_TENANT, {"tenant": tenant_id})).fetchone()
        return Tenant(*row) if row else None

    async def add_tenant(
        self, tenant: Tenant, default_space: UUID, key: KeyRecord, *, idempotency: Idempotency | None = None
    ) -> tuple[Tenant, KeyRecord]:
        """Create a tenant with its default space and first key, in one transaction. Raises ``AlreadyExists``.

        What a repeated request made the first time is returned; its receipt is kept with the tenant that it made.
        """
        scope = Scope(tenant.tenant_id, "operator", frozenset())
        space = Space(default_space, DEFAULT_SPACE, None, tenant.created_at)
        try:
            async with self._database.operator() as connection:
                params = {"tenant": tenant.tenant_id, "name": tenant.name, "now": tenant.created_at}
                await connection.execute(_ADD_TENANT, params)
                # The rest is the tenant's: give up the operator's rights and act as the tenant.
                await connection.execute("RESET ROLE")
                await connection.execute("SELECT set_config('memoryd.tenant_id', %s, true)", (str(tenant.tenant_id),))
                await connection.execute(_ADD_SPACE, _space_params(tenant.tenant_id, space))
                await connection.execute(_INSERT_KEY, _key_params(tenant.tenant_id, key))
                await _audit(connection, scope, "tenant.create", "tenant", [tenant.tenant_id], tenant.created_at)
                if idempotency is not None:
                    await idempotency_store.reserve(connection, scope, idempotency)
                    await idempotency_store.answer(connection, scope, idempotency, {"key_id": str(key.key_id)})
        except psycopg.errors.UniqueViolation as error:
            earlier = await self._made_before(tenant.name, idempotency) if idempotency else None
            if earlier is None:
                raise AlreadyExists(f"there is a tenant named {tenant.name!r} already") from error
            return earlier
        return tenant, key

    async def _made_before(self, name: str, idempotency: Idempotency) -> tuple[Tenant, KeyRecord] | None:
        """The tenant of that name, if this very request made it."""
        async with self._database.operator() as connection:
            row = await (await connection.execute(_TENANT_NAMED, {"name": name})).fetchone()
        if row is None:
            return None
        tenant = Tenant(*row)
        scope = Scope(tenant.tenant_id, "operator", frozenset())
        receipt = await idempotency_store.earlier_receipt(self._database, scope, idempotency)
        if receipt is None:
            return None
        key = await self.find_key(tenant.tenant_id, UUID(str(receipt["key_id"])))
        return (tenant, key) if key else None

    async def set_suspended(self, tenant_id: UUID, at: datetime | None) -> Tenant | None:
        """Suspend (or, with ``None``, resume) a tenant: its keys stop working at once."""
        async with self._database.operator() as connection:
            row = await (await connection.execute(_SUSPEND, {"tenant": tenant_id, "at": at})).fetchone()
        return Tenant(*row) if row else None


async def _audit(connection: Connection, scope: Scope, action: str, kind: str, ids: list[UUID], now: datetime) -> None:
    await append_audit(connection, scope, Entry(action, kind, tuple(ids)), now)


def _key(row: TupleRow) -> KeyRecord:
    (key_id, name, secret_hash, actions, spaces, *times) = row
    return KeyRecord(
        key_id,
        name,
        bytes(secret_hash),
        frozenset(Action(action) for action in actions),
        None if spaces is None else frozenset(spaces),
        *times,
    )


def _key_params(tenant_id: UUID, key: KeyRecord) -> dict[str, object]:
    return {
        "tenant": tenant_id,
        "key": key.key_id,
        "name": key.name,
        "hash": key.secret_hash,
        "actions": sorted(key.actions),
        "spaces": None if key.spaces is None else sorted(key.spaces),
        "created": key.created_at,
        "expires": key.expires_at,
        "rotated": key.rotated_from,
    }


def _space(row: TupleRow) -> Space:
    return Space(*row)


def _space_params(tenant_id: UUID, space: Space) -> dict[str, object]:
    return {
        "tenant": tenant_id,
        "space": space.space_id,
        "name": space.name,
        "description": space.description,
        "now": space.created_at,
    }
