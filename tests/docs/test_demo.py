"""``make demo`` works as a user sees it: starts everything, answers every question, leaves nothing behind."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_runs_from_nothing_to_nothing() -> None:
    # pytest's own folders are closed to the account that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="md-") as place:
        Path(place).chmod(0o755)
        done = subprocess.run(
            [sys.executable, "docs/examples/demo/standalone.py"],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": place, "COLUMNS": "120"},
            capture_output=True,
            text=True,
            check=False,
        )
        left = list(Path(place).glob("memoryd-*"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert not left
    assert re.search(r"^Ready at http://127\.0\.0\.1:\d+ in [\d.]+ s\.$", done.stdout, re.MULTILINE)
    assert re.search(r"^Remembered 273 turns of 23 sessions in [\d.]+ s\.$", done.stdout, re.MULTILINE)
    contexts = re.findall(r"memoryd context: (\d+) of 600 tokens", done.stdout)
    fills = re.findall(r"naive top-k fill: (\d+) of 600 tokens", done.stdout)
    assert len(contexts) == len(fills) == 2
    assert all(0 < int(used) <= 600 for used in contexts + fills)
    assert "dense #1" in done.stdout
    assert "Every question has an answer in its top 10." in done.stdout
    assert re.search(r"^Stopped everything in [\d.]+ s\.$", done.stdout, re.MULTILINE)
