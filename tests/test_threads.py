"""Threads that compute where others leave the processor to them."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from memoryd.threads import step_aside


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere priorities are processes'")
def test_steps_aside_with_the_threads_it_starts_and_nobody_else() -> None:
    before, found = _niceness(), []

    def work() -> None:
        step_aside()
        found.append(_niceness())
        with ThreadPoolExecutor(1) as pool:
            found.append(pool.submit(_niceness).result())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert found == [19, 19]
    assert _niceness() == before
