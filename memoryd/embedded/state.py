"""``run/state.json``: what runs, for ``memoryd status``, for a second ``memoryd up``, and for a start after ``kill -9``."""

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from memoryd.embedded import process


@dataclass(frozen=True, slots=True)
class ChildState:
    """One child; ``pid`` and ``identity`` are None while no process of it exists."""

    state: str
    pid: int | None = None
    identity: str | None = None
    restarts: int = 0
    since: str = ""
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class StackState:
    """The supervisor and its children. ``state``: starting, running, stopping or stopped; times are RFC 3339."""

    pid: int
    identity: str | None
    state: str
    url: str | None = None
    started_at: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    children: Mapping[str, ChildState] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether that supervisor still exists."""
        return self.identity is not None and process.identity(self.pid) == self.identity


def write(path: Path, state: StackState) -> None:
    """Replace the file in one step, so that a reader never sees half of it. Holds no secret."""
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(asdict(state), indent=2) + "\n")
    aside.replace(path)


def read(path: Path) -> StackState | None:
    """The state last written, or None when there is none that can be read."""
    try:
        raw = json.loads(path.read_text())
        children = {name: ChildState(**child) for name, child in raw.pop("children").items()}
        return StackState(**raw, children=children)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def end_orphans(path: Path) -> list[str]:
    """End what a killed supervisor left behind, in reverse order of its start; the names of what was found.

    Call with the data directory locked: then the supervisor of the file is dead, whatever its number does now.
    """
    last = read(path)
    found: list[str] = []
    if last is None or last.pid == os.getpid():
        return found
    for name, child in reversed(list(last.children.items())):
        if child.pid is None or child.identity is None or process.identity(child.pid) != child.identity:
            continue
        found.append(name)
        process.end(child.pid, child.identity, ((signal.Signals(child.stop_signal), child.stop_timeout_s),))
    return found
