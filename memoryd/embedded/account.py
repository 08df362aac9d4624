"""The unprivileged user that root's servers run as: PostgreSQL refuses to run as root, and nothing else should."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from memoryd.embedded.errors import DataDirUnusable

_CANDIDATES = ("memoryd", "postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """A user that is not root."""

    name: str
    uid: int
    gid: int


def choose(previous: Path) -> Account | None:
    """Who owns the servers' files: None (this user) unless this user is root.

    As root: the owner of ``previous`` (the servers' folder of an earlier start), so that a user added to the machine
    later does not lock the data out; else the first of memoryd, postgres, nobody that exists.
    Raises :class:`DataDirUnusable` when there is none.
    """
    if os.geteuid() != 0:
        return None
    if previous.exists() and (uid := previous.stat().st_uid) != 0:
        return _named(uid, previous.stat().st_gid)
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise DataDirUnusable(
        "PostgreSQL does not run as root, and this machine has no user 'memoryd', 'postgres' or 'nobody': "
        "create one (useradd --system memoryd) or start memoryd as an ordinary user"
    )


def _named(uid: int, gid: int) -> Account:
    try:
        return Account(pwd.getpwuid(uid).pw_name, uid, gid)
    except KeyError:
        return Account(str(uid), uid, gid)


def obstacle(path: Path, account: Account) -> Path | None:
    """The first folder on the way to ``path``, itself included, that ``account`` may not enter (run, if a file), or None.

    Goes by permission bits alone, so a right granted by an access control list only is not seen.
    """
    resolved = path.resolve()
    for folder in (*reversed(resolved.parents), resolved):
        status = folder.stat()
        bit = stat.S_IXOTH
        if status.st_uid == account.uid:
            bit = stat.S_IXUSR
        elif status.st_gid == account.gid:
            bit = stat.S_IXGRP
        if not status.st_mode & bit:
            return folder
    return None
