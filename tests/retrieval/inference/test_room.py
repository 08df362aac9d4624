import sys
import threading
import time

import numpy as np
import pytest

from retrieval.inference.onnx_embedder import OnnxEmbedder
from retrieval.inference.room import Room, machine_busy_s
from retrieval.inference.tokenizer import Encoding


class Machine:
    """Its clock, and what its cores have worked."""

    def __init__(self) -> None:
        self.now = 100.0
        self.busy: float | None = 5000.0
        self.own = 70.0

    def room(self, threads: int, cores: int) -> Room:
        return Room(threads, cores=cores, busy=lambda: self.busy, own=lambda: self.own, clock=lambda: self.now)

    def passes(self, seconds: float, *, others: float, own: float) -> None:
        """``others`` and ``own``: cores in use meanwhile."""
        self.now += seconds
        assert self.busy is not None
        self.busy += seconds * (others + own)
        self.own += seconds * own


@pytest.mark.parametrize(
    ("threads", "cores", "others", "left"),
    [
        (2, 2, 0.0, 2),
        (2, 2, 0.4, 2),
        (2, 2, 0.8, 1),
        (2, 2, 1.9, 1),
        (8, 8, 0.8, 7),
        (8, 8, 8.0, 1),
        (4, 64, 30.0, 4),
        (1, 1, 1.0, 1),
    ],
)
def test_cores_that_others_use_are_left_to_them(threads: int, cores: int, others: float, left: int) -> None:
    machine = Machine()
    room = machine.room(threads, cores)
    assert room.threads() == threads, "nobody knows yet"
    machine.passes(2, others=others, own=min(threads, cores - others))
    assert room.threads() == left


def test_it_is_looked_at_again_after_a_second() -> None:
    machine = Machine()
    room = machine.room(2, 2)
    machine.passes(0.5, others=2, own=0)
    assert room.threads() == 2, "too short to tell"
    machine.passes(0.5, others=2, own=0)
    assert room.threads() == 1
    machine.passes(1, others=0, own=1)
    assert room.threads() == 2


def test_what_was_before_a_pause_does_not_count() -> None:
    machine = Machine()
    room = machine.room(2, 2)
    machine.now += 3600
    machine.busy = 12_200.0
    assert room.threads() == 2
    machine.passes(1, others=2, own=0)
    assert room.threads() == 1
    machine.passes(20, others=2, own=0)
    assert room.threads() == 1, "a run that took long is no pause"


def test_where_nobody_counts_there_is_room_for_all() -> None:
    machine = Machine()
    machine.busy = None
    room = machine.room(3, 3)
    machine.now += 10
    assert room.threads() == 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_machine_that_works_is_seen_to() -> None:
    before = machine_busy_s()
    until = time.thread_time() + 0.2
    while time.thread_time() < until:
        pass
    after = machine_busy_s()
    assert before is not None
    assert after is not None
    assert not before or after - before >= 0.15, "a sandbox may say nothing but zeros"


def test_bulk_computes_on_as_many_threads_as_there_is_room_for(embedder: OnnxEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.inference.onnx_session.leaves_cores", lambda: True)
    second = embedder.second()
    assert second is not None
    session, texts = second._session, [f"text {n}" for n in range(12)]
    assert session._room is not None
    one, here = session._one, threading.Semaphore(1)

    def alone(row: object) -> object:
        assert here.acquire(blocking=False), "another is computed beside it"
        try:
            return one(row)  # type: ignore[arg-type]
        finally:
            here.release()

    monkeypatch.setattr(session._room, "threads", lambda: 1)
    monkeypatch.setattr(session, "_one", alone)
    np.testing.assert_allclose(second.embed(texts), embedder.embed(texts), atol=1e-5)
    second.close()


def test_the_first_row_that_fails_ends_a_run(embedder: OnnxEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    second = OnnxEmbedder(embedder._files, threads=2, apart=True)
    both, go_on, tried = threading.Barrier(2, timeout=60), threading.Event(), list[str]()
    one = second._session._one

    def waits_or_fails(row: Encoding) -> object:
        tried.append(threading.current_thread().name)
        if both.wait() == 0:
            raise MemoryError
        assert go_on.wait(60)
        return one(row)

    monkeypatch.setattr(second._session, "_one", waits_or_fails)
    with pytest.raises(MemoryError):
        second.embed([f"text {n}" for n in range(50)])
    go_on.set()
    second.close()
    assert len(set(tried)) == len(tried) == 2
