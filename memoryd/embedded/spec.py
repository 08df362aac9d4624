"""How a child is started, known to be ready, and stopped."""

import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from memoryd.embedded import launch
from memoryd.embedded.account import Account


class Door(Protocol):
    """Answers a listening socket while the child behind it does not (:class:`memoryd.embedded.gate.Gate`)."""

    @property
    def listener(self) -> socket.socket:
        """Passed to the child as ``MEMORYD_LISTEN_FD``."""
        ...

    def open(self, reason: str) -> None:
        """Answer from now on."""
        ...

    def close(self) -> None:
        """The child answers from now on."""
        ...


@dataclass(frozen=True, slots=True)
class StopStep:
    """A signal, and how long it is given to work."""

    signal: signal.Signals
    patience_s: float


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How a child is started, known to be ready, and stopped.

    ``argv[0]`` is an absolute path; ``env`` is the whole environment. ``prepare`` blocks, in a thread, before every start.
    Without a ``probe`` the child says itself that it is ready (:mod:`memoryd.embedded.readiness`). ``orphan_signal`` is
    what the kernel sends when the supervisor dies without stopping it.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    account: Account | None = None
    folder: Path = Path("/")
    prepare: Callable[[], None] | None = None
    probe: Callable[[], Awaitable[bool]] | None = None
    depends_on: tuple[str, ...] = ()
    stop: tuple[StopStep, ...] = (StopStep(signal.SIGTERM, 4.0),)
    orphan_signal: signal.Signals = signal.SIGKILL
    start_timeout_s: float = 60.0
    door: Door | None = None


def trampoline(argv: Sequence[str], *, account: Account | None, folder: Path, orphan_signal: int) -> list[str]:
    """``argv`` behind :mod:`memoryd.embedded.launch`. Start it from a thread that outlives it: to Linux, that is the parent."""
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    own = [str(os.getpid()), str(int(orphan_signal)), str(uid), str(gid), str(folder)]
    return [sys.executable, "-I", "-S", str(launch.__file__), *own, *argv]
