"""From a credential to a Scope."""

import asyncio
import logging
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from memoryd.access.freshness import TRUSTED_S
from memoryd.access.keys import REFUSED, matches, parse
from memoryd.access.model import KeyRecord
from memoryd.access.ports import KeyLookup
from memoryd.errors import ServiceError, Unauthenticated
from memoryd.memory.ports import Clock
from retrieval.scope import Scope

# A key's last use is remembered to the minute: a write a request would double the load of reading.
_TOUCH_EVERY = timedelta(minutes=1)
# Keys whose last read, or last use, is remembered.
_REMEMBERED = 10_000

# So much of the time that a read is trusted for, the next one begins beside whoever asks: a key in use is waited for once.
_AHEAD = 0.5

_Place = tuple[UUID, UUID]
_Read = asyncio.Task[KeyRecord | None]
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

log = logging.getLogger(__name__)


class Authenticator:
    """Looks keys up, again and again, so that a revoked key stops working at once.

    What a read found serves the requests of the next moment too (:mod:`memoryd.access.freshness`): who ends a key is answered
    when that is over. A read under way serves those that come as soon after it began; who comes later shares the next.
    """

    def __init__(self, store: KeyLookup, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._touched: OrderedDict[UUID, datetime] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: dict[_Place, tuple[float, _Read]] = {}
        self._next: dict[_Place, _Read] = {}
        self._found: OrderedDict[_Place, tuple[float, KeyRecord]] = OrderedDict()

    async def scope(self, credential: str, request_id: str) -> Scope:
        """The Scope of a key. Raises ``Unauthenticated``, the same for every reason."""
        presented = parse(credential)
        if presented is None:
            raise Unauthenticated(REFUSED)
        place = presented.tenant_id, presented.key_id
        record = self._just_found(place) or await self._read_soon(place)
        now = self._clock.now()
        if record is None or not matches(presented, record.secret_hash) or not record.usable(now):
            raise Unauthenticated(REFUSED)
        self._touch(presented.tenant_id, record.key_id, now)
        return Scope(presented.tenant_id, f"key:{record.key_id}", record.actions, record.spaces, request_id)

    async def close(self) -> None:
        """Wait for the last notes of use, and for reads that began ahead of whoever would have asked."""
        if last := {*self._tasks, *(read for _, read in self._reading.values())}:
            await asyncio.wait(last, timeout=2)

    def _just_found(self, place: _Place) -> KeyRecord | None:
        began, record = self._found.get(place, (0.0, None))
        age = asyncio.get_running_loop().time() - began
        if record is None or age >= TRUSTED_S:
            return None
        if age > _AHEAD * TRUSTED_S and place not in self._reading:
            self._begin(place)
        return record

    async def _read_soon(self, place: _Place) -> KeyRecord | None:
        began, read = self._reading.get(place, (0.0, None))
        if read is None:
            read = self._begin(place)
        elif asyncio.get_running_loop().time() - began >= TRUSTED_S:
            read = self._next.get(place) or self._queue(place, read)
        # Others wait for it too: it goes on when one of them gives up.
        return await asyncio.shield(read)

    def _begin(self, place: _Place) -> _Read:
        began = asyncio.get_running_loop().time()
        read = asyncio.create_task(self._read(place, began))
        read.add_done_callback(_noticed)
        self._reading[place] = began, read
        return read

    def _queue(self, place: _Place, before: _Read) -> _Read:
        read = self._next[place] = asyncio.create_task(self._read_after(place, before))
        read.add_done_callback(_noticed)
        return read

    async def _read_after(self, place: _Place, before: _Read) -> KeyRecord | None:
        await asyncio.wait([before])
        began = asyncio.get_running_loop().time()
        self._reading[place] = began, self._next.pop(place)
        return await self._read(place, began)

    async def _read(self, place: _Place, began: float) -> KeyRecord | None:
        try:
            record = await self._store.find_key(*place)
            if record is not None:
                _remember(self._found, place, (began, record))
            return record
        finally:
            if place not in self._next:
                del self._reading[place]

    def _touch(self, tenant_id: UUID, key_id: UUID, now: datetime) -> None:
        last = self._touched.get(key_id)
        if last is not None and now - last < _TOUCH_EVERY:
            return
        _remember(self._touched, key_id, now)
        task = asyncio.create_task(self._write_touch(tenant_id, key_id, now))
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
