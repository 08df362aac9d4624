"""Work that nobody waits for any more does not hold up the end."""

import subprocess
import sys

import pytest

from memoryd.embedded.abandonable import abandonable
from tests.embedded.running import ROOT

_LEFT = """
import asyncio, time
from memoryd.embedded.abandonable import abandonable

async def main():
    async with asyncio.timeout(0.1):
        await abandonable(lambda: time.sleep(600))

try:
    asyncio.run(main())
except TimeoutError:
    print("left")
"""


async def test_it_is_waited_for_and_raises_what_it_raised() -> None:
    done: list[int] = []
    await abandonable(lambda: done.append(1))
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        await abandonable(lambda: done.append(1 // 0))


def test_the_end_of_the_process_does_not_wait_for_it() -> None:
    ended = subprocess.run([sys.executable, "-c", _LEFT], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "left\n", "")
