"""What the parsing process may still do: read its file, write its result.

On every system: resource limits (of memory only on Linux), and an audit hook that refuses sockets and processes to Python code.
Where the system has them: a network namespace without interfaces; Landlock, which leaves only Python and its libraries to be
read, nothing to be written and no TCP; and no new privileges.
"""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
from pathlib import Path
from typing import NoReturn

from ingestion.parse.limits import ParseLimits

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_OPEN_FILES = 32
_REFUSED = (
    "socket.",
    "subprocess.",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.system",
    "pty.",
    "ftplib.",
    "urllib.",
)


_SYSTEM = [
    Path(place)
    for place in ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache")
]


class Refused(PermissionError):
    """Parsing code tried what parsing needs not."""


def enclose() -> None:
    """Takes from this process, and all that it starts, the network and the file system. What a system lacks is left out."""
    if sys.platform != "linux":
        return
    from ingestion.parse import landlock

    libc = ctypes.CDLL(None, use_errno=True)
    _die_with_parent(libc)
    if libc.unshare(_CLONE_NEWNET) != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    landlock.restrict(libc, readable())


def limit(limits: ParseLimits, size: int) -> None:
    """Confines this process, for good, to the limits for a file of ``size`` bytes, and refuses it sockets and processes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    # One second more before the kernel kills, so that the signal says why.
    seconds = limits.cpu_s + limits.more_s(size)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    if sys.platform == "linux":
        # Other systems take the limit and do not keep it, or refuse it.
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
        _die_with_parent(ctypes.CDLL(None, use_errno=True))
        # Threads count too; no parser needs one. The kernel does not hold root to it.
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    sys.addaudithook(_audit)


def _die_with_parent(libc: ctypes.CDLL) -> None:
    """The worker may be killed; its parser must not go on alone. Nor may anybody look into it."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def readable() -> list[Path]:
    """Folders that hold Python, its libraries, this package, and what the C library loads.

    Not the folder that this package is in: it may be a checkout with more in it.
    """
    package = Path(__file__).parents[1]
    places = {Path(place) for place in (sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path) if place} - {package.parent}
    return sorted(place for place in places | {package, *_SYSTEM} if place.exists())


def _audit(event: str, _: tuple[object, ...]) -> None:
    if event.startswith(_REFUSED):
        _refuse(event)


def _refuse(event: str) -> NoReturn:
    raise Refused(f"{event} is not for parsers")
