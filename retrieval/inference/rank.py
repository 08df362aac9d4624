"""Which threads go first when there are fewer cores than work."""

from __future__ import annotations

import os
import sys
import threading

# As nice(1) counts: beside a thread of full rank, one that steps aside gets about a tenth of a core.
_STEP_ASIDE = 10


def step_aside() -> None:
    """Have the calling thread, and those it will start, let others of this machine go first.

    It keeps a share even beside busy ones, as it must: bulk is never to starve, and a thread that holds Python's lock and is
    given no core at all would hold up those it stepped aside for. Only Linux ranks single threads; elsewhere nothing changes.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        rank = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(19, rank + _STEP_ASIDE))
