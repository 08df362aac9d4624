"""A held job: the lease is renewed in the background and at checkpoints, and what was asked of the job is passed on."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from memoryd.jobs.model import Claim, Wish
from memoryd.jobs.ports import Cancelled, Desk, LeaseLost, Paused, Yielded
from memoryd.memory.ports import Clock
from retrieval.errors import MemorydError

log = logging.getLogger(__name__)

# Two beats may fail before the third is too late.
_BEATS_PER_LEASE = 3
# To come back to where an item was is worth so many times what it takes.
_WORTH = 3


class Hold:
    """Keeps a claim: while the context of :meth:`kept` is open, the lease is renewed three times in its length.

    ``others_wait``: another tenant stands in line for the slot. ``yielded``: an item gave way to it, and none is to follow in
    this turn. ``going_on``: the items under way that wait for nothing. ``lost``: the job is another worker's.
    """

    def __init__(self, desk: Desk, claim: Claim, clock: Clock, others_wait: Callable[[], bool]) -> None:
        self.others_wait = others_wait
        self._desk = desk
        self._claim = claim
        self._clock = clock
        self.lost = False
        self.yielded = False
        self.going_on: set[int] = set()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Beats until the context ends."""
        beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating

    async def advance(self, item: int, chunks: int, tokens: int) -> None:
        """Count, renew, and raise what a handler is to stop for."""
        if self.lost:
            raise LeaseLost
        now = self._clock.now()
        wish = await self._desk.progress(self._claim, item, chunks=chunks, tokens=tokens, now=now)
        if wish is Wish.CANCEL:
            raise Cancelled
        if wish is Wish.PAUSE:
            raise Paused

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._claim.lease.total_seconds() / _BEATS_PER_LEASE)
            try:
                await self._desk.progress(self._claim, None, chunks=0, tokens=0, now=self._clock.now())
            except LeaseLost:
                self.lost = True
                return
            except MemorydError:
                log.warning("the lease of job %s could not be renewed; trying again", self._claim.job.job_id)


class Share:
    """How long an item may hold the slot that it is worked on in, once another tenant waits for one: ``slice_s``, and three times
    as long as it took to come to its first new chunk. Who goes on with a document reads what is stored of it again, so a long one
    that gives way spends at most a quarter of its time on that.
    """

    def __init__(self, slice_s: float, others_wait: Callable[[], bool], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._others_wait = others_wait
        self._began = clock()
        self._until = self._began + slice_s
        self._came: float | None = None

    def waited(self, seconds: float) -> None:
        """So long it could not go on: that gives no right to the slot, as what was done before does."""
        self._began += seconds
        self._until += seconds

    def stored(self) -> None:
        """Something was stored that was not there before."""
        if self._came is None:
            self._came = self._clock()
            self._until = max(self._until, self._came + _WORTH * (self._came - self._began))

    @property
    def over(self) -> bool:
        """It is used up, and somebody waits."""
        return self._clock() >= self._until and self._others_wait()


class ItemControl:
    """:class:`memoryd.jobs.ports.Control` of one item. Each checkpoint puts the time off by which there must be another."""

    def __init__(self, hold: Hold, item: int, share: Share, stalled: asyncio.Timeout, stall_s: float) -> None:
        self._hold = hold
        self._item = item
        self._share = share
        self._stalled = stalled
        self._stall_s = stall_s

    async def checkpoint(self, *, chunks: int = 0, tokens: int = 0) -> None:
        """See :class:`memoryd.jobs.ports.Control`."""
        await self._advance(chunks, tokens)
        if chunks > 0:
            self._share.stored()
            if self._share.over:
                self._give_way()

    async def waits(self) -> None:
        """See :class:`memoryd.jobs.ports.Control`."""
        await self._advance(0, 0)
        self._hold.going_on.discard(self._item)
        # What it waits for may be another job's: then nobody uses the slot.
        if self._hold.yielded or (not self._hold.going_on and self._share.over):
            self._give_way()

    def waited(self, seconds: float) -> None:
        """See :class:`memoryd.jobs.ports.Control`."""
        self._hold.going_on.add(self._item)
        self._share.waited(seconds)
        # One that waits follows those before it, which are not to be followed in this turn.
        if seconds and self._hold.yielded:
            self._give_way()

    def _give_way(self) -> None:
        # Here and not at the item's end: by then what it held is another's, who may have begun.
        self._hold.yielded = True
        raise Yielded

    async def _advance(self, chunks: int, tokens: int) -> None:
        await self._hold.advance(self._item, chunks, tokens)
        self._stalled.reschedule(asyncio.get_running_loop().time() + self._stall_s)
