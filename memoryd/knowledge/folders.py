"""Folders for documents on their way between disk and object storage."""

import asyncio
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from itertools import islice
from pathlib import Path

# A smaller file is removed in tens of microseconds.
_SMALL_BYTES = 2**16
# One that was made a moment ago may not be locked yet.
_YOUNG_S = 60.0


class Purpose(StrEnum):
    """How the folder's name begins."""

    UPLOAD = "memoryd-upload-"
    INGEST = "memoryd-ingest-"


@asynccontextmanager
async def temporary_folder(purpose: Purpose) -> AsyncIterator[Path]:
    """A folder that is gone at the end with what is in it, and locked until then. Raises ``OSError``."""
    folder = Path(tempfile.mkdtemp(prefix=purpose))
    try:
        lock = _locked(folder)
        try:
            yield folder
        finally:
            os.close(lock)
    finally:
        if not _gone_at_once(folder):
            # To remove a gibibyte takes a while: not on the event loop. Also when the caller is cancelled meanwhile.
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


def _gone_at_once(folder: Path) -> bool:
    """Removed, with the one small file that most have: sooner than a thread is told of it."""
    with suppress(OSError), os.scandir(folder) as found:
        files = list(islice(found, 2))
        if len(files) == 2 or not all(one.is_file(follow_symlinks=False) and one.stat().st_size <= _SMALL_BYTES for one in files):
            return False
        for one in files:
            Path(one).unlink()
        folder.rmdir()
        return True
    return False


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
