"""Writing memories: one or up to a thousand in one transaction, recognised when said before."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from memoryd.access.model import Space
from memoryd.access.service import SpaceService, require
from memoryd.errors import Collision, Conflict, GenerationsChanged, InvalidRequest, NotFound
from memoryd.ids import uuid7
from memoryd.memory.identity import identity
from memoryd.memory.model import Change, Content, Draft, Idempotency, Outcome, Prepared, Revision, Written
from memoryd.memory.ports import Clock, MemoryReader, Receipt, Unit, Units
from memoryd.memory.prepare import Batch, Preparer
from memoryd.memory.supersede import supersede
from retrieval.scope import Action, Scope

_ATTEMPTS = 3


class _Outdated(Conflict):
    """What was known when the memories were prepared has changed since: they would be stored without an index entry."""

    retryable = True
    retry_after_s = 1.0


class Remember:
    """The use case of ``POST /v1/memories``."""

    def __init__(self, units: Units, reader: MemoryReader, spaces: SpaceService, preparer: Preparer, clock: Clock) -> None:
        self._units = units
        self._reader = reader
        self._spaces = spaces
        self._preparer = preparer
        self._clock = clock

    async def __call__(self, scope: Scope, drafts: Sequence[Draft], idempotency: Idempotency | None) -> list[Written]:
        """Store ``drafts``; the answers in their order. When this returns they are durable and can be recalled."""
        require(scope, Action.WRITE)
        # A short text is being embedded while we look up what is known: the answer waits for the longer of the two.
        async with self._preparer.begun([draft.content for draft in drafts], scope.tenant_id) as batch:
            if idempotency is not None:
                earlier = await self._reader.earlier_receipt(scope, idempotency)
                if earlier is not None:
                    return _written(earlier, [draft.external_id for draft in drafts])
            spaces = await self._spaces.writable(scope, sorted({draft.space for draft in drafts}))
            for _ in range(_ATTEMPTS):
                try:
                    return await self._write(scope, await self._prepare(scope, drafts, spaces, batch), idempotency)
                except GenerationsChanged:
                    await batch.renew()
                except (_Outdated, Collision):
                    continue  # a collision: memories are inserted as they were sent, others sent them in another order
        raise _Outdated("the same memories are being changed by others; try again")

    async def _write(self, scope: Scope, prepared: Sequence[Prepared], idempotency: Idempotency | None) -> list[Written]:
        async with self._units.begin(scope, idempotency) as unit:
            if unit.replay is not None:
                return _written(unit.replay, [one.external_id for one in prepared])
            written = await unit.insert(prepared)
            if any(w.outcome is Outcome.CREATED and not p.passages for p, w in zip(prepared, written, strict=True)):
                raise _Outdated("a memory that was there is gone")
            await self._supersede(unit, prepared, written)
            created = [one.memory_id for one in written if one.outcome is Outcome.CREATED]
            await unit.audit("memory.create", created, {"created": len(created), "sent": len(prepared)})
            await unit.receipt(_receipt(written))
        return written

    async def _prepare(self, scope: Scope, drafts: Sequence[Draft], spaces: dict[str, Space], batch: Batch) -> list[Prepared]:
        """Ids and identities for all; passages and vectors only for what is not known yet."""
        now = self._clock.now()
        bare = [
            Prepared(
                uuid7(),
                spaces[draft.space].space_id,
                draft.external_id,
                identity(draft.content, draft.external_id, now),
                _timed(draft.content, now),
                (),
            )
            for draft in drafts
        ]
        known = await self._reader.known(scope, [(one.space_id, one.identity) for one in bare])
        new: dict[tuple[UUID, bytes], int] = {}
        for number, one in enumerate(bare):
            if (one.space_id, one.identity) not in known:
                new.setdefault((one.space_id, one.identity), number)
        passages = await batch.passages({number: bare[number].space_id for number in new.values()})
        return [replace(one, passages=passages[number]) if number in passages else one for number, one in enumerate(bare)]

    async def _supersede(self, unit: Unit, prepared: Sequence[Prepared], written: Sequence[Written]) -> None:
        """Close what the memories replace, also where one was there already."""
        named: dict[tuple[UUID, UUID], tuple[Prepared, Written]] = {}
        for one, answer in zip(prepared, written, strict=True):
            if one.content.supersedes is not None:
                named.setdefault((one.content.supersedes, answer.memory_id), (one, answer))
        said_before = {answer.memory_id for _, answer in named.values() if answer.outcome is Outcome.DUPLICATE}
        heads = await unit.lock_all({old for old, _ in named} | said_before)
        for (old_id, new_id), (one, answer) in named.items():
            head = heads.get(old_id)
            if head is None or head.deleted_at is not None:
                raise NotFound("supersedes: no such memory")
            if head.space_id != one.space_id:
                raise InvalidRequest("supersedes: the memory is in another space")
            if head.superseded_by == new_id:
                continue  # the same request again
            if head.superseded_by is not None:
                raise Conflict("supersedes: that memory was superseded already; name the one that did")
            content = one.content if answer.outcome is Outcome.CREATED else _standing(heads.get(new_id), head)
            heads[old_id] = await supersede(unit, head, new_id, content, self._clock.now(), self._preparer)
            await unit.audit("memory.supersede", [old_id], {"by": str(new_id), "change": Change.SUPERSEDED})


def _standing(duplicate: Revision | None, old: Revision) -> Content:
    """The content of a memory that was there already, if it can take the place of another."""
    if duplicate is None or duplicate.deleted_at is not None:
        raise _Outdated("supersedes: the memory with this content was deleted just now")
    if duplicate.memory_id == old.memory_id:
        raise Conflict("supersedes: this is the very memory that it names; change it with PATCH")
    if duplicate.superseded_by is not None:
        raise Conflict("supersedes: the memory with this content was itself superseded; revert it first")
    return duplicate.content


def _receipt(written: Sequence[Written]) -> Receipt:
    """Ids of ours only: what the caller called them outlives no purge."""
    return {"results": [[str(one.memory_id), one.outcome] for one in written]}


def _written(receipt: Receipt, external_ids: Sequence[str | None]) -> list[Written]:
    """The answer to the same request again: the key's fingerprint says that it is, so these are the first one's too."""
    results = receipt.get("results")
    if not isinstance(results, list) or len(results) != len(external_ids):
        raise Conflict("this Idempotency-Key belongs to another kind of request")
    # Receipts of earlier builds have the external id between the two.
    return [
        Written(UUID(str(id_)), external, Outcome(outcome))
        for (id_, *_, outcome), external in zip(results, external_ids, strict=True)
    ]


def _timed(content: Content, now: datetime) -> Content:
    """A successor without any time is true from now on: with no beginning it would have been true before what it replaced."""
    if content.supersedes is None or content.valid_from is not None or content.event_time is not None:
        return content
    return replace(content, valid_from=now)
