"""The worker's rounds over sessions: snapshots; the end of those that expired, commits and retention; summaries.

Three rounds, so that the slower ones do not hold up snapshots, whose interval bounds what can be lost. Every step may be
killed at any moment and is done again by the next round. A session that expired leaves Redis only after its snapshot is stored
and, where it is set so, after it was committed; without an object store it does not leave at all.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol
from uuid import UUID

from memoryd.attempts import attempted, each
from memoryd.errors import WorkingMemoryUnavailable
from memoryd.memory.ports import Clock
from memoryd.sessions.archive import SnapshotCorrupt
from memoryd.sessions.commit import Commit
from memoryd.sessions.model import AutoCommit, Session
from memoryd.sessions.ports import (
    LEAST_IDLE_S,
    LifeStore,
    MessageStore,
    SessionGone,
    SessionRecords,
    SnapshotRecord,
    Target,
    TenantSettings,
)
from memoryd.sessions.snapshots import Reason, Snapshots
from memoryd.sessions.worklists import Tenants, Walks, WorkList, round_of
from retrieval.errors import MemorydError
from retrieval.scope import Scope

log = logging.getLogger(__name__)

_BATCH = 200
_SAVED_AT_ONCE = 8
_OTHERS_AT_ONCE = 4
# A summary can be a language model's, and take minutes: tenants take turns sooner.
_SUMMARISED = 20
_RETRY = timedelta(minutes=1)
_STUCK = timedelta(minutes=10)
# A session that is written to is not idle, and not looked at.
_QUIET = timedelta(seconds=LEAST_IDLE_S)
# A session that is not to be committed when idle; a change of settings brings it forward.
_UNCONCERNED = timedelta(hours=1)
# Retention counts in days, and looking for it costs a query a tenant.
_SWEEP = timedelta(minutes=10)
# Redis loses sessions hardly ever, and whoever asks for one has it at once. So many of a tenant are read back in one round.
_LOST = timedelta(hours=1)
_RECLAIMED = 200
# After so many failures one after the other it is not the session that something is wrong with.
_ENOUGH = 10
_FRESH = timedelta(seconds=1)
_DUE = WorkList("due", _OTHERS_AT_ONCE, _BATCH, retry=_RETRY)
_UNCOMMITTED = WorkList("uncommitted", _OTHERS_AT_ONCE, _BATCH, wait=_QUIET, retry=_RETRY - _QUIET)


class Summarise(Protocol):
    """Brings one session's summary up to date."""

    def begin(self) -> None: ...
    async def __call__(self, scope: Scope, session_id: str) -> bool:
        """``False``: there is more to read, for the next turn."""


@dataclass(slots=True)
class SessionReport:
    """What a round did."""

    summarised: int = 0
    snapshots: int = 0
    committed: int = 0
    expired: int = 0
    reclaimed: int = 0
    stuck: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Known:
    """A tenant's settings, as they were."""

    scope: Scope
    read_at: datetime
    settings: TenantSettings


