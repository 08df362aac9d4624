import os
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
def test_the_second_of_a_model_computes_on_threads_that_step_aside(embedder: OnnxEmbedder) -> None:
    second = embedder.second()
    assert second is not None
    texts = [f"text {n}" for n in range(8)]
    assert abs(second.embed(texts) - embedder.embed(texts)).max() < 1e-5
    assert {second._session._pool.submit(_rank).result() for _ in range(8)} == {min(19, _rank() + 10)}
    assert embedder._session._pool.submit(_rank).result() == _rank()
    second.close()
