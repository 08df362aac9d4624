"""Dropping a draft in small transactions.

From the first of them on the draft takes nothing. Interrupted, it goes on when it is asked for again, or by garbage collection.
"""

from uuid import UUID

from memoryd.stores.database import Database
from memoryd.stores.jobs.active import wait_for_others
from memoryd.stores.jobs.drafts import note_discarded
from memoryd.stores.knowledge.diff import differs
from memoryd.stores.knowledge.locks import find_base, find_draft, naming
from memoryd.stores.knowledge.rows import close, erase
from memoryd.stores.knowledge.trail import leave
from retrieval.scope import Scope

_STOP = "UPDATE kb_versions SET discarding = true WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND seq = %(seq)s"
_OPENED = """
SELECT document_pid FROM kb_documents
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND from_seq = %(seq)s LIMIT %(some)s FOR UPDATE
"""
_CLOSED = """
SELECT document_pid FROM kb_documents
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND to_seq = %(seq)s LIMIT %(some)s FOR UPDATE
"""
_DELETE = "DELETE FROM kb_versions WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND seq = %(seq)s"
# Of one transaction.
_DOCUMENTS, _CHUNKS = 50, 2_000


async def discard(database: Database, scope: Scope, kb_id: UUID, *, unchanged_by: UUID | None = None) -> bool:
    """Erase what the draft opened, then open again what it closed, then it; false when there is none. Raises ``NotFound``.

    Jobs that wrote to it and were to publish it are told, lest they publish a part of what they did when they are tried again.
    ``unchanged_by``: for this job, and false also for a draft with which a document would be added, removed or changed. What
    others write to it is waited for before it is looked at; raises ``NotYet`` or ``Conflict`` while other jobs are half way.
    """
    async with database.transaction(scope) as connection:
        await find_base(connection, scope, kb_id)
        draft = await find_draft(connection, scope, kb_id, " FOR UPDATE")
        if draft is None:
            return False
        if unchanged_by is not None:
            await wait_for_others(connection, scope, kb_id, unchanged_by)
            if await differs(connection, scope, kb_id, draft.base_seq or 0, draft.seq):
                return False
        elif not draft.discarding:
            await note_discarded(connection, scope, kb_id, draft.seq)
        await connection.execute(_STOP, naming(scope, kb_id) | {"seq": draft.seq})
    await go_on(database, scope, kb_id)
    return True


async def go_on(database: Database, scope: Scope, kb_id: UUID) -> None:
    """Go on with a discard that was begun; nothing where that is done, whatever draft there may be by now."""
    while not await _step(database, scope, kb_id):
        pass


async def _step(database: Database, scope: Scope, kb_id: UUID) -> bool:
    """One transaction; true when all is done, by whomever. The draft is the one that is there: after the one that was to be
    discarded, its number may have become another's."""
    async with database.transaction(scope) as connection:
        draft = await find_draft(connection, scope, kb_id, " FOR UPDATE")
        if draft is None or not draft.discarding:
            return True
        params = naming(scope, kb_id) | {"seq": draft.seq, "some": _DOCUMENTS}
        opened = [pid for (pid,) in await (await connection.execute(_OPENED, params)).fetchall()]
        if opened:
            await erase(connection, scope.tenant_id, opened, _CHUNKS)
            return False
        closed = [pid for (pid,) in await (await connection.execute(_CLOSED, params)).fetchall()]
        if closed:
            await close(connection, scope.tenant_id, closed, None)
            return False
        await connection.execute(_DELETE, params)
        await leave(connection, scope, "kb.discard", kb_id, seq=draft.seq)
        return True
