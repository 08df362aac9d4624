"""Bulk that its own thread is kept from: the first thread does a run of it now and then, at full rank."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from retrieval.errors import InferenceError
from retrieval.inference.batches import BatchLimits
from retrieval.inference.planner import cut
from retrieval.inference.stages import Results, Stages

T = TypeVar("T")
R = TypeVar("R")

# Of bulk on a thread of its own, a run: where others take most of the cores it is smaller, and its jobs still get on.
_RUN_S = 1.0
_LATE_S = 2.0


class LendingStages(Generic[T, R]):
    """Implements :class:`retrieval.inference.stages.Stages` for a thread that steps aside: ``own`` computes, unless the run
    before took longer than two seconds. Then ``first``, which is the same model, does it in turns of the first thread, each of
    one of ``turn``.

    Implements :class:`retrieval.inference.lanes.Sizes` too: a run is as long as a second of the one before had been.
    """

    def __init__(
        self,
        own: Stages[T, R],
        first: Stages[T, R],
        loans: Loans,
        turn: BatchLimits,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.padded = own.padded
        self.encode = own.encode
        self.length = own.length
        self._own = own
        self._first = first
        self._loans = loans
        self._turn = turn
        self._clock = clock
        self._rate = 0.0
        self._late = False

    def tokens(self, now: float, rate: float, waiting: int, most: int) -> int:
        """See :class:`retrieval.inference.lanes.Sizes`. By its own thread's rate; the lane's is of both."""
        if self._late or not self._rate:
            return min(most, self._turn.tokens)
        return min(most, max(1, int(self._rate * _RUN_S)))

    def prepare(self, rows: Sequence[R]) -> Callable[[], Results]:
        """Prepared for ``own``."""
        run = self._own.prepare(rows)
        return lambda: self._run(rows, run)

    def _run(self, rows: Sequence[R], run: Callable[[], Results]) -> Results:
        if self._late:
            self._late = False
            lent = self._lent(rows)
            if lent is not None:
                return lent
        started = self._clock()
        found = run()
        took = self._clock() - started
        self._rate = sum(map(self.length, rows)) / max(took, 1e-6)
        self._late = took > _LATE_S
        return found

    def _lent(self, rows: Sequence[R]) -> Results | None:
        """``None`` when the first thread does not take it (any more)."""
        parts: list[Results] = []
        while rows:
            size = len(cut([self.length(row) for row in rows], self._turn, padded=False))
            part = self._loans.ask(self._first.prepare(rows[:size]))
            if part is None:
                return None
            parts.append(part)
            rows = rows[size:]
        return np.concatenate(parts)


class Loans:
    """Implements :class:`retrieval.inference.worker.Waiting` on the first thread, for what the other one asks it to run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: deque[_Loan] = deque()
        self._wake: Callable[[], None] | None = None

    def open(self, wake: Callable[[], None]) -> None:
        """From now on may be asked; ``wake`` has the first thread look at its lanes."""
        with self._lock:
            self._wake = wake

    def ask(self, work: Callable[[], Results]) -> Results | None:
        """What ``work`` gives, or raises, in a turn of the first thread; ``None`` when that does not take it (any more).

        Blocks; asked by the other thread.
        """
        loan = _Loan(work)
        with self._lock:
            if self._wake is None:
                return None
            self._asked.append(loan)
            self._wake()
        return loan.result()

    @property
    def waiting(self) -> bool:
        """See :class:`retrieval.inference.worker.Waiting`."""
        return bool(self._asked)

    def look_ahead(self) -> None:
        """It was made ready by who asked."""

    def take(self) -> _Loan | None:
        """The one that waits longest."""
        with self._lock:
            return self._asked.popleft() if self._asked else None

    def fail_all(self, error: InferenceError) -> None:
        """The first thread ends: who waits is told that it does not take it, as is whoever asks from now on."""
        with self._lock:
            self._wake = None
            while self._asked:
                self._asked.popleft().refuse()


class _Loan:
    """One run. It ends with :meth:`run` or :meth:`refuse`."""

    def __init__(self, work: Callable[[], Results]) -> None:
        self._work = work
        self._done = threading.Event()
        self._found: Results | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        """On the first thread."""
        try:
            self._found = self._work()
        except Exception as error:  # noqa: BLE001 - it is raised where the run was asked for
            self._error = error
        finally:
            self._done.set()

    def deliver(self) -> None:
        """Who asked has it already."""

    def refuse(self) -> None:
        """It is not run."""
        self._done.set()

    def result(self) -> Results | None:
        """Blocks until it ends."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._found
