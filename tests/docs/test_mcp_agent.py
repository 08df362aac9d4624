"""The example of an agent over MCP, as a reader runs it: which is also ``memoryd mcp`` with a memoryd of its own."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from memoryd.embedded import datadir

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_agent_remembers_across_processes_and_leaves_none_behind() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"MEMORYD_URL", "MEMORYD_API_KEY"}}
    with tempfile.TemporaryDirectory(prefix="md-") as place:
        Path(place).chmod(0o755)
        data = Path(place) / "data"
        done = subprocess.run(
            [sys.executable, "docs/examples/mcp_agent/run.py", str(data)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        state = datadir.read_state(data)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Coffee with oat milk, to Oslo." in done.stdout
    assert "Coffee with oat milk, to Bergen." in done.stdout
    assert done.stdout.endswith("Remembered across sessions, and corrected.\n")
    assert state is not None
    assert not state.alive
