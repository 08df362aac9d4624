import os
import subprocess
import sys
import threading

import pytest

from retrieval.inference.onnx_embedder import OnnxEmbedder
from retrieval.inference.rank import step_aside


def _rank() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ranks single threads")
def test_a_thread_steps_aside_with_those_it_starts_and_no_other() -> None:
    before, seen = _rank(), []

    def inner() -> None:
        seen.append(_rank())

    def outer() -> None:
        step_aside()
        step_aside()
        thread = threading.Thread(target=inner)
        thread.start()
        thread.join()
        seen.append(_rank())

    thread = threading.Thread(target=outer)
    thread.start()
    thread.join()
    assert seen == [min(19, before + 10)] * 2
    assert _rank() == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ranks single threads")
def test_in_a_process_in_the_background_a_thread_waits_for_an_idle_core() -> None:
    program = """
import os, threading
from retrieval.inference.rank import into_background, step_aside
into_background(10 - os.nice(0))
def outer():
    step_aside()
    print(os.sched_getscheduler(threading.get_native_id()) == os.SCHED_IDLE)
thread = threading.Thread(target=outer)
thread.start()
thread.join()
print(os.sched_getscheduler(0) == os.SCHED_OTHER)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.split() == ["True", "True"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ranks single threads")
def test_the_second_of_a_model_computes_on_threads_that_step_aside(embedder: OnnxEmbedder) -> None:
    second = embedder.second()
    assert second is not None
    texts = [f"text {n}" for n in range(8)]
    assert abs(second.embed(texts) - embedder.embed(texts)).max() < 1e-5
    assert {second._session._pool.submit(_rank).result() for _ in range(8)} == {min(19, _rank() + 10)}
    assert os.sched_getscheduler(second._session._pool.submit(threading.get_native_id).result()) == os.SCHED_OTHER
    assert embedder._session._pool.submit(_rank).result() == _rank()
    second.close()
