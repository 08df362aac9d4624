"""``memoryd up`` in a process of its own, as its user starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from memoryd.embedded import process
from memoryd.embedded.datadir import read_state
from memoryd.embedded.state import ChildState, StackState
from tests.embedded.running import ROOT, backends, eventually, group_members

START_S = 120.0  # on two busy cores, loading the models in two processes included
CHILDREN = ("postgres", "valkey", "api", "worker")


@dataclass(frozen=True, slots=True)
class Announced:
    """The line of ``--print-json``."""

    url: str
    api_key: str
    operator_key: str
    pid: int


class Up:
    """``memoryd up --print-json`` on one data directory, announced when entered, ended when left."""

    def __init__(
        self, data: Path, *, port: int = 0, command: Sequence[str] = (sys.executable,), env: Mapping[str, str] | None = None
    ) -> None:
        self.data = data
        self._command = [*command, "-m", "memoryd"]
        self._arguments = ["up", "--data-dir", str(data), "--port", str(port), "--print-json"]
        self._env = own_environment() if env is None else dict(env)
        self._stdout, self._stderr = data.parent / "up.stdout", data.parent / "up.stderr"

    def __enter__(self) -> "Up":
        self.launch()
        try:
            self.said = self.announced()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGTERM)

    def launch(self) -> None:
        """Start, and do not wait."""
        with self._stdout.open("w") as stdout, self._stderr.open("w") as stderr:
            self.process = subprocess.Popen(
                [*self._command, *self._arguments],
                cwd=ROOT, env=self._env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                start_new_session=True,  # a Ctrl-C of the tests is not one of the stack
            )  # fmt: skip

    def announced(self) -> Announced:
        """Wait for the line of ``--print-json``; it is the only one, and nothing else is said."""
        eventually(lambda: self._stdout.read_text().endswith("\n") or self.process.poll() is not None, START_S)
        lines = self._stdout.read_text().splitlines()
        assert len(lines) == 1, self.stderr
        return Announced(**json.loads(lines[0]))

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Another command on the same data directory, beside it."""
        return subprocess.run(
            [*self._command, *arguments, "--data-dir", str(self.data)],
            cwd=ROOT, env=self._env, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    @property
    def stderr(self) -> str:
        """What it said there."""
        return self._stderr.read_text()

    @property
    def state(self) -> StackState:
        """What runs."""
        state = read_state(self.data)
        assert state is not None
        return state

    def pid(self, name: str) -> int | None:
        """Of a child; None while it has no process."""
        child = self.state.children.get(name)
        return child.pid if child is not None and _lives(child) else None

    def ready(self) -> bool:
        """Whether every child is, and not only was when the file was written."""
        children = self.state.children
        return list(children) == list(CHILDREN) and all(one.state == "ready" and _lives(one) for one in children.values())

    def family(self) -> list[int]:
        """Every process: the supervisor, its children with their groups, and PostgreSQL's own, which have groups apart."""
        children = [child.pid for child in self.state.children.values() if child.pid is not None]
        postgres = self.pid("postgres")
        return [*group_members([self.process.pid, *children]), *(backends(postgres) if postgres else [])]

    def end(self, number: int, within_s: float = 30.0) -> float:
        """Send the supervisor a signal and wait for its end; the seconds that took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(within_s)
        return time.monotonic() - began


def _lives(child: ChildState) -> bool:
    """Whether the process is still the one of the file, which is behind by what takes the supervisor to see a death."""
    return child.pid is not None and process.identity(child.pid) == child.identity


def own_environment() -> dict[str, str]:
    """This one without settings that other tests or the user's shell made; the cache of models stays."""
    kept = {"MEMORYD_MODEL_CACHE"}
    return {name: value for name, value in os.environ.items() if not name.startswith("MEMORYD_") or name in kept}
