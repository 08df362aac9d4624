"""Spaces and keys in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from memoryd.access.model import Keep, KeyRecord, Space, SpaceChange
from memoryd.access.ports import Admit
from memoryd.errors import AlreadyExists, SpaceNotFound
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Receipt
from memoryd.memory.reranking import Reranking, StoredReranking
from memoryd.stores import idempotency as idempotency_store
from memoryd.stores.audit import Entry, append_audit
from memoryd.stores.database import Database
from memoryd.stores.trips import Connection
from retrieval.scope import Action, Scope

_KEY_COLUMNS = "key_id, name, secret_hash, actions, spaces, created_at, expires_at, revoked_at, last_used_at, rotated_from"
_KEY = f"SELECT {_KEY_COLUMNS} FROM api_keys k WHERE k.tenant_id = %(tenant)s AND k.key_id = %(key)s"
_FIND_KEY = f"""
{_KEY} AND EXISTS (SELECT FROM tenants t WHERE t.tenant_id = k.tenant_id AND t.suspended_at IS NULL)
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
# In one order, so that two requests cannot wait in a circle.
_LOCK_KEYS = f"""
SELECT {_KEY_COLUMNS} FROM api_keys WHERE tenant_id = %(tenant)s AND key_id = ANY(%(keys)s) ORDER BY key_id FOR UPDATE
"""
# Several processes note uses of one key, each to the minute.
_TOUCH_KEY = """
UPDATE api_keys SET last_used_at = %(now)s
WHERE tenant_id = %(tenant)s AND key_id = %(key)s AND (last_used_at IS NULL OR last_used_at < %(now)s - interval '50 seconds')
"""
_REVOKE_KEY = """
UPDATE api_keys SET revoked_at = least(coalesce(revoked_at, %(at)s), %(at)s)
WHERE tenant_id = %(tenant)s AND key_id = %(key)s
"""
_SPACES = "SELECT space_id, name, description, created_at, rerank FROM spaces WHERE tenant_id = %(tenant)s"
_SPACES_PAGE = (
    _SPACES + " AND (%(names)s::text[] IS NULL OR name = ANY(%(names)s)) AND name > %(after)s ORDER BY name LIMIT %(limit)s"
)
_SPACES_NAMED = _SPACES + " AND name = ANY(%(names)s)"
_ADD_SPACE = """
INSERT INTO spaces (tenant_id, space_id, name, description, created_at, rerank)
VALUES (%(tenant)s, %(space)s, %(name)s, %(description)s, %(now)s, %(rerank)s) ON CONFLICT (tenant_id, name) DO NOTHING
RETURNING space_id
"""
_CHANGE_SPACE = """
UPDATE spaces SET description = CASE WHEN %(describe)s THEN %(description)s ELSE description END,
                  rerank = CASE WHEN %(set_rerank)s THEN %(rerank)s::jsonb ELSE rerank END
WHERE tenant_id = %(tenant)s AND name = %(name)s
"""
_ADD_SPACES = """
INSERT INTO spaces (tenant_id, space_id, name, created_at)
SELECT %(tenant)s, q.id, q.name, %(now)s FROM unnest(%(ids)s::uuid[], %(names)s::text[]) AS q(id, name)
ON CONFLICT (tenant_id, name) DO NOTHING RETURNING space_id
"""


