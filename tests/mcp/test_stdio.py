"""``memoryd mcp`` as a process: how it ends, and what it leaves behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Instead of `memoryd up`, which takes seconds and has tests of its own: says that it is ready, and when it was stopped in order.
STACK = """#!/bin/sh
trap 'echo stopped > "$MARK"; exit 0' TERM
echo '{"url": "http://127.0.0.1:9", "api_key": "mdk_x"}'
echo $$ > "$MARK"
while :; do sleep 0.1; done
"""
PROGRAM = "import sys; sys.executable = sys.argv.pop(1); from memoryd.cli.main import cli; cli()"


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Where the stack writes how it is."""
    return tmp_path / "mark"


@pytest.fixture
def process(tmp_path: Path, mark: Path) -> Iterator["subprocess.Popen[str]"]:
    """``memoryd mcp`` on a data directory of its own, whose stack has started."""
    stack = tmp_path / "stack"
    stack.write_text(STACK)
    stack.chmod(0o755)
    known = {name: value for name, value in os.environ.items() if not name.startswith("MEMORYD_")}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(stack), "mcp", "--data-dir", str(tmp_path / "data")],
        cwd=ROOT, env=known | {"MARK": str(mark)}, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True,
    ) as started:  # fmt: skip
        until = time.monotonic() + 60
        while not mark.exists() and started.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        yield started
        started.kill()
    if mark.exists() and (left := mark.read_text().strip()).isdigit():
        os.kill(int(left), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_it_and_what_it_started(process: "subprocess.Popen[str]", mark: Path, number: signal.Signals) -> None:
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    assert mark.read_text() == "stopped\n"
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_the_end_of_its_input_ends_it_and_what_it_started(process: "subprocess.Popen[str]", mark: Path) -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 0
    assert mark.read_text() == "stopped\n"
