"""A lane by itself: what it cuts, makes ready, refuses and survives, with a clock and a model that the test sets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
import pytest

from retrieval.errors import InferenceError, InferenceTimeout
from retrieval.inference.batches import BatchLimits, Budget, Pace, Throughput
from retrieval.inference.job import Job
from retrieval.inference.lanes import LaneQueue
from retrieval.inference.stages import Results

A, B = UUID(int=1), UUID(int=2)


@dataclass
class LengthModel:
    """A text's row is itself, and costs its length. Runs of more than ``memory`` tokens do not fit."""

    padded: bool = False
    memory: int = 10**9
    encoded: list[str] = field(default_factory=list)
    prepared: list[list[str]] = field(default_factory=list)
    runs: list[list[str]] = field(default_factory=list)

    def encode(self, items: Sequence[str]) -> list[str]:
        if any("unreadable" in item for item in items):
            raise ValueError("unreadable")
        self.encoded += items
        return list(items)

    def length(self, row: str) -> int:
        return len(row)

    def prepare(self, rows: Sequence[str]) -> Callable[[], Results]:
        self.prepared.append(list(rows))

        def run() -> Results:
            cost = max(map(len, rows)) * len(rows) if self.padded else sum(map(len, rows))
            if cost > self.memory:
                raise MemoryError
            self.runs.append(list(rows))
            if any(self.failing(row) for row in rows):
                raise ValueError("poisoned")
            return np.array([len(row) for row in rows], dtype=np.float32)

        return run

    def failing(self, row: str) -> bool:
        """Whether a run fails on it."""
        return "poison" in row


@dataclass
class Caller:
    """What a job told its caller."""

    results: list[Results] = field(default_factory=list)
    errors: list[InferenceError] = field(default_factory=list)
    progress: list[int] = field(default_factory=list)

    def job(self, *items: str, owner: UUID | None = None, deadline: float | None = None) -> Job[str]:
        return Job(
            items,
            [len(item) for item in items],
            owner=owner,
            on_progress=self.progress.append,
            on_result=self.results.append,
            on_error=self.errors.append,
            deadline=deadline,
        )


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def lane(
    model: LengthModel,
    limits: BatchLimits | None = None,
    *,
    budget: Budget | None = None,
    sizes: Pace | None = None,
    asked: Pace | None = None,
    clock: Clock | None = None,
) -> LaneQueue[str, str]:
    return LaneQueue(
        model,
        limits=limits or BatchLimits(),
        throughput=Throughput(),
        budget=budget,
        sizes=sizes,
        asked=asked,
        clock=clock or Clock(),
    )


def measured(throughput: Throughput, tokens_per_s: int) -> None:
    """Of so long a run that no other counts beside it."""
    throughput.add(1_000 * tokens_per_s, 1_000.0)


def step(queue: LaneQueue[str, str]) -> list[str]:
    """Cut a batch, run it, hand it out; what was in it."""
    batch = queue.take()
    if batch is None:
        return []
    batch.run()
    batch.deliver()
    return [entry.item for entry in batch.entries]


def test_a_padded_lane_runs_neighbours_in_length_across_jobs_and_owners() -> None:
    model = LengthModel(padded=True)
    queue = lane(model, BatchLimits(items=8, tokens=400))
    first, second = Caller(), Caller()
    queue.add(first.job("a" * 10, "a" * 100, "a" * 12, owner=A))
    queue.add(second.job("b" * 11, "b" * 90, owner=B))
    assert sorted(step(queue)) == ["a" * 10, "a" * 12, "b" * 11]
    assert sorted(step(queue)) == ["a" * 100, "b" * 90]
    assert step(queue) == []
    assert [list(results) for results in first.results] == [[10, 100, 12]]
    assert [list(results) for results in second.results] == [[11, 90]]
    assert first.progress == [22]


def test_looking_ahead_tokenises_and_prepares_and_the_cut_uses_it() -> None:
    model = LengthModel()
    queue = lane(model, BatchLimits(items=2, tokens=100))
    caller = Caller()
    queue.add(caller.job("one", "two", "three"))
    queue.look_ahead()
    queue.look_ahead()
    assert model.encoded == ["one", "two"]
    assert model.prepared == [["one", "two"]]
    assert model.runs == []
    assert step(queue) == ["one", "two"]
    assert model.prepared == [["one", "two"]], "nothing is prepared twice"
    assert step(queue) == ["three"]
    assert model.encoded == ["one", "two", "three"]


