"""How many cores the others of a machine leave to work that can wait."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Long enough that the ten milliseconds in which Linux counts are nothing, short enough that a question waits for few rows.
_WINDOW_S = 1.0
# What was so long ago tells nothing of now; a run never takes as long.
_STALE_S = 30.0
# Of a core: an ingest itself needs a fifth for its database, and less than this is not worth half of two cores.
_NO_MATTER = 0.65

_STAT = Path("/proc/stat")
_TICKS_S = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01


class Room:
    """Counts what the machine's cores are used for besides this process, and tells how many threads that leaves room for.

    Threads that run where a core is idle (:mod:`retrieval.inference.rank`) still share the caches and the memory with those that
    they step aside for: measured on two cores beside 20 recalls a second, their p95 is 1.3 times what it is alone, and 1.05 to
    1.2 where one core is left to them, for a sixth of the speed of a re-embedding. Right where those others are on the same
    machine, and wrong where they are other tenants of a node, whose cores are shared out otherwise.

    Args:
        threads: The most that there is ever room for.
        busy: Seconds of all cores that were spent on anything, since any moment; ``None`` where nobody counts.
        own: Those of this process, all of which can wait.
        clock: Seconds.
    """

    def __init__(
        self, threads: int, *, cores: int | None = None, busy: Callable[[], float | None] | None = None,
        own: Callable[[], float] = time.process_time, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._threads = threads
        self._cores = cores or os.cpu_count() or threads
        self._busy = busy or machine_busy_s
        self._own = own
        self._clock = clock
        self._now = threads
        self._since = (clock(), self._busy(), own())

    def threads(self) -> int:
        """At least one; as of the last second or longer, and all where that was too long ago."""
        at, busy_then, own_then = self._since
        now = self._clock()
        if now - at >= _WINDOW_S:
            busy, own = self._busy(), self._own()
            if busy is None or busy_then is None or now - at > _STALE_S:
                self._now = self._threads
            else:
                others = max(0.0, busy - busy_then - (own - own_then)) / (now - at)
                self._now = max(1, min(self._threads, int(self._cores - others + _NO_MATTER)))
            self._since = (now, busy, own)
        return self._now


def machine_busy_s() -> float | None:
    """Seconds that all cores of this machine together have worked since it started; ``None`` where that is not told.

    In a container it is the whole machine too, as is the number of cores.
    """
    if sys.platform != "linux":
        return None
    try:
        with _STAT.open() as file:
            user, nice, system, _idle, _waiting, irq, softirq = map(int, file.readline().split()[1:8])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq) * _TICKS_S
