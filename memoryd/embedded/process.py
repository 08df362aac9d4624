"""Processes that may not be our children: who they are, and ending the orphans of a supervisor that was killed."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

_POLL_S = 0.02
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def identity(pid: int) -> str | None:
    """What tells process ``pid`` from a later one with the same number: when it started. None when it is gone.

    Linux: boot id and start tick (field 22 of ``/proc/<pid>/stat``, proc(5)); elsewhere ``ps``'s start time.
    A zombie counts as gone: it holds nothing but its number.
    """
    stat = Path(f"/proc/{pid}/stat")
    if _BOOT.exists():
        try:
            # The second field is the command in parentheses and may itself hold spaces and parentheses.
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else f"{_BOOT.read_text().strip()}/{fields[19]}"
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = shown.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def send(pid: int, number: int) -> bool:
    """Send a signal; False when there is no such process any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def end(pid: int, expected: str, steps: tuple[tuple[signal.Signals, float], ...]) -> None:
    """End the process that was ``expected`` when last seen: each signal in turn with its seconds of patience, then SIGKILL.

    Blocks; for use before the event loop has anything to serve, or in a thread. Does nothing to a process that merely
    inherited the number.
    """
    for number, patience in (*steps, (signal.SIGKILL, 5.0)):
        if identity(pid) != expected or not send(pid, number):
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if identity(pid) != expected:
                return
            time.sleep(_POLL_S)


def reap_strangers(seen: frozenset[int]) -> frozenset[int]:
    """Reap zombie children that were zombies before (``seen``); those there are now, for the next call.

    As the first process of a container, ours inherits whatever its children leave behind, such as the backends of a
    killed postmaster, and nobody else waits for those. What has been dead for a whole round is waited for by nobody.
    Linux only: elsewhere there is always an init.
    """
    dead = frozenset(pid for pid in _children(os.getpid()) if identity(pid) is None)
    for pid in dead & seen:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return dead


def _children(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*") if _BOOT.exists() else ():
        with contextlib.suppress(OSError, IndexError):
            if (folder / "stat").read_text().rpartition(")")[2].split()[1] == str(parent):
                found.append(int(folder.name))
    return found
