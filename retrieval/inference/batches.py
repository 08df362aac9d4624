"""Who goes next and how much at once: pure rules, without a clock or a thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """One run of a model. It cannot be interrupted, so ``tokens`` is also how long an interactive text may wait.

    ``tokens`` are what the model computes, padding included. 512 are about 0.15 s of bge-small on two idle cores; of long
    texts, twice as many are a quarter faster, see :class:`Crowd`.
    """

    items: int = 16
    tokens: int = 512

    def admit(self, size: int, tokens: int) -> bool:
        """True when a batch of ``size`` may take one item more, which makes it ``tokens``; the first always goes."""
        return size == 0 or (size < self.items and tokens <= self.tokens)


class Turns:
    """Picks among lanes, first lane first, but lets none be passed over more than its patience.

    ``patience[i]`` is the number of turns lane *i* lets others go while it waits: with ``(0, 1, 7)`` the second lane
    gets at least about every second turn and the third at least every eighth or ninth.
    """

    def __init__(self, patience: Sequence[int]) -> None:
        self._patience = tuple(patience)
        self._passed = [0] * len(self._patience)

    def next(self, waiting: Sequence[bool]) -> int | None:
        """The lane whose turn it is, or ``None`` when nothing waits."""
        candidates = [lane for lane, waits in enumerate(waiting) if waits]
        if not candidates:
            return None
        # Lane 0 needs no turn of its own accord: it is first whenever nobody's patience is used up.
        overdue = [lane for lane in candidates if lane and self._passed[lane] >= self._patience[lane]]
        chosen = max(overdue, key=lambda lane: self._passed[lane] / (self._patience[lane] + 1), default=candidates[0])
        for lane, waits in enumerate(waiting):
            self._passed[lane] = self._passed[lane] + 1 if waits and lane != chosen else 0
        return chosen


class Throughput:
    """Tokens a second of the last runs, each counting nine tenths of the one after it.

    Of their tokens together and their time together: a mean of their rates would count the quick ones too often, and who is
    let in by it would be late. A short run wastes most of its time, so full ones have a rate of their own.
    """

    _KEPT = 0.9

    def __init__(self) -> None:
        self._tokens = 0.0
        self._seconds = 0.0
        self._full = 0.0

    @property
    def tokens_per_s(self) -> float:
        """0.0 until something was measured."""
        return self._tokens / self._seconds if self._seconds else 0.0

    def add(self, tokens: int, seconds: float, *, full: bool = False) -> None:
        """Count one run; ``full``: of a batch that had about as much in it as one may.

        Of those the fastest counts: how slow a model is beside others says nothing of what it can do alone.
        """
        seconds = max(seconds, 1e-6)
        self._tokens = self._KEPT * self._tokens + tokens
        self._seconds = self._KEPT * self._seconds + seconds
        if full:
            self._full = max(self._full, tokens / seconds)

    def seconds(self, tokens: int) -> float:
        """How long ``tokens`` take; 0.0 until something was measured."""
        rate = self.tokens_per_s
        return tokens / rate if rate else 0.0

    def least_seconds(self, tokens: int) -> float:
        """How long ``tokens`` take in full batches with nobody else there; 0.0 until something was measured."""
        rate = max(self.tokens_per_s, self._full)
        return tokens / rate if rate else 0.0


class Budget:
    """The tokens that a run may have: halved when memory did not suffice, then raised again by small steps.

    Additive increase, multiplicative decrease (Chiu and Jain, Computer Networks 17, 1989): what else needs the memory comes
    and goes. A step is a sixteenth of ``most``, after as many runs without a failure as the last failures ask for: a failure
    after a step doubles them, up to 4,096, so that a budget that cannot be had is tried ever more rarely.
    """

    _RUNS, _MOST_RUNS, _STEPS = 32, 4096, 16

    def __init__(self, most: int) -> None:
        self._most = most
        self._tokens = most
        self._patience = self._RUNS
        self._runs = 0
        self._raised = False

    @property
    def tokens(self) -> int:
        """At present; at least 1."""
        return self._tokens

    def widened(self, most: int) -> Budget:
        """Another, of up to ``most``; where memory did not suffice for all of this one, no more than it did for."""
        wider = Budget(most)
        if self._tokens < self._most:
            wider._tokens = min(self._tokens, most)
        return wider

    def shrink(self, failed: int) -> None:
        """A run of ``failed`` tokens had not enough memory."""
        if self._raised:
            self._patience = min(2 * self._patience, self._MOST_RUNS)
        self._raised = False
        self._tokens = max(1, min(self._tokens, failed) // 2)
        self._runs = 0

    def succeeded(self, tokens: int) -> None:
        """A run of ``tokens`` was done. Only one that filled half of the budget tells anything."""
        if self._tokens == self._most or 2 * tokens < self._tokens:
            return
        self._runs += 1
        if self._runs >= self._patience:
            self._runs, self._raised = 0, True
            self._tokens = min(self._most, self._tokens + max(1, self._most // self._STEPS))


class Crowd:
    """How many tokens a run may have: ``calm`` of them, and up to half of what waits.

    Where rows run one by one, a run of one or two long ones leaves cores idle; but the next question waits for its end. When
    that many wait anyway, it waits less for larger ones.
    """

    def __init__(self, calm: int) -> None:
        self._calm = calm

    def tokens(self, now: float, rate: float, waiting: int, most: int) -> int:
        """See :class:`retrieval.inference.lanes.Sizes`."""
        return min(most, max(self._calm, waiting // 2))


class Pace:
    """How many tokens a run may have so that a question that comes meanwhile waits no longer than ``patience_s``.

    Only while questions come: ``calm_s`` after the last one, runs may be as large as they like. Times are of one clock.
    """

    _LEAST = 64  # below, a run is mostly overhead

    def __init__(self, patience_s: float, calm_s: float = 2.0) -> None:
        self._patience_s = patience_s
        self._calm_s = calm_s
        self._last_question: float | None = None

    def question(self, now: float) -> None:
        """A question has been taken."""
        self._last_question = now

    def tokens(self, now: float, rate: float, waiting: int, most: int) -> int:
        """See :class:`retrieval.inference.lanes.Sizes`."""
        if not rate or self._last_question is None or now - self._last_question > self._calm_s:
            return most
        return min(most, max(self._LEAST, int(rate * self._patience_s)))
