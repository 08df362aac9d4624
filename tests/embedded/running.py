"""A stack in a process of its own, and what it leaves behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from memoryd.embedded import process
from memoryd.embedded.datadir import read_state

ROOT = Path(__file__).parents[2]
START_S = 40.0


def eventually(holds: Callable[[], bool], within_s: float = 10.0) -> float:
    """Wait until ``holds``; the seconds it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within_s, f"not within {within_s} s"
        time.sleep(0.02)
    return time.monotonic() - began


class Stack:
    """``python -m tests.embedded.stack`` on one data directory, ready when entered."""

    def __init__(self, data: Path, *, command: list[str] | None = None, env: Mapping[str, str] | None = None) -> None:
        self.data = data
        self._command = command or [sys.executable]
        self._env = env
        self.said: dict[str, str] = {}

    def __enter__(self) -> "Stack":
        self.stderr = (self.data.parent / "stderr").open("w+")
        self.process = subprocess.Popen(
            [*self._command, "-m", "tests.embedded.stack", str(self.data)],
            cwd=ROOT, env=self._env, stdout=subprocess.PIPE, stderr=self.stderr, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.stderr.seek(0)
        assert line, self.stderr.read()
        self.said = json.loads(line)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGTERM)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.stderr.close()

    @property
    def url(self) -> str:
        """Of the HTTP socket."""
        return self.said["url"]

    def pid(self, name: str) -> int:
        """Of a child that runs."""
        state = read_state(self.data)
        assert state is not None
        pid = state.children[name].pid
        assert pid is not None
        return pid

    def came_back(self, name: str, died: int) -> bool:
        """Whether a child of which the process ``died`` is ready again."""
        state = read_state(self.data)
        child = None if state is None else state.children[name]
        return child is not None and child.state == "ready" and child.pid not in (None, died)

    def phase(self, name: str) -> str:
        """Of a child."""
        state = read_state(self.data)
        return "" if state is None else state.children[name].state

    def family(self) -> list[int]:
        """Every process of this stack: the children and PostgreSQL's backends."""
        return [self.pid(name) for name in ("postgres", "valkey", "api")] + backends(self.pid("postgres"))

    def end(self, number: int) -> float:
        """Send the supervisor a signal and wait for its end; the seconds that took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(30)
        return time.monotonic() - began


def backends(postmaster: int) -> list[int]:
    """Its child processes."""
    shown = subprocess.run(["ps", "-o", "pid=", "--ppid", str(postmaster)], capture_output=True, text=True, check=False)
    return [int(line) for line in shown.stdout.split()]


def alive(pids: list[int]) -> list[int]:
    """Those that still run."""
    return [pid for pid in pids if process.identity(pid) is not None]


def environment() -> dict[str, str]:
    """For an interpreter that is not the tests' own."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    return {"PATH": os.defpath, "PYTHONPATH": f"{ROOT}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"}


async def until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    """As :func:`eventually`, for a supervisor in the same event loop."""
    await asyncio.to_thread(eventually, holds, within_s)


def descriptors() -> int:
    """Open file descriptors of this process; 0 where that cannot be known."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def group_members(leaders: list[int]) -> list[int]:
    """Every live process in the process groups of ``leaders``."""
    shown = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in shown.splitlines()]
    return [int(pid) for pid, group, status in rows if int(group) in leaders and not status.startswith("Z")]
