"""The trampoline between the supervisor and a server: drop root, die with the parent, become the server.

Run as a file by ``python -I -S launch.py <parent pid> <signal> <uid> <gid> <folder> <program> <argument>...``;
imports nothing of ours. A program of its own rather than a ``preexec_fn``, which may deadlock in a process with threads.

The order matters: Linux forgets the parent-death signal when the user changes (prctl(2), PR_SET_PDEATHSIG), and keeps it
over execve. The parent may have died before the signal was set, so its pid is compared afterwards. Where there is no
prctl, a killed supervisor leaves orphans; the next start ends them (``state.end_orphans``).
"""

import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> Callable[[int], None]:
    """How to ask for it, loaded while still root: the interpreter may lie where the servers' user cannot read."""
    if not sys.platform.startswith("linux"):
        return lambda number: None
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def ask(number: int) -> None:
        if libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
            sys.stderr.write("memoryd: prctl failed; this process may outlive its supervisor\n")

    return ask


def main(arguments: list[str]) -> None:
    """Never returns: becomes the program, or exits with 127 saying why."""
    parent, number, uid, gid = (int(argument) for argument in arguments[:4])
    folder, program = arguments[4], arguments[5:]
    die_with_parent = _die_with_parent()
    os.chdir(folder)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    die_with_parent(number)
    if os.getppid() != parent:
        sys.exit(1)
    # Python ignores these two for itself, and what is ignored stays so over execve.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execv(program[0], program)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"memoryd: cannot start {program[0]}: {error}\n")
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
