import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from retrieval.inference import ModelStore
from retrieval.inference.model_files import ModelFiles
from retrieval.inference.onnx_embedder import OnnxEmbedder
from retrieval.inference.onnx_session import Output
from retrieval.inference.rank import step_aside
from retrieval.inference.registry import BGE_SMALL
from retrieval.inference.tokenizer import Encoding


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


class Computing:
    """Which threads compute rows, side by side; ``asked`` is whether somebody waits for another process. As many threads as are
    expected wait for each other at their first row."""

    def __init__(self, embedder: OnnxEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = False
        self.threads: list[str] = []
        self._meeting = threading.Barrier(1)
        self._session = embedder._session
        monkeypatch.setattr("retrieval.inference.rank._asked", lambda: self.asked)
        monkeypatch.setattr(self._session, "_one", self.one)

    def one(self, row: Encoding) -> Output:
        name = threading.current_thread().name
        first = name not in self.threads
        self.threads.append(name)
        if first:
            self._meeting.wait(30)
        if len(row) == 1:
            raise MemoryError
        return np.full(4, len(row), dtype=np.float32)

    def run(self, *lengths: int, together: int) -> tuple[list[int], int]:
        """What rows of these lengths gave, and how many threads had some: at least as many as are to be ``together``."""
        self.threads.clear()
        self._meeting = threading.Barrier(together)
        rows = [Encoding(np.zeros(length, np.int64), np.zeros(length, np.int64)) for length in lengths]
        return [int(output[0]) for output in self._session.run(rows)], len(set(self.threads))


@pytest.fixture
def files(model_store: ModelStore) -> ModelFiles:
    return model_store.locate(BGE_SMALL.name)


@pytest.mark.parametrize(("threads", "half"), [(1, 1), (2, 1), (4, 2)])
def test_who_steps_aside_takes_half_while_somebody_waits_for_another_process(
    files: ModelFiles, monkeypatch: pytest.MonkeyPatch, threads: int, half: int
) -> None:
    embedder = OnnxEmbedder(files, threads=threads, apart=True)
    first = OnnxEmbedder(files, threads=threads)
    computing, own = Computing(embedder, monkeypatch), Computing(first, monkeypatch)
    lengths = list(range(2, 14))
    assert computing.run(*lengths, together=threads) == (lengths, threads)
    computing.asked = own.asked = True
    assert computing.run(*lengths, together=half) == (lengths, half)
    assert own.run(*lengths, together=threads) == (lengths, threads), "questions keep what they have"
    computing.asked = own.asked = False
    assert computing.run(*lengths, together=threads) == (lengths, threads)
    embedder.close()
    first.close()


def test_nothing_goes_on_behind_a_run_that_failed(files: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = OnnxEmbedder(files, threads=2, apart=True)
    computing = Computing(embedder, monkeypatch)
    with pytest.raises(MemoryError):
        computing.run(*[1] * 10, together=2)
    assert len(computing.threads) == 2, "one row a thread, of ten"
    assert computing.run(2, 3, together=2) == ([2, 3], 2)
    embedder.close()