def test_who_comes_while_a_batch_is_ready_still_joins_it() -> None:
    model = LengthModel()
    queue = lane(model)
    callers = [Caller() for _ in range(3)]
    queue.add(callers[0].job("one"))
    queue.look_ahead()
    queue.add(callers[1].job("two"))
    queue.add(callers[2].job("three"))
    assert step(queue) == ["one", "two", "three"]
    assert model.encoded == ["one", "two", "three"], "no text is tokenised twice"
    assert all(caller.results for caller in callers)


def test_a_batch_that_was_ready_runs_nothing_that_was_abandoned_since() -> None:
    model = LengthModel()
    queue = lane(model)
    gone, kept = Caller(), Caller()
    job = gone.job("gone")
    queue.add(job)
    queue.add(kept.job("kept"))
    queue.look_ahead()
    job.abandoned = True
    assert step(queue) == ["kept"]
    assert not gone.results
    assert not gone.errors


def test_a_deadline_that_has_passed_or_cannot_be_met_is_refused_at_the_cut() -> None:
    model, clock = LengthModel(), Clock()
    queue = lane(model, BatchLimits(items=2, tokens=100), clock=clock)
    early, late, in_time, endless = Caller(), Caller(), Caller(), Caller()
    queue.add(early.job("early", deadline=101.0))
    queue.add(late.job("late", "late too", deadline=103.0))
    queue.add(in_time.job("in time", deadline=110.0))
    queue.add(endless.job("endless"))
    assert step(queue) == ["early", "late"]
    clock.now = 104.0
    assert step(queue) == ["in time", "endless"]
    assert [type(error) for error in late.errors] == [InferenceTimeout]
    assert not late.results
    assert early.results
    assert in_time.results
    assert "late too" not in [text for run in model.runs for text in run]
    assert late.errors[0].retryable


def test_what_cannot_be_tokenised_fails_alone() -> None:
    model = LengthModel()
    queue = lane(model)
    bad, good = Caller(), [Caller() for _ in range(4)]
    queue.add(good[0].job("one"))
    queue.add(bad.job("fine", "unreadable"))
    for caller in good[1:]:
        queue.add(caller.job("more"))
    while queue.waiting:
        step(queue)
    assert all(len(caller.results) == 1 for caller in good)
    (error,) = bad.errors
    assert "input 2 of 2" in str(error)
    assert isinstance(error.__cause__, ValueError)


def test_poison_is_found_by_halves() -> None:
    model = LengthModel()
    queue = lane(model, BatchLimits(items=16, tokens=1000))
    callers = [Caller() for _ in range(16)]
    for number, caller in enumerate(callers):
        queue.add(caller.job("poison" if number == 5 else "fine"))
    step(queue)
    assert [bool(caller.errors) for caller in callers] == [number == 5 for number in range(16)]
    assert [len(run) for run in model.runs] == [16, 8, 4, 4, 2, 1, 1, 2, 8]


def test_too_little_memory_halves_the_batch_and_those_after_it() -> None:
    model, budget = LengthModel(padded=True, memory=500), Budget(1600)
    queue = lane(model, BatchLimits(items=64, tokens=1600), budget=budget)
    caller = Caller()
    queue.add(caller.job(*("x" * 100 for _ in range(40))))
    step(queue)
    assert budget.tokens <= 800
    assert [len(run) for run in model.runs] == [4, 4, 4, 4]
    while queue.waiting:
        step(queue)
    assert len(caller.results) == 1
    assert not caller.errors
    assert len(caller.results[0]) == 40
    assert all(len(run) <= 5 for run in model.runs)
    model.memory = 10**9
    for _ in range(4000):
        queue.add(Caller().job(*("x" * 100 for _ in range(16))))
        step(queue)
        if budget.tokens == 1600:
            break
    assert budget.tokens == 1600, "it grows again when there is memory"


