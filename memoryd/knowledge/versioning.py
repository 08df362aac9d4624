"""The use cases of versions: publish, roll back, tag, compare, collect."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from memoryd.access.service import require
from memoryd.errors import Conflict, InvalidRequest, NotFound
from memoryd.knowledge.model import DRAFT, Collected, Diff, KnowledgeBase, Version, VersionState
from memoryd.knowledge.ports import ActiveJobs, Bases, Drafts, Originals, Versions
from memoryd.memory.ports import Clock
from retrieval.scope import Action, Scope


class Versioning:
    """Moves the pointer of a knowledge base. ``grace_s``: how long a request that pinned a version may take."""

    def __init__(
        self,
        bases: Bases,
        versions: Versions,
        drafts: Drafts,
        jobs: ActiveJobs,
        originals: Originals | None,
        clock: Clock,
        *,
        grace_s: float,
    ) -> None:
        self._bases = bases
        self._versions = versions
        self._drafts = drafts
        self._jobs = jobs
        self._originals = originals
        self._clock = clock
        self._grace_s = grace_s

    async def page(self, scope: Scope, name: str, *, before: int | None, limit: int) -> tuple[KnowledgeBase, list[Version]]:
        """Newest first, the draft among them. Raises ``NotFound``."""
        require(scope, Action.READ)
        base = await self._bases.get(scope, name)
        return base, await self._versions.page(scope, base.kb_id, before=before, limit=limit)

    async def publish(self, scope: Scope, name: str, *, note: str | None) -> Version:
        """Make the draft the next version, and live. Raises ``Conflict`` while a job still writes to the draft."""
        require(scope, Action.WRITE)
        require(scope, Action.READ)  # the answer is the version, with what others staged for it
        base = await self._bases.get(scope, name)
        running = await self._jobs.active(scope, base.kb_id)
        if running:
            raise Conflict(f"{running} job(s) still write to the draft: wait until they are through, or cancel them")
        return await self._versions.publish(scope, base.kb_id, note=note, now=self._clock.now())

    async def published_by_job(self, scope: Scope, name: str, job_id: UUID, *, note: str | None) -> None:
        """What a job does that was asked to publish when it is through. It waits for other jobs that are half way (``NotYet``),
        not for itself, nor for one that is through too: one of the two publishes what both have done.

        Nothing without a draft, which an earlier attempt or another job has published; and a draft that changes nothing is
        dropped, so that a nightly job makes a version only when there is something new.
        """
        base = await self._bases.get(scope, name)
        newest = await self._newest(scope, base)
        if newest is None or newest.state is not VersionState.DRAFT:
            return
        if newest.base_seq and await self._drafts.discard(scope, base.kb_id, unchanged_by=job_id):
            return
        try:
            await self._versions.publish(scope, base.kb_id, note=note, now=self._clock.now(), job_id=job_id)
        except Conflict:
            newest = await self._newest(scope, base)
            if newest is not None and newest.state is VersionState.DRAFT:
                raise

    async def rollback(self, scope: Scope, name: str, to: str) -> Version:
        """Make a published version live: ``to`` is its number or tag. Raises ``NotFound``, ``VersionGone``."""
        require(scope, Action.WRITE)
        require(scope, Action.READ)  # the answer is the version
        base = await self._bases.get(scope, name)
        pin = await self._versions.resolve(scope, name, to)
        return await self._versions.rollback(scope, base.kb_id, pin.seq, self._clock.now())

    async def tag(self, scope: Scope, name: str, tag: str, to: str | None) -> None:
        """Name a version, or with ``None`` take the name away. Raises ``NotFound``, ``VersionGone``."""
        require(scope, Action.WRITE)
        base = await self._bases.get(scope, name)
        seq = None if to is None else (await self._versions.resolve(scope, name, to)).seq
        await self._versions.tag(scope, base.kb_id, tag, seq, self._clock.now())

    async def diff(self, scope: Scope, name: str, before: str | None, after: str, *, limit: int) -> Diff:
        """``after`` may be ``draft``; ``before`` ``None``: the version that ``after`` is based on."""
        require(scope, Action.READ)
        base = await self._bases.get(scope, name)
        last = await self._number(scope, base, after)
        first = (await self._based_on(scope, base, last)) if before is None else await self._number(scope, base, before)
        return await self._versions.diff(scope, base.kb_id, first, last, cursor=None, limit=limit)

    async def diff_behind(self, scope: Scope, name: str, before: int, after: int, cursor: str, *, limit: int) -> Diff:
        """The next page of a diff: of the versions that the page before was of. Raises ``VersionGone``."""
        require(scope, Action.READ)
        base = await self._bases.get(scope, name)
        return await self._versions.diff(scope, base.kb_id, before, after, cursor=cursor, limit=limit)

    async def discard(self, scope: Scope, name: str) -> None:
        """Drop what was staged. Raises ``NotFound`` without a draft, and ``Conflict`` while a job writes to it."""
        require(scope, Action.WRITE)
        base = await self._bases.get(scope, name)
        if await self._jobs.active(scope, base.kb_id):
            raise Conflict("a job still writes to the draft: cancel it first")
        if not await self._drafts.discard(scope, base.kb_id):
            raise NotFound("there is no draft")

    async def collect(self, scope: Scope, name: str) -> Collected:
        """Give up what retention does not keep, now and not only in the worker's next round. Raises ``NotFound``."""
        require(scope, Action.DELETE)
        base = await self._bases.get(scope, name)
        return await self.collected(scope, base, self._clock.now())

    async def collected(self, scope: Scope, base: KnowledgeBase, now: datetime) -> Collected:
        """One round of garbage collection in one knowledge base. Its originals are left alone while it has jobs, also paused
        ones, which may be about to use them."""
        return await self._versions.collect(scope, base.kb_id, now=now, grace_s=self._grace_s, erase=self._erase)

    async def _erase(self, keys: Sequence[str]) -> None:
        if self._originals is not None:
            await self._originals.delete(keys)

    async def _number(self, scope: Scope, base: KnowledgeBase, selector: str) -> int:
        if selector == DRAFT:
            return (await self._draft(scope, base)).seq
        return (await self._versions.resolve(scope, base.name, selector)).seq

    async def _draft(self, scope: Scope, base: KnowledgeBase) -> Version:
        newest = await self._newest(scope, base)
        if newest is None or newest.state is not VersionState.DRAFT:
            raise NotFound("there is no draft")
        return newest

    async def _newest(self, scope: Scope, base: KnowledgeBase) -> Version | None:
        found = await self._versions.page(scope, base.kb_id, before=None, limit=1)
        return found[0] if found else None

    async def _based_on(self, scope: Scope, base: KnowledgeBase, seq: int) -> int:
        found = await self._versions.page(scope, base.kb_id, before=seq + 1, limit=1)
        if not found or found[0].seq != seq:
            raise InvalidRequest("before: name the version to compare with")
        return found[0].base_seq or 0
