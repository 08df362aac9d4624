"""A whole memoryd for one benchmark: ``memoryd up`` in a temporary folder, gone afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from memoryd.embedded import datadir

_STOP_TIMEOUT_S = 60


class NotStarted(Exception):
    """``memoryd up`` ended before it was ready; its own messages are on stderr."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Where it answers, its keys, and its data directory."""

    url: str
    key: str
    operator_key: str
    data: Path

    def pids(self) -> dict[str, int]:
        """The process of each child, by the supervisor's name for it."""
        state = datadir.read_state(self.data)
        return {name: child.pid for name, child in state.children.items() if child.pid} if state else {}


@contextmanager
def running_stack(settings: Mapping[str, str]) -> Iterator[Stack]:
    """Starts it with ``settings`` (environment variables) on top of this process's environment; stops it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="memoryd-bench-"))
    folder.chmod(0o755)  # as root, PostgreSQL runs as another user, who must be able to enter
    data = folder / "data"
    command = [sys.executable, "-m", "memoryd", "up", "--data-dir", str(data), "--port", "0", "--print-json"]
    # A question that is asked again is to cost what it costs the first time.
    uncached = {"MEMORYD_EMBEDDING_CACHE_ENTRIES": "0"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**uncached, **os.environ, **settings})
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise NotStarted(f"memoryd up ended with status {process.wait(_STOP_TIMEOUT_S)}")
        ready = json.loads(line)
        yield Stack(ready["url"], ready["api_key"], ready["operator_key"], data)
    finally:
        _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
