"""One run of a model: made ready ahead, done on the compute thread, its results dealt out to the jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from retrieval.errors import InferenceError, InferenceUnavailable
from retrieval.inference.batches import Budget, Throughput
from retrieval.inference.job import Job
from retrieval.inference.planner import padded_cost
from retrieval.inference.soundness import Soundness
from retrieval.inference.stages import Results, Stages

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class Entry(Generic[T, R]):
    """One item of a job, with its row once it is tokenised."""

    job: Job[T]
    index: int
    row: R | None = None

    @property
    def item(self) -> T:
        """As the caller gave it."""
        return self.job.items[self.index]

    def failure(self, cause: Exception) -> InferenceError:
        """What its job fails with. Memory that suffices for the largest input (the warm-up) is the process's, not this one's."""
        error = InferenceError(f"The model failed on input {self.index + 1} of {self.job.size}.")
        if isinstance(cause, MemoryError):
            error = InferenceUnavailable("There is too little memory at present.")
        error.__cause__ = cause
        return error


@dataclass(frozen=True, slots=True)
class Model(Generic[T, R]):
    """What a lane knows of its model. ``throughput`` is in estimated tokens, as they are admitted; ``computed`` in those
    that were computed, padding included. ``full``: a run of half as many tokens tells how fast the model is alone. Without
    ``soundness`` every failure is taken to be the inputs'."""

    stages: Stages[T, R]
    throughput: Throughput
    budget: Budget
    computed: Throughput
    full: int
    soundness: Soundness[T] | None = None

    def length(self, entry: Entry[T, R]) -> int:
        """Tokens of an entry; 0 of one that is not tokenised."""
        return 0 if entry.row is None else self.stages.length(entry.row)

    def seconds(self, entry: Entry[T, R]) -> float:
        """How long an entry alone takes at least."""
        return self.computed.least_seconds(self.length(entry))

    def cost(self, entries: Sequence[Entry[T, R]]) -> int:
        """Tokens that a run of these computes."""
        lengths = [self.length(entry) for entry in entries]
        return padded_cost(lengths) if self.stages.padded else sum(lengths)


class Batch(Generic[T, R]):
    """Entries that run together. :meth:`run` once, on the compute thread; :meth:`deliver` then, under the lane's lock."""

    def __init__(self, model: Model[T, R], entries: Sequence[Entry[T, R]]) -> None:
        self.entries = list(entries)
        self._model = model
        self._prepared: Callable[[], Results] | None = None
        self._done: list[tuple[Sequence[Entry[T, R]], Results]] = []
        self._failed: dict[Job[T], InferenceError] = {}
        self._probed = False

    def prepare(self) -> None:
        """Do what can be done before the run."""
        try:
            self._prepared = self._preparation(self.entries)
        except Exception:  # noqa: BLE001 - the run will meet it again, and knows what to do about it
            self._prepared = None

    def run(self) -> None:
        """Compute. What the model raises becomes the fate of single entries."""
        prepared, self._prepared = self._prepared, None
        self._attempt(self.entries, prepared)

    def deliver(self) -> None:
        """Give the jobs their results and failures."""
        for job, error in self._failed.items():
            job.fail(error)
        for entries, results in self._done:
            shares: dict[Job[T], list[int]] = {}
            for position, entry in enumerate(entries):
                shares.setdefault(entry.job, []).append(position)
            for job, positions in shares.items():
                try:
                    job.deliver([entries[at].index for at in positions], [results[at] for at in positions])
                except ValueError as error:  # of another shape than the job's results so far
                    job.fail(entries[positions[0]].failure(error))

    def _attempt(self, entries: Sequence[Entry[T, R]], prepared: Callable[[], Results] | None) -> None:
        """Run; when it fails and the model does not fail on everything, run the halves, so that only the jobs of poisoned items
        fail."""
        cost = self._model.cost(entries)
        started = time.perf_counter()
        try:
            results = (prepared or self._preparation(entries))()
            if len(results) != len(entries):
                raise InferenceError(f"The model gave {len(results)} results for {len(entries)} inputs.")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 - whatever a model raises is the fate of its inputs, not of the thread
            starved = isinstance(error, MemoryError)
            if starved:
                self._model.budget.shrink(cost)
            if (starved and len(entries) > 1) or self._computes():
                self._halve(entries, error)
            else:
                self._give_up(entries, error)
        else:
            self._measure(entries, cost, time.perf_counter() - started)
            self._done.append((entries, results))
            if self._model.soundness is not None:
                self._model.soundness.succeeded()

    def _halve(self, entries: Sequence[Entry[T, R]], error: Exception) -> None:
        if len(entries) == 1:
            self._failed[entries[0].job] = entries[0].failure(error)
            return
        middle = len(entries) // 2
        for half in (entries[:middle], entries[middle:]):
            if alive := [entry for entry in half if entry.job.alive and entry.job not in self._failed]:
                self._attempt(alive, None)

    def _computes(self) -> bool:
        """True unless the model fails on what it is known to compute; it is asked once for the failures of a batch."""
        soundness, stages = self._model.soundness, self._model.stages
        if soundness is None or self._probed:
            return True
        try:
            stages.prepare(stages.encode([soundness.probe]))()
        except Exception as error:  # noqa: BLE001 - as of the inputs
            soundness.failed(error)
            return False
        soundness.succeeded()
        self._probed = True
        return True

    def _give_up(self, entries: Sequence[Entry[T, R]], error: Exception) -> None:
        """None of these is at fault."""
        for entry in entries:
            failure = InferenceUnavailable("The model fails on everything at present.")
            failure.__cause__ = error
            self._failed[entry.job] = failure

    def _measure(self, entries: Sequence[Entry[T, R]], cost: int, seconds: float) -> None:
        model = self._model
        estimated = sum(entry.job.costs[entry.index] for entry in entries)
        full = 2 * cost >= model.full
        model.throughput.add(estimated, seconds, full=full)
        model.computed.add(cost, seconds, full=full)
        model.budget.succeeded(cost)

    def _preparation(self, entries: Sequence[Entry[T, R]]) -> Callable[[], Results]:
        return self._model.stages.prepare([entry.row for entry in entries if entry.row is not None])
