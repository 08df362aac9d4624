"""Knowledge bases in PostgreSQL."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from ingestion.chunk import Chunking, Strategy
from memoryd.errors import AlreadyExists, NotFound
from memoryd.knowledge.model import BaseChange, KnowledgeBase, Unset, check_chunking
from memoryd.stores.database import Database
from memoryd.stores.generations import retire_of_base
from memoryd.stores.knowledge.locks import IN_SPACES, THERE, find_draft, naming
from memoryd.stores.knowledge.rows import erase
from memoryd.stores.knowledge.trail import leave
from retrieval.scope import Scope

_COLUMNS = """b.kb_id, b.name, b.space, b.description, b.chunking, b.retain, b.live_seq, b.newest_seq, b.created_at,
    b.updated_at"""
_GET = f"SELECT {_COLUMNS} FROM knowledge_bases b WHERE b.tenant_id = %(tenant)s AND {THERE} AND b.name = %(name)s"
_PAGE = f"""
SELECT {_COLUMNS} FROM knowledge_bases b
WHERE b.tenant_id = %(tenant)s AND {THERE} AND b.name > %(after)s ORDER BY b.name LIMIT %(limit)s
"""
_CREATE = """
INSERT INTO knowledge_bases (tenant_id, kb_id, name, space, description, chunking, retain, created_at, updated_at)
VALUES (%(tenant)s, %(kb)s, %(name)s, %(space)s, %(description)s, %(chunking)s, %(retain)s, %(created)s, %(updated)s)
"""
_UPDATE = f"""
UPDATE knowledge_bases b
SET description = CASE WHEN %(describe)s THEN %(description)s ELSE b.description END,
    chunking = b.chunking || %(chunking)s,
    retain = CASE WHEN %(set_retain)s THEN %(retain)s ELSE b.retain END,
    updated_at = %(now)s
