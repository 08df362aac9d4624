"""What one call asks of the runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar
from uuid import UUID

import numpy as np

from retrieval.errors import InferenceError
from retrieval.inference.stages import Results

T = TypeVar("T")


class Job(Generic[T]):
    """Texts or pairs of one caller. It succeeds as a whole or fails as a whole.

    ``abandoned`` is set by the event loop when the caller is gone and only ever read here. ``deadline`` is of
    ``time.monotonic``. The callbacks are called on any thread: ``on_progress`` with the tokens done, then once
    ``on_result`` or ``on_error``.
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
        deadline: float | None = None,
    ) -> None:
        self.items = items
        self.size = len(items)
        self.costs = costs
        self.owner = owner
        self.deadline = deadline
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

    @property
    def finished(self) -> bool:
        """True when every item was delivered."""
        return self._missing == 0

    def forget(self) -> None:
        """Let go of the texts and the results of one that is not alive: its items may stand in a lane for long."""
        self.items = ()
        self._results = None

    def deliver(self, indexes: Sequence[int], results: Sequence[Results]) -> None:
        """Results of some items, arrays of one shape for all items."""
        if not self.alive:
            return
        if self._results is None:
            self._results = np.empty((self.size, *results[0].shape), dtype=np.float32)
        for index, result in zip(indexes, results, strict=True):
            self._results[index] = result
        self._missing -= len(indexes)
        if self._missing == 0:
            self._on_result(self._results)
        else:
            self._on_progress(sum(self.costs[index] for index in indexes))

    def fail(self, error: InferenceError) -> None:
        """End the job; items still waiting are skipped."""
        if self.alive:
            self._failed = True
            self._on_error(error)
