"""Jobs wait in lanes; a lane cuts batches across jobs, fairly between their owners, and has the next one ready.

Of a lane, everything but a batch's run happens under its thread's lock: see :mod:`retrieval.inference.worker`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from retrieval.errors import InferenceError, InferenceTimeout
from retrieval.inference.batches import BatchLimits, Budget, Pace, Throughput
from retrieval.inference.fair import FairQueue
from retrieval.inference.job import Job
from retrieval.inference.planner import cut
from retrieval.inference.runs import Batch, Entry, Model
from retrieval.inference.soundness import Soundness
from retrieval.inference.stages import Stages

T = TypeVar("T")
R = TypeVar("R")

# Items of one owner that are in the queue; the rest of its jobs wait behind them, so that a job of any length is added, and
# dropped, in no time.
_PER_OWNER = 256
# Among how many items a padded batch finds its like: in times of the most that it may hold, and at most. A cut takes 3 µs an
# item, and what runs on a large GPU takes a few milliseconds.
_WINDOW, _MOST_WINDOW = 4, 256


class Sizes(Protocol):
    """Says how much a run may have."""

    def tokens(self, now: float, rate: float, waiting: int, most: int) -> int:
        """At most ``most``; ``rate`` are the tokens a second that the lane has measured, 0.0 for none, and ``waiting`` those
        of the items that might go next."""


@dataclass(slots=True)
class _Backlog(Generic[T]):
    """A job, and the first of its items that is not in the queue yet."""

    job: Job[T]
    begin: int = 0


class LaneQueue(Generic[T, R]):
    """Items of many jobs, the owners taking turns by tokens, and the model that runs them."""

    def __init__(
        self,
        stages: Stages[T, R],
        *,
        limits: BatchLimits,
        throughput: Throughput,
        budget: Budget | None = None,
        sizes: Sizes | None = None,
        asked: Pace | None = None,
        full: int | None = None,
        soundness: Soundness[T] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``budget`` is the model's, shared by its lanes. ``sizes`` bounds a batch further, where somebody waits for its end;
        ``asked`` is told of every batch, in the lane of questions. ``full``: tokens of a run that is as fast as any, where
        ``limits`` allow more. Without ``soundness`` every failure is taken to be the inputs'."""
        budget = budget or Budget(limits.tokens)
        self._model = Model(stages, throughput, budget, Throughput(), full or limits.tokens, soundness)
        self._limits = limits
        self._window = limits.items
        if stages.padded:
            self._window = max(limits.items, min(_WINDOW * limits.items, _MOST_WINDOW))
        self._sizes = sizes
        self._asked = asked
        self._clock = clock
        self._queue: FairQueue[Entry[T, R]] = FairQueue()
        self._backlogs: dict[UUID | None, deque[_Backlog[T]]] = {}
        self._ready: Batch[T, R] | None = None

    def add(self, job: Job[T]) -> None:
        """Queue every item of ``job``."""
        self._backlogs.setdefault(job.owner, deque()).append(_Backlog(job))
        self._feed(job.owner)

    def drop(self, job: Job[T]) -> None:
        """Forget one that is not alive. Its tokens were given back, so nothing bounds how many such there are."""
        job.forget()
        if backlog := self._backlogs.get(job.owner):
            self._backlogs[job.owner] = deque(one for one in backlog if one.job is not job)
            self._feed(job.owner)

    @property
    def sound(self) -> bool:
        """False while the model fails on everything."""
        return self._model.soundness is None or self._model.soundness.sound

    @property
    def waiting(self) -> bool:
        """True when a batch can be cut; what nobody wants any more is dropped here."""
        while (head := self._queue.peek()) is not None:
            job = head[0].job
            if job.alive:
                return True
            self._queue.pop(charge=False)
            self._feed(job.owner)
        return False

    def look_ahead(self) -> None:
        """Make the next batch ready as it would be cut now. Takes nothing: should others come first, it is cut anew."""
        found = self._cut(take=False)
        if found and (self._ready is None or self._ready.entries != found):
            self._ready = Batch(self._model, found)
            self._ready.prepare()

    def take(self) -> Batch[T, R] | None:
        """Cut the next batch; ``None`` when nothing is left that somebody wants and can still have in time."""
        while self.waiting:
            if found := self._cut(take=True):
                ready, self._ready = self._ready, None
                if self._asked is not None:
                    self._asked.question(self._clock())
                return ready if ready is not None and ready.entries == found else Batch(self._model, found)
        self._ready = None
        return None

    def fail_all(self, error: InferenceError) -> None:
        """Fail every job that waits."""
        self._ready = None
        while self.waiting and (head := self._queue.peek()) is not None:
            head[0].job.fail(error)

    def _cut(self, *, take: bool) -> list[Entry[T, R]]:
        """The entries of the next batch, tokenised. Empty when the first is too late or cannot be tokenised: its job fails."""
        found: list[Entry[T, R]] = []
        dropped: set[UUID | None] = set()

        def choose(window: Sequence[Entry[T, R]]) -> Sequence[int]:
            self._encode([entry for entry in window if entry.row is None])
            self._refuse_late(window)
            lengths = [self._model.length(entry) for entry in window if entry.job.alive]
            alive = [at for at, entry in enumerate(window) if entry.job.alive]
            if not alive or alive[0] != 0:
                return ()
            chosen = [alive[at] for at in cut(lengths, self._present_limits(sum(lengths)), padded=self._model.stages.padded)]
            found.extend(window[at] for at in chosen)
            return chosen if take else ()

        def wanted(entry: Entry[T, R]) -> bool:
            if not entry.job.alive:
                dropped.add(entry.job.owner)
            return entry.job.alive

        self._queue.take(self._window, choose, wanted=wanted)
        for owner in dropped.union(entry.job.owner for entry in found):
            self._feed(owner)
        return found

    def _present_limits(self, waiting: int) -> BatchLimits:
        tokens = self._model.budget.tokens
        if self._sizes is not None:
            tokens = self._sizes.tokens(self._clock(), self._model.computed.tokens_per_s, waiting, tokens)
        return BatchLimits(self._limits.items, min(tokens, self._limits.tokens))

    def _refuse_late(self, window: Sequence[Entry[T, R]]) -> None:
        """Fail the jobs whose deadline has passed, or will have when their item is done."""
        now = self._clock()
        for entry in window:
            job = entry.job
            if job.alive and job.deadline is not None and now + self._model.seconds(entry) > job.deadline:
                job.fail(InferenceTimeout("The model did not come to it in time."))

    def _encode(self, entries: Sequence[Entry[T, R]]) -> None:
        """Tokenise; what cannot be tokenised fails alone."""
        if not entries:
            return
        try:
            rows = self._model.stages.encode([entry.item for entry in entries])
            for entry, row in zip(entries, rows, strict=True):
                entry.row = row
        except Exception as error:  # noqa: BLE001 - whatever a tokenizer raises is the fate of its inputs, not of the thread
            if len(entries) > 1:
                middle = len(entries) // 2
                self._encode(entries[:middle])
                self._encode(entries[middle:])
            else:
                entries[0].job.fail(entries[0].failure(error))

    def _feed(self, owner: UUID | None) -> None:
        """Fill up the owner's part of the queue."""
        backlog = self._backlogs.get(owner)
        while backlog:
            first = backlog[0]
            job, room = first.job, _PER_OWNER - self._queue.waiting(owner)
            if job.alive:
                if room <= 0:
                    return
                end = min(first.begin + room, len(job.items))
                for index in range(first.begin, end):
                    self._queue.put(owner, Entry(job, index), job.costs[index])
                first.begin = end
                if end < len(job.items):
                    return
            backlog.popleft()
        self._backlogs.pop(owner, None)
