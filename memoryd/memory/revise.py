"""Changing what is remembered: patch, delete, purge, revert. Every change is a revision with an actor and a reason."""

from collections.abc import Callable, Collection
from uuid import UUID

from memoryd.access.service import require
from memoryd.errors import Conflict, GenerationsChanged, NotFound, PreconditionFailed
from memoryd.memory.identity import identity
from memoryd.memory.model import Change, Content, Idempotency, Revision
from memoryd.memory.ports import Clock, MemoryReader, NewRevision, Receipt, Unit, Units
from memoryd.memory.prepare import Preparer
from retrieval.scope import Action, Scope
from retrieval.situate import situated

_ATTEMPTS = 3

Edit = Callable[[Content], Content]


class _Moved(Conflict):
    """The head is another one than the revision was made for."""


class Revise:
    """The use cases behind ``PATCH``, ``DELETE`` and ``revert``. ``if_match``: the revisions one of which must be the head."""

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
        if_match: Collection[int] | None,
        idempotency: Idempotency | None,
    ) -> Revision:
        """Apply ``edit`` to the head. Raises ``NotFound``, ``PreconditionFailed``, ``Conflict``.

        A repeated request is answered with the revision that the first one made, whatever happened since.
        """
        require(scope, Action.WRITE)
        require(scope, Action.READ)  # the answer is the whole memory, whatever was changed of it
        for _ in range(_ATTEMPTS):
            earlier = await self._earlier(scope, idempotency)
            if earlier is not None:
                return await self._made(scope, memory_id, earlier)
            head = await self._reader.get(scope, memory_id)
            if head is None:
                raise NotFound("no such memory")
            _match(head, if_match)
            content = edit(head.content)
            number = await self._append(scope, head, content, Change.UPDATED, reason, idempotency)
            if number is not None:
                return head if number == head.revision else await self._made(scope, memory_id, number)
        raise Conflict("the memory is being changed by others; try again")

    async def revert(
        self,
        scope: Scope,
        memory_id: UUID,
        revision: int,
        *,
        reason: str | None,
        if_match: Collection[int] | None,
        idempotency: Idempotency | None,
    ) -> Revision:
        """Make the content of an earlier revision current again; also undoes a deletion or a supersession."""
        require(scope, Action.WRITE)
        require(scope, Action.READ)  # the answer is the whole memory
        for _ in range(_ATTEMPTS):
            earlier = await self._earlier(scope, idempotency)
            if earlier is not None:
                return await self._made(scope, memory_id, earlier)
            history = await self._reader.history(scope, memory_id, before=None, limit=1)
            if not history:
                raise NotFound("no such memory")
            head = history[0]
            _match(head, if_match)
            wanted = await self._reader.history(scope, memory_id, before=revision + 1, limit=1)
            if not wanted or wanted[0].revision != revision or wanted[0].action is Change.DELETED:
                raise NotFound(f"the memory has no revision {revision} to go back to")
            number = await self._append(scope, head, wanted[0].content, Change.REVERTED, reason, idempotency)
            if number is not None:
                return await self._made(scope, memory_id, number)
        raise Conflict("the memory is being changed by others; try again")

    async def delete(
        self,
        scope: Scope,
        memory_id: UUID,
        *,
        purge: bool,
        reason: str | None,
        if_match: Collection[int] | None,
        idempotency: Idempotency | None,
    ) -> None:
        """Take out of recall (``revert`` brings it back), or with ``purge`` erase. Raises ``NotFound``."""
        require(scope, Action.DELETE)
        if idempotency is not None and await self._reader.earlier_receipt(scope, idempotency) is not None:
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

    async def _earlier(self, scope: Scope, idempotency: Idempotency | None) -> int | None:
        """The number of the revision that an earlier request with this key made."""
        receipt = None if idempotency is None else await self._reader.earlier_receipt(scope, idempotency)
        return None if receipt is None else _number(receipt)

    async def _append(
        self,
        scope: Scope,
        head: Revision,
        content: Content,
        action: Change,
        reason: str | None,
        idempotency: Idempotency | None,
    ) -> int | None:
        """Embed outside the transaction, then append if ``head`` still is the head: the revision's number, else ``None``.

        An update that changes nothing makes no revision, but keeps its receipt.
        """
        changed = action is not Change.UPDATED or content != head.content
        if not changed and idempotency is None:
            return head.revision
        new = await self._revision(scope, head, content, action, reason) if changed else None
        try:
            async with self._units.begin(scope, idempotency) as unit:
                if unit.replay is not None:
                    return _number(unit.replay)
                locked = await _locked(unit, head)
                number = head.revision if new is None else await self._recorded(unit, locked, new)
                await unit.receipt({"id": str(head.memory_id), "revision": number})
        except _Moved:
            return None
        except GenerationsChanged:
            self._preparer.renew()
            return None
        return number

    async def _recorded(self, unit: Unit, head: Revision, new: NewRevision) -> int:
        number = (await unit.revise(head, new)).revision
        verb = "update" if new.action is Change.UPDATED else "revert"
        await unit.audit(f"memory.{verb}", [head.memory_id], {"id": str(head.memory_id), "revision": number})
        return number

    async def _revision(self, scope: Scope, head: Revision, content: Content, action: Change, reason: str | None) -> NewRevision:
        keep = _embeds_alike(head, content)
        superseded_by = head.superseded_by if action is Change.UPDATED else None
        if keep:
            passages = await self._preparer.passages(head.space_id, content)
        else:
            passages = await self._preparer.embedded(head.space_id, content, scope.tenant_id)
        return NewRevision(
            content=content,
            action=action,
            reason=reason,
            passages=passages,
            keep_vectors=keep,
            superseded_by=superseded_by,
            # What was superseded stays without one, so that its content can be said again: see `supersede`.
            identity=None if superseded_by and not head.external_id else identity(content, head.external_id, head.created_at),
        )

    async def _made(self, scope: Scope, memory_id: UUID, number: int) -> Revision:
        """A revision of a memory, whatever became of it since. Raises ``NotFound`` when it was purged."""
        found = await self._reader.history(scope, memory_id, before=number + 1, limit=1)
        if not found or found[0].revision != number:
            raise NotFound("no such memory")
        return found[0]


async def _locked(unit: Unit, head: Revision) -> Revision:
    """The head, locked. An error when it moved on: a return would commit the Idempotency-Key without a receipt."""
    locked = await unit.lock(head.memory_id)
    if locked is None:
        raise NotFound("no such memory")
    if locked.revision != head.revision:
        raise _Moved
    return locked


def _number(receipt: Receipt) -> int:
    number = receipt.get("revision")
    if not isinstance(number, int):
        raise Conflict("this Idempotency-Key belongs to another kind of request")
    return number


def _match(head: Revision, if_match: Collection[int] | None) -> None:
    if if_match is not None and head.revision not in if_match:
        raise PreconditionFailed(f"the memory is at revision {head.revision}, which If-Match does not name")


def _embeds_alike(head: Revision, content: Content) -> bool:
    """True when the head has vectors and the text that is embedded does not change."""
    old = head.content
    return head.deleted_at is None and situated(old.text, old.speaker, old.event_time) == situated(
        content.text, content.speaker, content.event_time
    )
