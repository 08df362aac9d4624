"""Files and folders that belong to the servers alone, or must survive a power cut."""

import os
from pathlib import Path

from memoryd.embedded.account import Account


def own_folder(path: Path, account: Account | None) -> Path:
    """Create ``path`` for the servers alone: mode 0700, owned by ``account`` (None: this user)."""
    path.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        os.chown(path, account.uid, account.gid)
    path.chmod(0o700)
    return path


def own_file(path: Path, content: str, account: Account | None) -> Path:
    """Write ``path`` anew for the servers alone: mode 0600 from its first byte, owned by ``account``."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as file:
        if account is not None:
            os.fchown(handle, account.uid, account.gid)
        file.write(content)
    return path


def sync_folder(path: Path) -> None:
    """Make the names in ``path`` (a rename just done) survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
