"""Jobs wait in lanes; a lane cuts batches across jobs, fairly between their owners, and gives each job its own outcome.

Everything here runs on the compute thread, except what :class:`Job` says of the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import InferenceError
from retrieval.inference.batches import BatchLimits, Throughput
from retrieval.inference.fair import FairQueue

T = TypeVar("T")

Results = NDArray[np.float32]


class Job(Generic[T]):
    """Texts or pairs of one caller. It succeeds as a whole or fails as a whole.

    ``abandoned`` is set by the event loop when the caller is gone and only ever read here. The callbacks are called
    on the compute thread: ``on_progress`` with the tokens done, then once ``on_result`` or ``on_error``.
    """

    def __init__(
        self,
        items: Sequence[T],
        costs: Sequence[int],
        *,
        owner: UUID | None,
        on_progress: Callable[[int], None],
        on_result: Callable[[Results], None],
        on_error: Callable[[InferenceError], None],
    ) -> None:
        self.items = items
        self.costs = costs
        self.owner = owner
        self.abandoned = False
        self._on_progress = on_progress
        self._on_result = on_result
        self._on_error = on_error
        self._results: Results | None = None
        self._missing = len(items)
        self._failed = False

    @property
    def alive(self) -> bool:
        """False when nobody wants the rest of it."""
        return not (self.abandoned or self._failed)

    def deliver(self, index: int, result: Results) -> None:
        """The result of one item, an array of one shape for all items."""
        if self._results is None:
            self._results = np.empty((len(self.items), *result.shape), dtype=np.float32)
        self._results[index] = result
        self._missing -= 1
        self._on_progress(self.costs[index])
        if self._missing == 0 and self.alive:
            self._on_result(self._results)

    def fail(self, error: InferenceError) -> None:
        """End the job; items still waiting are skipped."""
        if self.alive:
            self._failed = True
            self._on_error(error)


class LaneQueue(Generic[T]):
    """Items of many jobs, the owners taking turns by tokens, and the model that runs them."""

    def __init__(self, run: Callable[[Sequence[T]], Results], *, limits: BatchLimits, throughput: Throughput) -> None:
        self._run = run
        self._limits = limits
        self._throughput = throughput
        self._items: FairQueue[tuple[Job[T], int]] = FairQueue()

    def add(self, job: Job[T]) -> None:
        """Queue every item of ``job``."""
        for index, cost in enumerate(job.costs):
            self._items.put(job.owner, (job, index), cost)

    @property
    def waiting(self) -> bool:
        """True when a batch can be cut; what nobody wants any more is dropped here."""
        return self._next() is not None

    def step(self) -> None:
        """Cut one batch and run it."""
        batch: list[tuple[Job[T], int]] = []
        total = 0
        while (cost := self._next()) is not None and self._limits.admit(len(batch), total + cost):
            batch.append(self._items.pop())
            total += cost
        self._attempt(batch)

    def fail_all(self, error: InferenceError) -> None:
        """Fail every job that waits."""
        while self._items.peek() is not None:
            self._items.pop()[0].fail(error)

    def _next(self) -> int | None:
        """The cost of the next item that somebody wants, or ``None``; what nobody wants is dropped on the way."""
        while (head := self._items.peek()) is not None:
            (job, _), cost = head
            if job.alive:
                return cost
            self._items.pop(charge=False)
        return None

    def _attempt(self, batch: Sequence[tuple[Job[T], int]]) -> None:
        """Run a batch; when it fails, run its halves, so that only the jobs of poisoned items fail."""
        if not batch:
            return
        started = time.perf_counter()
        try:
            results = self._results([job.items[index] for job, index in batch])
        except Exception as error:  # noqa: BLE001 - whatever a model raises is the fate of its inputs, not of the thread
            self._isolate(batch, error)
            return
        tokens = sum(job.costs[index] for job, index in batch)
        self._throughput.add(tokens, time.perf_counter() - started, full=2 * tokens >= self._limits.tokens)
        for (job, index), result in zip(batch, results, strict=True):
            job.deliver(index, result)

    def _results(self, items: Sequence[T]) -> Results:
        results = self._run(items)
        if len(results) != len(items):
            raise InferenceError(f"The model gave {len(results)} results for {len(items)} inputs.")
        return results

    def _isolate(self, batch: Sequence[tuple[Job[T], int]], error: Exception) -> None:
        if len(batch) > 1:
            middle = len(batch) // 2
            for half in (batch[:middle], batch[middle:]):
                self._attempt([(job, index) for job, index in half if job.alive])
            return
        job, index = batch[0]
        failure = InferenceError(f"The model failed on input {index + 1} of {len(job.items)}.")
        failure.__cause__ = error
        job.fail(failure)
