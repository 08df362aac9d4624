"""Whether somebody waits for an answer on this machine, as its processes tell each other: by when a file was last touched.

The cores of a machine share caches and memory. A worker whose bulk has all cores slows a question by half, be it ever so ready to
give way; on half of them it hardly does. But it is to have all when nobody asks.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_TOUCH_S = 0.25
_LOOK_S = 0.05
_FRESH_S = 2.0


class Asked:
    """One side's view of the file. Neither side needs the other: a file that is not there says that nobody asked."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        """``now``: seconds since the epoch, as of the file system."""
        self._path = path
        self._now = now
        self._touched = self._looked = float("-inf")
        self._seen = self._unable = False

    def note(self) -> asyncio.Future[None] | None:
        """Somebody asks: touch the file, four times a second at most, in a thread, for a busy disk may take its time. Nobody need
        wait for it. On an event loop. That it fails is logged when it begins to."""
        now = self._now()
        if abs(now - self._touched) < _TOUCH_S:
            return None
        self._touched = now
        return asyncio.get_running_loop().run_in_executor(None, self._touch)

    def _touch(self) -> None:
        try:
            try:
                os.utime(self._path)
            except FileNotFoundError:
                self._path.touch(0o600)
        except OSError as error:
            if not self._unable:
                log.warning("%s cannot be touched (%s): the worker does not know when somebody waits", self._path, error.strerror)
            self._unable = True
        else:
            self._unable = False

    def lately(self) -> bool:
        """Somebody did in the last two seconds. Looked up twenty times a second at most."""
        now = self._now()
        if abs(now - self._looked) >= _LOOK_S:
            self._looked = now
            try:
                self._seen = abs(now - self._path.stat().st_mtime) < _FRESH_S
            except OSError:
                self._seen = False
        return self._seen
