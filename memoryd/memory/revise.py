"""Changing what is remembered: patch, delete, purge, revert. Every change is a revision with an actor and a reason."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from memoryd.access.service import require
from memoryd.errors import Conflict, NotFound, PreconditionFailed
from memoryd.memory.identity import identity
from memoryd.memory.model import Change, Content, Idempotency, Revision
from memoryd.memory.ports import Clock, MemoryReader, NewRevision, Receipt, Units
from memoryd.memory.prepare import Preparer, lane_for
from retrieval.scope import Action, Scope
from retrieval.situate import situated

_ATTEMPTS = 3

Edit = Callable[[Content], Content]


class Revise:
    """The use cases behind ``PATCH``, ``DELETE`` and ``revert``."""

    def __init__(self, units: Units, reader: MemoryReader, preparer: Preparer, clock: Clock) -> None:
        self._units = units
        self._reader = reader
        self._preparer = preparer
        self._clock = clock

    async def patch(
        self,
        scope: Scope,
        memory_id: UUID,
        edit: Edit,
        *,
        reason: str | None,
        if_match: int | None,
        idempotency: Idempotency | None,
    ) -> Revision:
        """Apply ``edit`` to the head. Raises ``NotFound``, ``PreconditionFailed``, ``Conflict``."""
        require(scope, Action.WRITE)
        for _ in range(_ATTEMPTS):
            head = await self._reader.get(scope, memory_id)
            if head is None:
                raise NotFound("no such memory")
            if await self._replayed(scope, idempotency):
                return head
            _match(head, if_match)
            content = edit(head.content)
            if content == head.content:
                return head
            if await self._append(scope, head, content, Change.UPDATED, reason, idempotency):
                return await self._now(scope, memory_id)
        raise Conflict("the memory is being changed by others; try again")

    async def revert(
        self,
        scope: Scope,
        memory_id: UUID,
        revision: int,
        *,
        reason: str | None,
        if_match: int | None,
        idempotency: Idempotency | None,
    ) -> Revision:
        """Make the content of an earlier revision current again; also undoes a deletion or a supersession."""
        require(scope, Action.WRITE)
        for _ in range(_ATTEMPTS):
            history = await self._reader.history(scope, memory_id, before=None, limit=1)
            if not history:
                raise NotFound("no such memory")
            head = history[0]
            if await self._replayed(scope, idempotency):
                return head
            _match(head, if_match)
            wanted = await self._reader.history(scope, memory_id, before=revision + 1, limit=1)
            if not wanted or wanted[0].revision != revision or wanted[0].action is Change.DELETED:
                raise NotFound(f"the memory has no revision {revision} to go back to")
            if await self._append(scope, head, wanted[0].content, Change.REVERTED, reason, idempotency):
                return await self._now(scope, memory_id)
        raise Conflict("the memory is being changed by others; try again")

    async def delete(
        self,
        scope: Scope,
        memory_id: UUID,
        *,
        purge: bool,
        reason: str | None,
        if_match: int | None,
        idempotency: Idempotency | None,
    ) -> None:
        """Take out of recall (``revert`` brings it back), or with ``purge`` erase. Raises ``NotFound``."""
        require(scope, Action.DELETE)
        if await self._replayed(scope, idempotency):
            return
        async with self._units.begin(scope, idempotency) as unit:
            if unit.replay is not None:
                return
            head = await unit.lock(memory_id)
            if head is None or (head.deleted_at is not None and not purge):
                raise NotFound("no such memory")
            _match(head, if_match)
            if purge:
                revisions = await unit.purge(memory_id)
                await unit.audit("memory.purge", [memory_id], {"revisions": revisions})
            else:
                await unit.revise(head, NewRevision(head.content, Change.DELETED, reason, passages=None, keep_vectors=False))
                await unit.audit("memory.delete", [memory_id], {})
            await unit.receipt({"id": str(memory_id)})

    async def _replayed(self, scope: Scope, idempotency: Idempotency | None) -> bool:
        return idempotency is not None and await self._reader.earlier_receipt(scope, idempotency) is not None

    async def _append(
        self,
        scope: Scope,
        head: Revision,
        content: Content,
        action: Change,
        reason: str | None,
        idempotency: Idempotency | None,
    ) -> bool:
        """Embed outside the transaction, then append if ``head`` still is the head; false when it is not."""
        keep = _embeds_alike(head, content)
        if keep:
            passages = tuple((await asyncio.to_thread(self._preparer.passages, head.space_id, content))[0])
        else:
            passages = (await self._preparer.embedded([(head.space_id, content)], lane=lane_for([content.text])))[0]
        async with self._units.begin(scope, idempotency) as unit:
            if unit.replay is not None:
                return True
            locked = await unit.lock(head.memory_id)
            if locked is None:
                raise NotFound("no such memory")
            if locked.revision != head.revision:
                return False
            new = NewRevision(
                content=content,
                action=action,
                reason=reason,
                passages=passages,
                keep_vectors=keep,
                superseded_by=head.superseded_by if action is Change.UPDATED else None,
                identity=identity(content, head.external_id, head.created_at),
            )
            number = await unit.revise(locked, new)
            receipt: Receipt = {"id": str(head.memory_id), "revision": number}
            await unit.audit(f"memory.{'update' if action is Change.UPDATED else 'revert'}", [head.memory_id], receipt)
            await unit.receipt(receipt)
        return True

    async def _now(self, scope: Scope, memory_id: UUID) -> Revision:
        revision = await self._reader.get(scope, memory_id)
        if revision is None:
            raise NotFound("no such memory")
        return revision


def _match(head: Revision, if_match: int | None) -> None:
    if if_match is not None and head.revision != if_match:
        raise PreconditionFailed(f"the memory is at revision {head.revision}, not {if_match}")


def _embeds_alike(head: Revision, content: Content) -> bool:
    """True when the head has vectors and the text that is embedded does not change."""
    old = head.content
    return head.deleted_at is None and situated(old.text, old.speaker, old.event_time) == situated(
        content.text, content.speaker, content.event_time
    )
