"""The items of one job that are under way at the same time, in one turn."""

import asyncio
from collections.abc import Coroutine

# Of an item that takes longer the waits between its steps are a small part: another beside it would only take memory.
_SHORT_S = 5.0


class Lanes:
    """Up to ``at_once`` items, as long as they are short: the first of a turn and the one after a long one are begun by
    themselves. What is to be ``alone`` has nothing beside it."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._under_way: set[asyncio.Task[None]] = set()
        self._short = False
        self._alone = False

    def __len__(self) -> int:
        """How many have work."""
        return len(self._under_way)

    @property
    def room(self) -> bool:
        """Another may be begun."""
        return not self._under_way or (self._short and not self._alone and len(self._under_way) < self._at_once)

    def ended(self, seconds: float) -> bool:
        """An item took so long. Whether another may follow it in its lane at once: where there is room for more lanes, whoever
        begins them has to hear of it."""
        self._short = seconds < _SHORT_S
        return self._short and not self._alone and len(self._under_way) >= self._at_once

    async def begin(self, work: Coroutine[None, None, None], *, alone: bool = False) -> None:
        """Begin an item and what follows it in its lane; one that is to be alone when the others have ended. Raises what they
        raised."""
        self._alone = alone
        try:
            while alone and self._under_way:
                await self.one_ended()
        except BaseException:
            work.close()
            raise
        self._under_way.add(asyncio.create_task(work))

    async def one_ended(self) -> None:
        """Wait until at least one lane has ended. Raises what it raised."""
        done, self._under_way = await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        errors = [error for one in done if (error := one.exception()) is not None]
        if errors:
            raise errors[0]

    async def stop(self) -> None:
        """Stop what is under way."""
        for one in self._under_way:
            one.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._under_way = set()