class PgAccess:
    """:class:`memoryd.access.ports.KeyStore`, ``KeyLookup`` and ``SpaceStore`` on PostgreSQL."""

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

    async def key(self, scope: Scope, key_id: UUID) -> KeyRecord | None:
        """A key to look at, whatever became of it or of its tenant."""
        rows = await self._database.read(scope, _KEY, {"tenant": scope.tenant_id, "key": key_id})
        return _key(rows[0]) if rows else None

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
        lock: Sequence[UUID],
        admit: Admit,
        ends: tuple[UUID, datetime] | None,
        idempotency: Idempotency | None,
    ) -> Receipt | None:
        """Lock some keys, ask ``admit``, store ``key`` and end another, in one transaction; an earlier receipt if repeated."""
        async with self._database.transaction(scope) as connection:
            if idempotency is not None:
                replay = await idempotency_store.reserve(connection, scope, idempotency)
                if replay is not None:
                    return replay
            params = {"tenant": scope.tenant_id, "keys": list(lock)}
            locked = [_key(row) for row in await (await connection.execute(_LOCK_KEYS, params)).fetchall()]
            admit({one.key_id: one for one in locked})
            await insert_key(connection, scope, key)
            if ends is not None:
                await connection.execute(_REVOKE_KEY, {"tenant": scope.tenant_id, "key": ends[0], "at": ends[1]})
                await _audit(connection, scope, "key.rotate", "key", [ends[0]], key.created_at)
            if idempotency is not None:
                await idempotency_store.answer(connection, scope, idempotency, {"key_id": str(key.key_id)})
        return None

    async def revoke_key(self, scope: Scope, key_id: UUID, at: datetime, idempotency: Idempotency | None) -> None:
        """End a key, unless it ended before."""
        async with self._database.transaction(scope) as connection:
            if idempotency is not None:
                if await idempotency_store.reserve(connection, scope, idempotency) is not None:
                    return
                await idempotency_store.answer(connection, scope, idempotency, {"key_id": str(key_id)})
            await connection.execute(_REVOKE_KEY, {"tenant": scope.tenant_id, "key": key_id, "at": at})
            await _audit(connection, scope, "key.revoke", "key", [key_id], at)

    async def spaces_named(self, scope: Scope, names: Sequence[str]) -> dict[str, Space]:
        """The spaces of these names that exist."""
        params = {"tenant": scope.tenant_id, "names": list(names)}
        return {s.name: s for s in map(_space, await self._database.read(scope, _SPACES_NAMED, params))}

    async def spaces(self, scope: Scope, *, after: str, limit: int) -> list[Space]:
        """Spaces by name; a confined key sees its own."""
        names = None if scope.spaces is None else sorted(scope.spaces)
        params = {"tenant": scope.tenant_id, "names": names, "after": after, "limit": limit}
        return [_space(row) for row in await self._database.read(scope, _SPACES_PAGE, params)]

    async def add_space(self, scope: Scope, space: Space, *, idempotency: Idempotency | None) -> Space:
        """The space made, now or by the first of repeated requests. Raises ``AlreadyExists``."""
        async with self._database.transaction(scope) as connection:
            if idempotency is not None:
                if await idempotency_store.reserve(connection, scope, idempotency) is not None:
                    params = {"tenant": scope.tenant_id, "names": [space.name]}
                    (row,) = await (await connection.execute(_SPACES_NAMED, params)).fetchall()
                    return _space(row)
                await idempotency_store.answer(connection, scope, idempotency, {"name": space.name})
            if not await insert_space(connection, scope, space):
                raise AlreadyExists(f"there is a space named {space.name!r} already")
        return space

    async def change_space(
        self, scope: Scope, name: str, change: SpaceChange, now: datetime, *, idempotency: Idempotency | None
    ) -> Space:
        """The space as it is then; a repeated request changes nothing. Raises ``SpaceNotFound``."""
        params = {
            "tenant": scope.tenant_id,
            "name": name,
            "names": [name],
            "describe": change.description is not Keep.AS_IS,
            "description": None if change.description is Keep.AS_IS else change.description,
            "set_rerank": change.rerank is not Keep.AS_IS,
            "rerank": None if change.rerank is Keep.AS_IS else _reranking(change.rerank),
        }
        async with self._database.transaction(scope) as connection:
            replay = await idempotency_store.reserve(connection, scope, idempotency) if idempotency is not None else None
            if replay is None:
                await connection.execute(_CHANGE_SPACE, params)
            rows = await (await connection.execute(_SPACES_NAMED, params)).fetchall()
            if not rows:
                raise SpaceNotFound("no such space")
            space = _space(rows[0])
            if replay is None:
                await _audit(connection, scope, "space.update", "space", [space.space_id], now)
                if idempotency is not None:
                    await idempotency_store.answer(connection, scope, idempotency, {"name": name})
        return space

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


async def insert_key(connection: Connection, scope: Scope, key: KeyRecord) -> None:
    """Store a key, with its audit entry."""
    params = {
        "tenant": scope.tenant_id,
        "key": key.key_id,
        "name": key.name,
        "hash": key.secret_hash,
        "actions": sorted(key.actions),
        "spaces": None if key.spaces is None else sorted(key.spaces),
        "created": key.created_at,
        "expires": key.expires_at,
        "rotated": key.rotated_from,
    }
    await connection.execute(_INSERT_KEY, params)
    await _audit(connection, scope, "key.create", "key", [key.key_id], key.created_at)


async def select_key(connection: Connection, tenant_id: UUID, key_id: UUID) -> KeyRecord | None:
    """A key, in a transaction that acts as its tenant."""
    row = await (await connection.execute(_KEY, {"tenant": tenant_id, "key": key_id})).fetchone()
    return _key(row) if row else None


async def insert_space(connection: Connection, scope: Scope, space: Space) -> bool:
    """Store a space, with its audit entry; false when the name is taken."""
    params = {
        "tenant": scope.tenant_id,
        "space": space.space_id,
        "name": space.name,
        "description": space.description,
        "rerank": _reranking(space.rerank),
        "now": space.created_at,
    }
    if not await (await connection.execute(_ADD_SPACE, params)).fetchone():
        return False
    await _audit(connection, scope, "space.create", "space", [space.space_id], space.created_at)
    return True


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


def _space(row: TupleRow) -> Space:
    (space_id, name, description, created_at, rerank) = row
    stored = StoredReranking.read(rerank)
    return Space(space_id, name, description, created_at, stored.value if stored is not None else None)


def _reranking(setting: Reranking | None) -> Jsonb | None:
    return None if setting is None else Jsonb(StoredReranking(setting).written())