class SessionRounds:
    """Each of the three runs once at a time, beside the others."""

    def __init__(
        self,
        tenants: Tenants,
        messages: MessageStore,
        life: LifeStore,
        snapshots: Snapshots,
        commit: Commit,
        summarise: Summarise,
        records: SessionRecords,
        clock: Clock,
        *,
        snapshot_interval: timedelta,
        retention: timedelta,
    ) -> None:
        self._walks = Walks(tenants, life, snapshots.recover, clock)
        self._messages = messages
        self._life = life
        self._snapshots = snapshots
        self._commit = commit
        self._summarise = summarise
        self._records = records
        self._clock = clock
        # A session waits for half the interval; the other half is for the pause between rounds and for writing. One that
        # cannot be written waits for as long again.
        self._dirty = WorkList("dirty", _SAVED_AT_ONCE, _BATCH, wait=snapshot_interval / 2)
        self._retention = retention
        self._settings: dict[UUID, _Known] = {}  # in one round
        self._swept: datetime | None = None
        self._sought: datetime | None = None
        self._reached: dict[UUID, str] = {}  # where to go on, by tenant
        self._left = False  # some tenant has more of what Redis lost, or could not be seen to

    async def save(self) -> SessionReport:
        """Snapshots of all sessions that changed, until none is due."""
        report = SessionReport()

        async def step(scope: Scope, session_id: str) -> None:
            await self._snapshots.take(scope, session_id, Reason.PERIODIC)
            report.snapshots += 1

        if self._snapshots.enabled:
            report.failed = await self._walks.drain(self._dirty, step)
        return report

    async def tend(self) -> SessionReport:
        """Sessions that expired, then those that are idle; now and then snapshots that are older than they are kept, and sessions
        that Redis lost."""
        report = SessionReport()
        self._settings = {}
        for work, step in ((_DUE, self._expire), (_UNCOMMITTED, self._idle)):
            report.failed += await self._walks.drain(work, partial(step, report))
        await self._reconsidered(report)
        if report.stuck:
            log.warning("%d expired sessions stay in Redis: set MEMORYD_OBJECT_STORE for their snapshots", report.stuck)
        now = self._clock.now()
        if self._snapshots.enabled and (self._swept is None or now - self._swept >= _SWEEP):
            async for scopes in self._walks.pages():
                await each(scopes, partial(self._retire, report), _OTHERS_AT_ONCE)
            self._swept = now
        if self._snapshots.enabled and (self._sought is None or now - self._sought >= _LOST):
            self._left = False
            async for scopes in self._walks.pages():
                await each(scopes, partial(self._reclaim, report), _OTHERS_AT_ONCE)
            self._sought = now - _LOST + _RETRY if self._left else now
        return report

    async def summarise(self) -> SessionReport:
        """Summaries of all sessions that have new blocks."""
        report = SessionReport()

        async def step(scope: Scope, session_id: str) -> datetime | None:
            if not await self._summarise(scope, session_id):
                return self._clock.now()
            report.summarised += 1
            return None

        self._summarise.begin()
        work = WorkList("unsummarised", _OTHERS_AT_ONCE, _SUMMARISED, retry=_RETRY)
        report.failed = await self._walks.drain(work, step)
        return report

    async def _expire(self, report: SessionReport, scope: Scope, session_id: str) -> datetime | None:
        session = await self._session(scope, session_id)
        if session.expires_at > self._clock.now():
            return session.expires_at
        auto = session.auto_commit or (await self._of_tenant(scope)).auto_commit
        if auto is not AutoCommit.OFF:
            await self._committed(report, scope, session_id)
        if not self._snapshots.enabled:
            report.stuck += 1
            return self._clock.now() + _STUCK
        record, session = await self._snapshots.image(scope, session_id, Reason.EXPIRY)
        await self._snapshots.evict(scope, record, session)
        report.expired += 1
        return None

    async def _idle(self, report: SessionReport, scope: Scope, session_id: str) -> datetime | None:
        now, session = self._clock.now(), await self._session(scope, session_id)
        settings = await self._of_tenant(scope)
        if (session.auto_commit or settings.auto_commit) is not AutoCommit.IDLE:
            return now + _UNCONCERNED
        idle_at = session.written_at + timedelta(seconds=settings.idle_s)
        if idle_at > now:
            return idle_at - _QUIET  # it waits that long in its list
        await self._committed(report, scope, session_id)
        return None

    async def _of_tenant(self, scope: Scope) -> TenantSettings:
        """As they were within the last second: a tenant may have thousands of sessions to look at."""
        known = self._settings.get(scope.tenant_id)
        if known is None or self._clock.now() - known.read_at > _FRESH:
            known = await self._read(scope)
        return known.settings

    async def _read(self, scope: Scope) -> "_Known":
        now, before = self._clock.now(), self._settings.get(scope.tenant_id)
        known = _Known(scope, now, await self._records.settings(scope))
        if before is not None and before.settings != known.settings:
            # Sessions may have been put off by what they were before.
            await self._life.reconsider(scope)
        self._settings[scope.tenant_id] = known
        return known

    async def _reconsidered(self, report: SessionReport) -> None:
        """Tenants whose settings changed while their sessions were looked at: these wait in their list as if they never had."""
        for known in list(self._settings.values()):
            if not await attempted(round_of(known.scope), self._read(known.scope)):
                report.failed += 1

    async def _committed(self, report: SessionReport, scope: Scope, session_id: str) -> None:
        done = await self._commit(scope, session_id)  # apart from the sum, which others add to meanwhile
        report.committed += done.created

    async def _session(self, scope: Scope, session_id: str) -> Session:
        target = Target(session_id, self._clock.now())
        page = await self._messages.read(scope, target, after=0, before=None, limit=1, newest=True, renew=False)
        return page.session

    async def _retire(self, report: SessionReport, scope: Scope) -> None:
        """Erase snapshots beyond their retention; of a session that still lives, after a new one was taken."""
        if not await attempted(round_of(scope), self._retire_all(report, scope)):
            report.failed += 1

    async def _reclaim(self, report: SessionReport, scope: Scope) -> None:
        """Put back sessions that Redis lost and that nobody asked for since: they too are listed, committed, and end in order."""
        if not await attempted(round_of(scope), self._reclaim_all(report, scope)):
            self._left = True
            report.failed += 1

    async def _reclaim_all(self, report: SessionReport, scope: Scope) -> None:
        after, left, failed = self._reached.pop(scope.tenant_id, ""), _RECLAIMED, 0
        while names := await self._records.unfinished(scope, after, _BATCH):
            there = await self._life.present(scope, names)
            for name in names:
                if name not in there:
                    if not left or failed == _ENOUGH:
                        self._reached[scope.tenant_id], self._left = after, True
                        return
                    left -= 1
                    try:
                        report.reclaimed += await self._snapshots.recover(scope, name, expired=False)
                        failed = 0
                    except WorkingMemoryUnavailable:
                        raise
                    except MemorydError as error:
                        log.warning("a session that Redis lost could not be read back: %s", error.code)
                        report.failed += 1
                        failed += 1
                after = name

    async def _retire_all(self, report: SessionReport, scope: Scope) -> None:
        before, failed = self._clock.now() - self._retention, 0
        while found := await self._records.outdated(scope, before, _BATCH, skip=failed):
            for record in found:
                if not await attempted(round_of(scope), self._forget(scope, record)):
                    failed += 1
                    report.failed += 1

    async def _forget(self, scope: Scope, record: SnapshotRecord) -> None:
        try:
            await self._snapshots.take(scope, record.session_id, Reason.PERIODIC)
        except SessionGone:
            # Redis may have lost it since: its last snapshot does not go before it is there again, and has a newer one. One that
            # cannot be read goes.
            with suppress(SnapshotCorrupt):
                if await self._snapshots.recover(scope, record.session_id, expired=False):
                    await self._snapshots.take(scope, record.session_id, Reason.PERIODIC)
        await self._snapshots.forget_old(scope, record)