def test_one_text_that_does_not_fit_fails_alone() -> None:
    model = LengthModel(memory=500)
    queue = lane(model, BatchLimits(items=64, tokens=1600))
    large, small = Caller(), Caller()
    queue.add(large.job("x" * 600))
    queue.add(small.job("y" * 100))
    while queue.waiting:
        step(queue)
    assert isinstance(large.errors[0].__cause__, MemoryError)
    assert small.results


def test_bulk_is_cut_short_while_questions_come() -> None:
    clock, pace = Clock(), Pace(0.035)
    model = LengthModel()
    bulk = lane(model, BatchLimits(items=64, tokens=512), sizes=pace, clock=clock)
    asked = lane(LengthModel(), asked=pace, clock=clock)
    bulk.add(Caller().job(*("x" * 32 for _ in range(100))))
    assert len(step(bulk)) == 16
    measured(bulk._model.computed, 4_000)  # tokens a second: 140 in 35 ms
    assert len(step(bulk)) == 16, "nobody asks"
    asked.add(Caller().job("a question"))
    step(asked)
    measured(bulk._model.computed, 4_000)
    assert len(step(bulk)) == 4
    clock.now += 10.0
    measured(bulk._model.computed, 4_000)
    assert len(step(bulk)) == 16


def test_results_of_another_shape_fail_their_job_only() -> None:
    model = LengthModel()
    queue = lane(model, BatchLimits(items=1))
    caller, other = Caller(), Caller()
    queue.add(caller.job("one", "two"))
    queue.add(other.job("three"))
    step(queue)
    batch = queue.take()
    assert batch is not None
    batch.run()
    batch._done = [(batch.entries, np.zeros((1, 3), dtype=np.float32))]
    batch.deliver()
    step(queue)
    assert len(caller.errors) == 1
    assert other.results


def test_a_long_job_of_one_owner_is_not_all_in_the_queue() -> None:
    queue = lane(LengthModel())
    caller = Caller()
    job = caller.job(*(f"{number}" for number in range(50_000)), owner=A)
    queue.add(job)
    assert queue._queue.waiting(A) == 256
    assert step(queue) == [f"{number}" for number in range(16)]
    assert queue._queue.waiting(A) == 256
    job.abandoned = True
    behind = Caller()
    queue.add(behind.job("behind", owner=A))
    assert step(queue) == ["behind"]
    assert not queue.waiting
    assert not queue._backlogs


@pytest.mark.parametrize("padded", [False, True])
def test_when_it_ends_everybody_hears_of_it_once(padded: bool) -> None:
    queue = lane(LengthModel(padded=padded))
    callers = [Caller() for _ in range(3)]
    for caller in callers:
        queue.add(caller.job(*("x" * n for n in range(1, 1000)), owner=A))
    queue.look_ahead()
    queue.fail_all(InferenceError("over"))
    assert [len(caller.errors) for caller in callers] == [1, 1, 1]
    assert not queue.waiting
    assert queue.take() is None


def test_a_job_that_nobody_waits_for_leaves_nothing_behind_another_one() -> None:
    queue = lane(LengthModel())
    first = Caller()
    queue.add(first.job(*(f"{number}" for number in range(1_000)), owner=A))
    gone = [Caller().job(*("x" * 100 for _ in range(100)), owner=A) for _ in range(50)]
    for job in gone:
        queue.add(job)
        job.abandoned = True
        queue.drop(job)
    assert [one.job.size for one in queue._backlogs[A]] == [1_000]
    assert all(not job.items for job in gone)
    while queue.waiting:
        step(queue)
    assert [len(results) for results in first.results] == [1_000]


def test_a_job_that_is_dropped_halfway_makes_room_for_the_next_and_its_last_batch_harms_nobody() -> None:
    queue = lane(LengthModel(), BatchLimits(items=4))
    caller, behind = Caller(), Caller()
    job = caller.job(*("x" for _ in range(600)), owner=A)
    queue.add(job)
    queue.add(behind.job("behind", owner=A))
    step(queue)
    batch = queue.take()
    assert batch is not None
    batch.run()
    job.abandoned = True
    queue.drop(job)
    batch.deliver()
    assert step(queue) == ["behind"]
    assert not queue.waiting
    assert not queue._backlogs
    assert not caller.results
