"""Places for documents on their way between disk and object storage."""

import asyncio
import fcntl
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from functools import partial
from pathlib import Path

# A smaller file is removed in tens of microseconds.
_SMALL_BYTES = 2**16
# One that was made a moment ago may not be locked yet.
_YOUNG_S = 60.0


class Purpose(StrEnum):
    """How the folder's name begins."""

    UPLOAD = "memoryd-upload-"
    INGEST = "memoryd-ingest-"


class Scratch:
    """Files that are gone when their users are done with them, in a folder that is there as long as one of them is. Who writes
    one opens it before it waits for anything: it may be removed by then, and would be made anew.

    The folder is locked: what a process left that was killed is told by its lock. Of one event loop.
    """

    def __init__(self, purpose: Purpose) -> None:
        self._purpose = purpose
        self._numbers = itertools.count()
        self._held: _Held | None = None

    @asynccontextmanager
    async def file(self) -> AsyncIterator[Path]:
        """The path of a file that is not there yet. Raises ``OSError``."""
        held = self._held
        if held is None or not held.folder.is_dir():  # somebody cleans up who knows no locks
            held = self._held = _Held(self._purpose)
        held.users += 1
        path = held.folder / str(next(self._numbers))
        try:
            yield path
        finally:
            try:
                if not _gone_at_once(path):
                    # To remove a gibibyte takes a while: not on the event loop. Also when the caller is cancelled meanwhile.
                    await asyncio.shield(asyncio.to_thread(_remove, path))
            finally:
                held.users -= 1
                if not held.users:
                    if self._held is held:
                        self._held = None
                    held.leave()


class _Held:
    """A folder with its lock, and how many use it. Raises ``OSError``."""

    def __init__(self, purpose: Purpose) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=purpose))
        try:
            self._lock = _locked(self.folder)
        except OSError:
            self.folder.rmdir()
            raise
        self.users = 0

    def leave(self) -> None:
        """It is empty, but for what somebody left who was cancelled while it was being removed."""
        os.close(self._lock)
        try:
            self.folder.rmdir()
        except OSError:
            asyncio.get_running_loop().run_in_executor(None, partial(shutil.rmtree, self.folder, ignore_errors=True))


def _gone_at_once(path: Path) -> bool:
    """A small file is removed, sooner than a thread is told of it."""
    with suppress(OSError):  # it never was; or it stays until the folder goes
        if path.stat().st_size > _SMALL_BYTES:
            return False
    _remove(path)
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def remove_abandoned() -> None:
    """Removes the folders of this user that processes left which were killed: nobody holds their locks. Blocks."""
    for purpose in Purpose:
        for folder in Path(tempfile.gettempdir()).glob(f"{purpose}*"):
            with suppress(OSError):
                found = folder.stat(follow_symlinks=False)
                if found.st_uid != os.getuid() or time.time() - found.st_mtime < _YOUNG_S:
                    continue
                lock = _locked(folder)
                try:
                    shutil.rmtree(folder, ignore_errors=True)
                finally:
                    os.close(lock)


def _locked(folder: Path) -> int:
    """A descriptor that holds the lock of a folder until it is closed, or the process ends. Raises ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
