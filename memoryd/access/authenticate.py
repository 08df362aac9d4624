"""From a credential to a Scope."""

import asyncio
import logging
from collections import OrderedDict
from datetime import datetime, timedelta
from uuid import UUID

from memoryd.access.keys import REFUSED, matches, parse
from memoryd.access.ports import KeyStore
from memoryd.errors import ServiceError, Unauthenticated
from memoryd.memory.ports import Clock
from retrieval.scope import Scope

# A key's last use is remembered to the minute: a write a request would double the load of reading.
_TOUCH_EVERY = timedelta(minutes=1)

log = logging.getLogger(__name__)


class Authenticator:
    """Looks a key up on every request: one indexed read, so that a revoked key stops working at once."""

    def __init__(self, store: KeyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._touched: OrderedDict[UUID, datetime] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def scope(self, credential: str, request_id: str) -> Scope:
        """The Scope of a key. Raises ``Unauthenticated``, the same for every reason."""
        presented = parse(credential)
        if presented is None:
            raise Unauthenticated(REFUSED)
        record = await self._store.find_key(presented.tenant_id, presented.key_id)
        now = self._clock.now()
        if record is None or not matches(presented, record.secret_hash) or not record.usable(now):
            raise Unauthenticated(REFUSED)
        self._touch(presented.tenant_id, record.key_id, now)
        return Scope(presented.tenant_id, f"key:{record.key_id}", record.actions, record.spaces, request_id)

    async def close(self) -> None:
        """Wait for the last notes of use."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)

    def _touch(self, tenant_id: UUID, key_id: UUID, now: datetime) -> None:
        last = self._touched.get(key_id)
        if last is not None and now - last < _TOUCH_EVERY:
            return
        self._touched[key_id] = now
        self._touched.move_to_end(key_id)
        if len(self._touched) > 10_000:
            self._touched.popitem(last=False)
        task = asyncio.create_task(self._write_touch(tenant_id, key_id, now))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_touch(self, tenant_id: UUID, key_id: UUID, now: datetime) -> None:
        try:
            await self._store.touch_key(tenant_id, key_id, now)
        except ServiceError as error:
            log.warning("last use of a key not noted: %s", error.code)
