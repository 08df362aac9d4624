"""Sessions as a whole: list, snapshot, delete, and what a tenant's sessions do by default."""

from collections.abc import Sequence
from contextlib import suppress

from memoryd.access.service import require
from memoryd.errors import Forbidden, StoreUnavailable
from memoryd.sessions.ports import LifeStore, MessageStore, SessionPage, SessionRecords, SnapshotRecord, TenantSettings
from memoryd.sessions.snapshots import Reason, Snapshots
from memoryd.sessions.working import Finder
from retrieval.scope import Action, Scope


class Lifecycle:
    """What is done to sessions from outside."""

    def __init__(
        self, finder: Finder, messages: MessageStore, life: LifeStore, snapshots: Snapshots, records: SessionRecords
    ) -> None:
        self._find = finder
        self._messages = messages
        self._life = life
        self._snapshots = snapshots
        self._records = records

    async def page(
        self, scope: Scope, *, user_id: str | None, agent_id: str | None, cursor: str | None, limit: int
    ) -> SessionPage:
        """The sessions that have not ended, newest first, of a user or an agent: those too that expired and that the worker has
        not taken out of Redis, for they go on when they are used."""
        require(scope, Action.READ)
        return await self._life.page(scope, user_id=user_id, agent_id=agent_id, cursor=cursor, limit=limit)

    async def snapshot(self, scope: Scope, session_id: str) -> SnapshotRecord:
        """Write one now. Raises ``NotFound``, ``Conflict`` without an object store, ``StoreUnavailable``."""
        require(scope, Action.WRITE)
        return await self._find(scope, session_id, lambda target: self._snapshots.take(scope, target.session_id, Reason.REQUEST))

    async def snapshots(self, scope: Scope, session_id: str) -> Sequence[SnapshotRecord]:
        """Newest first. Raises ``NotFound`` when there is neither a snapshot nor a session."""
        found = await self._snapshots.list(scope, session_id)
        if not found:
            await self._find(scope, session_id, lambda target: self._messages.positions(scope, target, ()))
        return found

    async def delete(self, scope: Scope, session_id: str) -> None:
        """Erase keys and snapshots for good; what was committed stays. Raises ``NotFound``."""
        await self._snapshots.delete(scope, session_id)

    async def settings(self, scope: Scope) -> TenantSettings:
        """The tenant's."""
        require(scope, Action.READ)
        return await self._records.settings(scope)

    async def configure(self, scope: Scope, settings: TenantSettings) -> TenantSettings:
        """Change the tenant's."""
        require(scope, Action.ADMIN)
        if scope.spaces is not None:
            raise Forbidden("a key that is confined to spaces cannot change what all sessions of the tenant do")
        await self._records.configure(scope, settings)
        with suppress(StoreUnavailable):  # the worker looks at each of them within the hour anyway
            await self._life.reconsider(scope)
        return settings
