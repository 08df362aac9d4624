"""Snapshots: writing them, and reading a session back when Redis does not have it."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from uuid import UUID

from memoryd.access.service import require
from memoryd.errors import Conflict, NotFound
from memoryd.ids import uuid7
from memoryd.memory.ports import Clock
from memoryd.sessions.archive import SnapshotCorrupt, decode, encode
from memoryd.sessions.model import Limits, Restored, Session, milliseconds
from memoryd.sessions.ports import Changed, Image, LifeStore, Objects, Part, SessionGone, SessionRecords, SnapshotRecord, Target
from memoryd.sessions.ranges import Span, closed, dump, parse
from memoryd.threads import SNAPSHOTS
from retrieval.errors import MemorydError
from retrieval.scope import Action, Scope

log = logging.getLogger(__name__)

KEPT = 3
"""Snapshots of one session that are kept; one that turns out damaged has older ones behind it."""
_ATTEMPTS = 5


class Reason(StrEnum):
    """What a snapshot was taken for."""

    PERIODIC = "periodic"
    REQUEST = "request"
    EXPIRY = "expiry"


class Snapshots:
    """Images of sessions in object storage, found by records that outlive Redis."""

    def __init__(self, life: LifeStore, records: SessionRecords, objects: Objects | None, limits: Limits, clock: Clock) -> None:
        self._life = life
        self._records = records
        self._objects = objects
        self._limits = limits
        self._clock = clock

    @property
    def enabled(self) -> bool:
        """Whether there is an object store."""
        return self._objects is not None

    async def take(self, scope: Scope, session_id: str, reason: Reason) -> SnapshotRecord:
        """Write one now. Raises ``SessionGone``, ``StoreUnavailable``."""
        return (await self.image(scope, session_id, reason))[0]

    async def image(self, scope: Scope, session_id: str, reason: Reason) -> tuple[SnapshotRecord, Session]:
        """Write one now; with the session as it has it."""
        image = await self._life.image(scope, Target(session_id, self._clock.now()))
        if image.hollow:
            raise SessionGone("the session's messages are gone")  # older snapshots have them
        return await self._write(scope, image, reason), image.session

    async def list(self, scope: Scope, session_id: str) -> Sequence[SnapshotRecord]:
        """Newest first; nothing where the key may not use the session's space."""
        require(scope, Action.READ)
        found = await self._records.snapshots(scope, session_id, KEPT * 4)
        return [record for record in found if scope.may_use(record.space)]

    async def recover(self, scope: Scope, session_id: str, *, expired: bool = True) -> bool:
        """Put the session back from its newest sound snapshot; ``False`` when there is none at all, or, unless ``expired``, when
        the session ended by itself.

        Raises ``NotFound`` when it is in a space outside the key's, ``SnapshotCorrupt`` when none can be read.
        """
        if self._objects is None:
            return False
        found = await self._records.snapshots(scope, session_id, KEPT * 4)
        if not found:
            return False
        if not scope.may_use(found[0].space):
            raise NotFound("no such session")
        if found[0].final and not expired:
            return False
        skipped: list[UUID] = []
        for record in found:
            parts = await self._read(scope, self._objects, record)
            if parts is None:
                skipped.append(record.snapshot_id)
                continue
            now = self._clock.now()
            lost = not (record.final and record is found[0])
            origin = Restored(record.snapshot_id, record.taken_at, now, tuple(skipped), lost)
            head = self._next_head(found) if lost else record.head
            # Before the session is there again and can change: from now on there may be something newer than this snapshot.
            await self._records.restored(scope, record.snapshot_id, -((record.head - head) // self._limits.messages))
            if head != record.head:
                parts = _leaped(parts, head, milliseconds(now))
            try:
                await self._life.load(scope, Target(session_id, now), parts, origin)
            except SessionGone:
                # It was deleted, and something of it could not be erased: the worker is not to take it for one that was lost.
                await self._records.end(scope, session_id)
                return False
            log.info("a session was restored from snapshot %s, taken %s", record.snapshot_id, record.taken_at.isoformat())
            return True
        raise SnapshotCorrupt(f"Redis does not have the session, and none of its {len(found)} snapshots can be read")

    def _next_head(self, found: Sequence[SnapshotRecord]) -> int:
        """The head that a session goes on from: above every position that can have been given out.

        Messages may have been acknowledged after the snapshot, and after earlier restores of it; at most as many each time as
        a session may have. Their positions are not given out again, so that no reader's cursor and no committed memory names
        another message than it did.
        """
        most = self._limits.messages
        return max(one.head + one.leaps * most for one in found) + most

    async def delete(self, scope: Scope, session_id: str) -> None:
        """Erase a session: its keys, then its snapshots. Raises ``NotFound``."""
        require(scope, Action.DELETE)
        records = await self._records.snapshots(scope, session_id, 1_000)
        if records and not scope.may_use(records[0].space):
            raise NotFound("no such session")
        if not records:
            await self._found(scope, session_id)
        await self._evict_all(scope, session_id)
        # Whatever happens now, the worker does not take it for one that Redis lost.
        await self._records.end(scope, session_id)
        # Those too that somebody wrote meanwhile.
        await self._drop(scope, await self._records.snapshots(scope, session_id, 1_000))
        await self._clear(scope, session_id)

    async def _found(self, scope: Scope, session_id: str) -> None:
        """Raises ``NotFound`` where Redis has no such session for this key, of which there is no record either.

        Where it has none at all, an object of its may still be there: a process was killed before it recorded what it had
        written, and then Redis lost the session. That goes all the same.
        """
        try:
            image = await self._life.image(replace(scope, spaces=None), Target(session_id, self._clock.now()))
        except SessionGone:
            await self._clear(scope, session_id)
            raise
        if not scope.may_use(image.session.space):
            raise NotFound("no such session")

    async def evict(self, scope: Scope, record: SnapshotRecord, session: Session) -> None:
        """Take an expired session out of Redis, of which ``record`` is the snapshot. Raises ``Changed``."""
        await self._life.evict(scope, session, now=self._clock.now(), only_due=True)
        await self._records.finish(scope, record.snapshot_id)

    async def forget_old(self, scope: Scope, record: SnapshotRecord) -> None:
        """Erase a snapshot; with a session's last one, all that there is of it in object storage."""
        await self._drop(scope, [record])
        if not await self._records.snapshots(scope, record.session_id, 1):
            await self._clear(scope, record.session_id)

    async def _evict_all(self, scope: Scope, session_id: str) -> None:
        """Take it out of Redis, and see to it that no reader, who finds it gone or did so just now, brings it back from a
        snapshot. Raises ``Changed``, and it lives on."""
        buried = False
        for _ in range(_ATTEMPTS):
            target = Target(session_id, self._clock.now())
            try:
                image = await self._life.image(scope, target)
                await self._life.evict(scope, image.session, now=target.now, only_due=False, buried=True)
            except SessionGone:
                if buried:
                    return
                # Somebody may have brought it back before the mark: looked at once more.
                await self._life.bury(scope, session_id)
                buried = True
            except Changed:
                continue
            else:
                return
        raise Changed("the session is being written to; try again")

    async def _write(self, scope: Scope, image: Image, reason: Reason) -> SnapshotRecord:
        if self._objects is None:
            raise Conflict("this installation has no object store for snapshots: set MEMORYD_OBJECT_STORE")
        session, snapshot_id = image.session, uuid7()
        data = await SNAPSHOTS.run(encode, scope.tenant_id, image)
        record = SnapshotRecord(
            snapshot_id=snapshot_id,
            session_id=session.session_id,
            space=session.space,
            object_key=_object_key(scope.tenant_id, session.session_id, snapshot_id),
            revision=session.revision,
            head=session.head,
            size=len(data),
            taken_at=image.read_at,
            reason=reason,
        )
        await self._objects.put(record.object_key, data)
        try:
            await self._records.add(scope, record)
        except MemorydError:
            await self._objects.delete([record.object_key])
            raise
        if not await self._life.settle(scope, image):
            # Deleted meanwhile: nothing of it may stay.
            await self._drop(scope, [record])
            raise SessionGone("no such session")
        try:
            await self._drop(scope, (await self._records.snapshots(scope, session.session_id, 100))[KEPT:])
        except MemorydError as error:
            # The new one is there, which is what matters; who writes the next one tries again.
            log.warning("older snapshots of a session cannot be erased: %s", error.code)
        return record

    async def _drop(self, scope: Scope, records: Sequence[SnapshotRecord]) -> None:
        if not records:
            return
        # The objects first: a record without its object is skipped when reading, an object without a record is never found.
        if self._objects is not None:
            await self._objects.delete([record.object_key for record in records])
        await self._records.remove(scope, [record.snapshot_id for record in records])

    async def _clear(self, scope: Scope, session_id: str) -> None:
        """Erase also what a process left that was killed between writing an object and recording it: no record names it."""
        if self._objects is not None:
            await self._objects.clear(_folder(scope.tenant_id, session_id))

    async def _read(self, scope: Scope, objects: Objects, record: SnapshotRecord) -> Sequence[Part] | None:
        data = await objects.get(record.object_key)
        if data is None:
            log.error("snapshot %s is missing; the one before is taken", record.snapshot_id)
            return None
        try:
            return await SNAPSHOTS.run(decode, scope.tenant_id, record.session_id, data)
        except (SnapshotCorrupt, ValueError, LookupError) as error:
            what = type(error).__name__  # not its text, which may quote content
        log.error("snapshot %s cannot be read (%s); the one before is taken", record.snapshot_id, what)
        return None


def _leaped(parts: Sequence[Part], head: int, now_ms: int) -> Sequence[Part]:
    """With the head moved up; the positions between are not visible.

    Versions of the state, and the revision, go on from the time in milliseconds, which is above all that were given out: nobody
    writes once a millisecond for years. A revision that came twice would let who read the session before the loss take what was
    written since for what they have, and settle or evict it unsaved.
    """
    made = []
    for part in parts:
        values = part.values
        if part.name == "meta":
            fields = dict(zip(values[::2], values[1::2], strict=True))
            visible = (*closed(parse(fields["vis"]), int(fields["head"])), Span(head + 1, None))
            fields |= {"head": str(head), "vis": dump(visible)}
            fields |= {name: str(max(now_ms, int(fields[name]))) for name in ("sver", "rev")}
            values = tuple(one for pair in fields.items() for one in pair)
        made.append(replace(part, values=values))
    return made


def _object_key(tenant_id: UUID, session_id: str, snapshot_id: UUID) -> str:
    return f"{_folder(tenant_id, session_id)}{snapshot_id}.mds"


def _folder(tenant_id: UUID, session_id: str) -> str:
    return f"{tenant_id}/sessions/{hashlib.sha256(session_id.encode()).hexdigest()[:32]}/"
