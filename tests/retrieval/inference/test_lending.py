"""Bulk whose own thread gets nowhere: the first thread does some of it, and neither waits for the other at the end."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from retrieval.errors import InferenceUnavailable
from retrieval.inference import InferenceRuntime
from retrieval.inference.batches import BatchLimits
from retrieval.inference.lending import LendingStages, Loans
from retrieval.inference.stages import Results
from tests.retrieval.inference.held import TwofoldEmbedder, running

FIRST, BULK = "memoryd-inference", "memoryd-inference-bulk"


class Rows:
    """A row is a number, and so is its result; a run takes so many seconds of the clock."""

    padded = False

    def __init__(self) -> None:
        self.now = 0.0
        self.takes = 0.1
        self.ran: list[str] = []

    def clock(self) -> float:
        return self.now

    def encode(self, items: Sequence[int]) -> Sequence[int]:
        return items

    def length(self, row: int) -> int:
        return 1

    def prepare(self, rows: Sequence[int]) -> Callable[[], Results]:
        def run() -> Results:
            self.now += self.takes
            self.ran.append(threading.current_thread().name)
            return np.array(rows, dtype=np.float32)

        return run


def lend(loans: Loans, times: int) -> None:
    """What the first thread does."""
    for _ in range(times):
        while (loan := loans.take()) is None:
            pass
        loan.run()
        loan.deliver()


def test_only_the_run_after_a_late_one_is_lent() -> None:
    rows, loans = Rows(), Loans()
    stages = LendingStages(rows, rows, loans, BatchLimits(), clock=rows.clock)
    loans.open(lambda: None)
    lender = threading.Thread(target=lend, args=(loans, 2), name="lender")
    lender.start()
    for takes in (0.5, 3.0, 0.5, 3.0, 0.5, 0.5):
        rows.takes = takes
        assert list(stages.prepare([1, 2])()) == [1.0, 2.0]
    lender.join(5)
    own = threading.current_thread().name
    assert rows.ran == [own, own, "lender", own, "lender", own]


def test_what_is_lent_comes_in_turns_of_the_first_threads_size() -> None:
    rows, loans = Rows(), Loans()
    rows.takes = 3.0
    stages = LendingStages(rows, rows, loans, BatchLimits(items=2), clock=rows.clock)
    stages.prepare([0])()
    loans.open(lambda: None)
    lender = threading.Thread(target=lend, args=(loans, 3), name="lender")
    lender.start()
    assert list(stages.prepare([1, 2, 3, 4, 5])()) == [1.0, 2.0, 3.0, 4.0, 5.0]
    lender.join(5)
    assert rows.ran[1:] == ["lender"] * 3


def test_a_run_is_as_long_as_a_second_of_the_one_before() -> None:
    rows, loans = Rows(), Loans()
    stages = LendingStages(rows, rows, loans, BatchLimits(tokens=40), clock=rows.clock)
    assert stages.tokens(0.0, 9.0, 0, 1_000) == 40, "of an unknown rate"
    for takes, tokens in ((0.5, 200), (0.05, 1_000), (2.0, 50), (200.0, 40)):
        rows.takes = takes
        stages.prepare(range(100))()
        assert stages.tokens(0.0, 9.0, 0, 1_000) == tokens, "the last is of what will be lent"


def test_what_the_model_raises_is_raised_where_it_was_asked_for() -> None:
    loans = Loans()
    loans.open(lambda: None)
    lender = threading.Thread(target=lend, args=(loans, 1))
    lender.start()

    def broken() -> Results:
        raise MemoryError

    with pytest.raises(MemoryError):
        loans.ask(broken)
    lender.join(5)


def test_nothing_is_lent_before_it_begins_and_after_it_ends() -> None:
    loans, found = Loans(), []
    run = Rows().prepare([1])
    assert loans.ask(run) is None
    asked = threading.Event()
    loans.open(asked.set)
    waits = threading.Thread(target=lambda: found.append(loans.ask(run)))
    waits.start()
    assert asked.wait(5)
    loans.fail_all(InferenceUnavailable("over"))
    waits.join(5)
    assert found == [None]
    assert loans.ask(run) is None
    assert not loans.waiting


async def test_both_threads_do_a_late_job_and_every_text_gets_its_own_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.inference.lending._LATE_S", -1.0)
    backend = TwofoldEmbedder()
    async with running(backend) as runtime:
        vectors = await runtime.embed_passages(["x" * n for n in range(1, 60)])
        assert [int(vector[0]) for vector in vectors] == [n + 2 for n in range(1, 60)]
        for model, thread in ((backend, FIRST), (backend.other, BULK)):
            assert {name for what, name, _ in model.events if what == "run"} == {thread}


def opened(loans: Loans) -> None:
    while loans._wake is None:
        time.sleep(0.001)


async def test_it_ends_while_bulk_waits_for_a_turn_of_the_first_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.inference.lending._LATE_S", -1.0)
    backend = TwofoldEmbedder()
    runtime = InferenceRuntime(lambda: backend)
    await runtime.start()
    asked, lent = threading.Event(), runtime._running().lent
    await asyncio.to_thread(opened, lent)  # by its thread, which may be after the start
    lent.open(asked.set)
    backend.gate.clear()
    question = asyncio.ensure_future(runtime.embed_queries(["held"]))
    await asyncio.sleep(0.02)
    bulk = asyncio.ensure_future(runtime.embed_passages(["bulk"] * 100))
    assert await asyncio.to_thread(asked.wait, 5)
    closing = asyncio.ensure_future(runtime.close())
    await asyncio.sleep(0.01)
    backend.gate.set()
    async with asyncio.timeout(10):
        await closing
    await question
    with pytest.raises(InferenceUnavailable):
        await bulk
    assert backend.closed
    assert backend.other.closed
