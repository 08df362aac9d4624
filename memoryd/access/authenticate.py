"""From a credential to a Scope."""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from memoryd.access.freshness import TRUSTED_S
from memoryd.access.keys import REFUSED, PresentedKey, matches, parse
from memoryd.access.model import KeyRecord
from memoryd.access.ports import KeyLookup
from memoryd.errors import ServiceError, Unauthenticated
from memoryd.memory.ports import Clock
from retrieval.scope import Scope

# A key's last use is remembered to the minute: a write a request would double the load of reading.
_TOUCH_EVERY = timedelta(minutes=1)
# Keys whose last read, or last use, is remembered.
_REMEMBERED = 10_000

# After so much of the time that a read is trusted for, the next begins beside whoever asks: who uses a key often hardly waits.
_AHEAD = 0.5

_Read = asyncio.Task["_Found | None"]
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a read found that began then."""

    began: float
    record: KeyRecord
    principal: str


class Authenticator:
    """Looks keys up, again and again, so that a revoked key stops working at once.

    What a read found serves the requests of the next moment too (:mod:`memoryd.access.freshness`): who ends a key is answered
    when that is over. A read under way serves those that come as soon after it began; who comes later shares the next.
    """

    def __init__(self, store: KeyLookup, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._touched: OrderedDict[str, datetime] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: dict[str, tuple[float, _Read]] = {}
        self._next: dict[str, _Read] = {}
        self._found: OrderedDict[str, _Found] = OrderedDict()

    async def scope(self, credential: str, request_id: str) -> Scope:
        """The Scope of a key. Raises ``Unauthenticated``, the same for every reason."""
        presented = parse(credential)
        if presented is None:
            raise Unauthenticated(REFUSED)
        found = self._just_found(presented) or await self._read_soon(presented)
        now = self._clock.now()
        if found is None or not matches(presented, found.record.secret_hash) or not found.record.usable(now):
            raise Unauthenticated(REFUSED)
        self._touch(presented, now)
        return Scope(presented.tenant_id, found.principal, found.record.actions, found.record.spaces, request_id)

    async def close(self) -> None:
        """Wait for the last notes of use, and for reads that began ahead of whoever would have asked."""
        if last := {*self._tasks, *(read for _, read in self._reading.values())}:
            await asyncio.wait(last, timeout=2)

    def _just_found(self, presented: PresentedKey) -> "_Found | None":
        found = self._found.get(presented.public)
        if found is None:
            return None
        age = asyncio.get_running_loop().time() - found.began
        if age >= TRUSTED_S:
            return None
        if age > _AHEAD * TRUSTED_S and presented.public not in self._reading:
            self._begin(presented)
        return found

    async def _read_soon(self, presented: PresentedKey) -> "_Found | None":
        began, read = self._reading.get(presented.public, (0.0, None))
        if read is None:
            read = self._begin(presented)
        elif asyncio.get_running_loop().time() - began >= TRUSTED_S:
            read = self._next.get(presented.public) or self._queue(presented, read)
        # Others wait for it too: it goes on when one of them gives up.
        return await asyncio.shield(read)

    def _begin(self, presented: PresentedKey) -> _Read:
        began = asyncio.get_running_loop().time()
        read = asyncio.create_task(self._read(presented, began))
        read.add_done_callback(_noticed)
        self._reading[presented.public] = began, read
        return read

    def _queue(self, presented: PresentedKey, before: _Read) -> _Read:
        read = self._next[presented.public] = asyncio.create_task(self._read_after(presented, before))
        read.add_done_callback(_noticed)
        return read

    async def _read_after(self, presented: PresentedKey, before: _Read) -> "_Found | None":
        await asyncio.wait([before])
        began = asyncio.get_running_loop().time()
        self._reading[presented.public] = began, self._next.pop(presented.public)
        return await self._read(presented, began)

    async def _read(self, presented: PresentedKey, began: float) -> "_Found | None":
        try:
            record = await self._store.find_key(presented.tenant_id, presented.key_id)
            if record is None:
                return None
            found = _Found(began, record, f"key:{record.key_id}")
            _remember(self._found, presented.public, found)
            return found
        finally:
            if presented.public not in self._next:
                del self._reading[presented.public]

    def _touch(self, presented: PresentedKey, now: datetime) -> None:
        last = self._touched.get(presented.public)
        if last is not None and now - last < _TOUCH_EVERY:
            return
        _remember(self._touched, presented.public, now)
        task = asyncio.create_task(self._write_touch(presented.tenant_id, presented.key_id, now))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_touch(self, tenant_id: UUID, key_id: UUID, now: datetime) -> None:
        try:
            await self._store.touch_key(tenant_id, key_id, now)
        except ServiceError as error:
            log.warning("last use of a key not noted: %s", error.code)


def _remember(among: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    among[key] = value
    among.move_to_end(key)
    if len(among) > _REMEMBERED:
        among.popitem(last=False)


def _noticed(read: _Read) -> None:
    """Whoever waited was told; where all gave up, nobody needs to be."""
    if not read.cancelled():
        read.exception()