WHERE b.tenant_id = %(tenant)s AND b.name = %(name)s AND {THERE}
RETURNING {_COLUMNS}
"""
_ID = f"SELECT b.kb_id FROM knowledge_bases b WHERE b.tenant_id = %(tenant)s AND {IN_SPACES} AND b.name = %(name)s"
_INTERRUPTED = f"""
SELECT b.kb_id FROM knowledge_bases b
WHERE b.tenant_id = %(tenant)s AND {IN_SPACES} AND b.deleting_at <= now() - make_interval(secs => %(quiet)s)
"""
_TO_END = f"""
SELECT b.deleting_at IS NULL, (SELECT count(*) FROM kb_documents d WHERE d.tenant_id = %(tenant)s AND d.kb_id = %(kb)s)
FROM knowledge_bases b WHERE b.tenant_id = %(tenant)s AND b.kb_id = %(kb)s AND {IN_SPACES} FOR NO KEY UPDATE OF b
"""
# From here on it is there for nobody: no version is read that is half gone, and nothing is written that would have to go too.
_END = "UPDATE knowledge_bases SET live_seq = NULL, deleting_at = now() WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s"
_UNTAG = "DELETE FROM kb_tags WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s"
_GIVE_UP = """
UPDATE kb_versions SET state = 'collected', collected_at = now()
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND state = 'published'
"""
_STOP = "UPDATE kb_versions SET discarding = true WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND state = 'draft'"
_SOME = "SELECT document_pid FROM kb_documents WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s LIMIT %(documents)s FOR UPDATE"
_KEYS = "SELECT object_key FROM kb_orphans WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s"
_LOCK = "SELECT FROM knowledge_bases WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s FOR UPDATE"
_DELETE = "DELETE FROM knowledge_bases WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s"
# Of one transaction.
_DOCUMENTS, _CHUNKS = 200, 2_000


class PgBases:
    """:class:`memoryd.knowledge.ports.Bases` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, scope: Scope, base: KnowledgeBase) -> None:
        """Raises ``AlreadyExists``, and ``NotFound`` for a space that the key is not for."""
        if not scope.may_use(base.space):
            raise NotFound("no such space")
        async with self._database.transaction(scope) as connection:
            try:
                await connection.execute(_CREATE, _params(scope, base))
            except psycopg.errors.UniqueViolation as error:
                raise AlreadyExists(f"there is a knowledge base named {base.name!r}, or one is being deleted") from error
            await leave(connection, scope, "kb.create", base.kb_id, base.created_at)

    async def get(self, scope: Scope, name: str) -> KnowledgeBase:
        """Raises ``NotFound``."""
        rows = await self._database.read(scope, _GET, _spaces(scope) | {"name": name})
        if not rows:
            raise NotFound("no such knowledge base")
        return _base(rows[0])

    async def page(self, scope: Scope, *, after: str | None, limit: int) -> list[KnowledgeBase]:
        """By name, those after ``after``."""
        rows = await self._database.read(scope, _PAGE, _spaces(scope) | {"after": after or "", "limit": limit})
        return [_base(row) for row in rows]

    async def update(self, scope: Scope, name: str, change: BaseChange, now: datetime) -> KnowledgeBase:
        """As it is then. Raises ``NotFound``, ``InvalidRequest``."""
        params = _spaces(scope) | _changes(change) | {"name": name, "now": now}
        async with self._database.transaction(scope) as connection:
            row = await (await connection.execute(_UPDATE, params)).fetchone()
            if row is None:
                raise NotFound("no such knowledge base")
            base = _base(row)
            check_chunking(base.chunking)
            await leave(connection, scope, "kb.update", base.kb_id, now)
            return base

    async def to_delete(self, scope: Scope, name: str) -> UUID:
        """The id, also of one whose deletion was begun. Raises ``NotFound``."""
        rows = await self._database.read(scope, _ID, _spaces(scope) | {"name": name})
        if not rows:
            raise NotFound("no such knowledge base")
        kb_id: UUID = rows[0][0]
        return kb_id

    async def interrupted(self, scope: Scope, *, quiet_s: float) -> list[UUID]:
        """Those whose deletion was begun, and last gone on with so long ago."""
        return [kb_id for (kb_id,) in await self._database.read(scope, _INTERRUPTED, _spaces(scope) | {"quiet": quiet_s})]

    async def delete(self, scope: Scope, kb_id: UUID, *, emptied: Callable[[], Awaitable[None]] | None = None) -> list[str]:
        """Everything of it, in every version, in small transactions; the keys of its originals in object storage.

        Interrupted, it is there for nobody and keeps its name until it is deleted again. Deleting twice is no error. ``emptied``
        is awaited before the last step.
        """
        params = naming(scope, kb_id)
        async with self._database.transaction(scope) as connection:
            row = await (await connection.execute(_TO_END, params)).fetchone()
            if row is None:
                return []
            for sql in (_END, _UNTAG, _GIVE_UP):
                await connection.execute(sql, params)
            begun, documents = row
            if begun:
                await leave(connection, scope, "kb.delete", kb_id, documents=documents)
        async with self._database.transaction(scope) as connection:
            await connection.execute(_STOP, params)
        while await self._erase_some(scope, kb_id):
            pass
        if emptied is not None:
            await emptied()
        async with self._database.transaction(scope) as connection:
            await find_draft(connection, scope, kb_id, " FOR UPDATE")
            await connection.execute(_LOCK, params)
            late = await (await connection.execute(_SOME, params | {"documents": None})).fetchall()
            await erase(connection, scope.tenant_id, [pid for (pid,) in late])
            keys = await (await connection.execute(_KEYS, params)).fetchall()
            if (await connection.execute(_DELETE, params)).rowcount:
                await retire_of_base(connection, scope.tenant_id, kb_id)
        return sorted(key for (key,) in keys)

    async def _erase_some(self, scope: Scope, kb_id: UUID) -> bool:
        """False when no document was left."""
        async with self._database.transaction(scope) as connection:
            params = naming(scope, kb_id) | {"documents": _DOCUMENTS}
            found = [pid for (pid,) in await (await connection.execute(_SOME, params)).fetchall()]
            await erase(connection, scope.tenant_id, found, _CHUNKS)
        return bool(found)


def _spaces(scope: Scope) -> dict[str, object]:
    return {"tenant": scope.tenant_id, "spaces": None if scope.spaces is None else sorted(scope.spaces)}


def _params(scope: Scope, base: KnowledgeBase) -> dict[str, object]:
    return {
        "tenant": scope.tenant_id,
        "kb": base.kb_id,
        "name": base.name,
        "space": base.space,
        "description": base.description,
        "chunking": Jsonb(asdict(base.chunking)),
        "retain": base.retain,
        "created": base.created_at,
        "updated": base.updated_at,
    }


def _changes(change: BaseChange) -> dict[str, object]:
    describe, set_retain = not isinstance(change.description, Unset), not isinstance(change.retain, Unset)
    return {
        "describe": describe,
        "description": change.description if describe else None,
        "chunking": Jsonb({name: value for name, value in asdict(change.chunking).items() if value is not None}),
        "set_retain": set_retain,
        "retain": change.retain if set_retain else None,
    }


def _base(row: TupleRow) -> KnowledgeBase:
    kb_id, name, space, description, chunking, *rest = row
    cut = Chunking(Strategy(chunking["strategy"]), chunking["max_tokens"], chunking["overlap_tokens"])
    return KnowledgeBase(kb_id, name, space, description, cut, *rest)
