"""Which threads go first when there are fewer cores than work."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

# As nice(1) counts: beside a thread of full rank, one that steps aside gets about a tenth of a core.
_STEP_ASIDE = 10
_LAST = 19
_background = False
_asked: Callable[[], bool] | None = None


def into_background(niceness: int, *, asked: Callable[[], bool] | None = None) -> None:
    """Nobody waits for this process: it lowers its rank, and threads of it that step aside run only where a core is idle.

    ``asked`` says whether somebody waits for another process of this machine just now, and is called often. To be called once,
    before models are loaded.
    """
    global _background, _asked
    os.nice(niceness)
    _background, _asked = True, asked


def others_asked() -> bool:
    """Somebody waits for another process of this machine: what steps aside is to leave half of the cores alone."""
    return _asked is not None and _asked()


def step_aside() -> None:
    """Have the calling thread, and those it will start, let others of this machine go first; again changes nothing.

    It keeps a share even beside busy ones: bulk is never to starve, and a thread that holds Python's lock and is given no core at
    all would hold up those it stepped aside for. In a process in the background it runs where a core is idle (``SCHED_IDLE``, a
    three hundredth of one that is not): then whoever wakes up need not wait for the end of its time slice, as they do beside a
    nice of 19. Only Linux ranks single threads; elsewhere nothing changes.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        of_process = os.getpriority(os.PRIO_PROCESS, os.getpid())
        os.setpriority(os.PRIO_PROCESS, thread, min(_LAST, of_process + _STEP_ASIDE))
        if _background:
            with suppress(OSError):  # a sandbox that knows no such thing
                os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
