"""The worker's round over sessions: summaries, snapshots, commits, and the end of those that have expired.

Every step may be killed at any moment and is done again by the next round. A session that expired leaves Redis only after its
snapshot is stored and, where it is set so, after it was committed; without an object store it does not leave at all.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from memoryd.memory.ports import Clock
from memoryd.sessions.commit import Commit
from memoryd.sessions.model import AutoCommit, Session
from memoryd.sessions.ports import Changed, LifeStore, MessageStore, SessionGone, SessionRecords, Target, TenantSettings
from memoryd.sessions.snapshots import Reason, Snapshots
from retrieval.scope import Action, Scope

log = logging.getLogger(__name__)

_TENANTS = 200
_SESSIONS = 200


class Tenants(Protocol):
    """Every tenant of the installation, by page."""

    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]: ...


class Summarise(Protocol):
    """Brings one session's summary up to date."""

    async def __call__(self, scope: Scope, session_id: str) -> None: ...


@dataclass(slots=True)
class SessionReport:
    """What a round did."""

    summarised: int = 0
    snapshots: int = 0
    committed: int = 0
    expired: int = 0
    stuck: int = 0
    failed: int = 0


class SessionRounds:
    """One round at a time over all tenants."""

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
        self._tenants = tenants
        self._messages = messages
        self._life = life
        self._snapshots = snapshots
        self._commit = commit
        self._summarise = summarise
        self._records = records
        self._clock = clock
        # A session waits for half the interval; the other half is for the pause between rounds and for writing.
        self._wait = snapshot_interval / 2
        self._retention = retention

    async def run(self) -> SessionReport:
        """One round. What fails is counted and logged, and stops nothing else."""
        report = SessionReport()
        after: UUID | None = None
        while page := await self._tenants.tenants(after, _TENANTS):
            for tenant_id in page:
                scope = Scope(tenant_id, "worker", frozenset({Action.READ, Action.WRITE, Action.DELETE}))
                await self._guarded(report, tenant_id, self._tenant(scope, report))
            after = page[-1]
        if report.stuck:
            log.warning("%d expired sessions stay in Redis: set MEMORYD_OBJECT_STORE for their snapshots", report.stuck)
        return report

    async def _tenant(self, scope: Scope, report: SessionReport) -> None:
        now = self._clock.now()
        waiting = await self._life.waiting(
            scope, {"unsummarised": now, "dirty": now - self._wait, "uncommitted": now, "due": now}, _SESSIONS
        )
        if self._snapshots.enabled:
            await self._retire(scope, report)
        if not any(waiting.values()):
            return
        settings = await self._records.settings(scope)
        steps: Mapping[str, Callable[[str], Awaitable[None]]] = {
            "dirty": lambda one: self._save(scope, one, report),
            "due": lambda one: self._expire(scope, one, settings, report),
            "uncommitted": lambda one: self._idle(scope, one, settings, report),
            "unsummarised": lambda one: self._sum_up(scope, one, report),
        }
        for name, step in steps.items():
            for session_id in waiting[name]:
                await self._guarded(report, scope.tenant_id, self._there(scope, session_id, step))

    async def _there(self, scope: Scope, session_id: str, step: Callable[[str], Awaitable[None]]) -> None:
        try:
            await step(session_id)
        except SessionGone:
            await self._life.forget(scope, Target(session_id, self._clock.now()))
        except Changed:
            return  # it goes on; the next round looks again

    async def _save(self, scope: Scope, session_id: str, report: SessionReport) -> None:
        if self._snapshots.enabled:
            await self._snapshots.take(scope, session_id, Reason.PERIODIC)
            report.snapshots += 1

    async def _expire(self, scope: Scope, session_id: str, settings: TenantSettings, report: SessionReport) -> None:
        session = await self._session(scope, session_id)
        if session.expires_at > self._clock.now():
            return
        auto = session.auto_commit or settings.auto_commit
        if auto is not AutoCommit.OFF:
            report.committed += (await self._commit(scope, session_id)).created
        if not self._snapshots.enabled:
            report.stuck += 1
            return
        record, session = await self._snapshots.image(scope, session_id, Reason.EXPIRY)
        await self._snapshots.evict(scope, record, session)
        report.expired += 1

    async def _idle(self, scope: Scope, session_id: str, settings: TenantSettings, report: SessionReport) -> None:
        session = await self._session(scope, session_id)
        if (session.auto_commit or settings.auto_commit) is not AutoCommit.IDLE:
            await self._life.forget(scope, Target(session_id, self._clock.now()), "uncommitted")
        elif session.written_at <= self._clock.now() - timedelta(seconds=settings.idle_s):
            report.committed += (await self._commit(scope, session_id)).created

    async def _session(self, scope: Scope, session_id: str) -> Session:
        target = Target(session_id, self._clock.now())
        page = await self._messages.read(scope, target, after=0, before=None, limit=1, newest=True, renew=False)
        return page.session

    async def _sum_up(self, scope: Scope, session_id: str, report: SessionReport) -> None:
        await self._summarise(scope, session_id)
        report.summarised += 1

    async def _retire(self, scope: Scope, report: SessionReport) -> None:
        """Erase snapshots beyond their retention; of a session that still lives, after a new one was taken."""
        for record in await self._records.outdated(scope, self._clock.now() - self._retention, _SESSIONS):
            with suppress(SessionGone):
                await self._snapshots.take(scope, record.session_id, Reason.PERIODIC)
            await self._snapshots.forget_old(scope, [record])

    @staticmethod
    async def _guarded(report: SessionReport, tenant_id: UUID, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - one session must not stop the others; it is counted
            report.failed += 1
            log.warning("a session round of tenant %s failed: %s", tenant_id, type(error).__name__)
