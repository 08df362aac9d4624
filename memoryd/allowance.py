"""Time limits of many things that may all take equally long, by one timer.

``asyncio.timeout`` sets a timer for each and takes it down again, which in a small request costs as much as validating it. Here
what began first ends first, so that one timer is enough: it waits for the oldest.
"""

import asyncio
from types import TracebackType


class Allowance:
    """So many seconds for whatever is done ``with allowance.each():``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: dict[_Each, None] = {}  # in the order of their ends
        self._loop: asyncio.AbstractEventLoop | None = None  # the one whose timer is set

    def each(self) -> "_Each":
        """For what the current task does inside, as ``asyncio.timeout``: raises ``TimeoutError`` when the time was up."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._seconds
        if self._loop is not loop:
            # It outlives what it is set for: most often there is something else by then.
            self._loop = loop
            self._running = {}  # of a loop that was closed there may be some left
            loop.call_at(ends_at, self._look, loop)
        return _Each(self._running, asyncio.current_task(loop), ends_at)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._running:
            one = next(iter(self._running))
            if one.ends_at > now:
                loop.call_at(one.ends_at, self._look, loop)
                return
            del self._running[one]
            one.over()
        self._loop = None


class _Each:
    """One of them."""

    __slots__ = ("_before", "_over", "_running", "_task", "ends_at")

    def __init__(self, running: "dict[_Each, None]", task: "asyncio.Task[object] | None", ends_at: float) -> None:
        if task is None:
            raise RuntimeError("only a task's time can be limited")
        self._running = running
        self._task = task
        self._before = task.cancelling()
        self._over = False
        self.ends_at = ends_at

    def over(self) -> None:
        """Its time is up."""
        self._over = True
        self._task.cancel()

    def __enter__(self) -> None:
        self._running[self] = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._over:
            del self._running[self]
        # Cancelled by somebody else too, it stays cancelled.
        elif self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error
