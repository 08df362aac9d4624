"""Memory does not follow the size of a document. ``MEMORYD_SOAK_TEXT_MB`` says how large it is (``make soak``: 500)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MEGABYTES = int(os.environ.get("MEMORYD_SOAK_TEXT_MB", "12"))
_MOST_MIB = 300
_ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + 10 * MEGABYTES)]


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is told in other units, and parsers are not forked")
def test_a_large_text_takes_no_more_memory_than_a_small_one() -> None:
    small, large = measured(2), measured(MEGABYTES)
    assert large["chunks"] > 0.8 * MEGABYTES / 2 * small["chunks"]
    assert large["worker_mib"] + large["parser_mib"] < _MOST_MIB
    assert large["worker_mib"] - small["worker_mib"] < 48
    assert large["parser_mib"] - small["parser_mib"] < 16


def measured(megabytes: int) -> dict[str, int]:
    """What :mod:`tests.soak.large_text` says, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak.large_text", str(megabytes)], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    found: dict[str, int] = json.loads(done.stdout)
    return found
