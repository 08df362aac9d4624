"""Whether to ask a server that failed lately: pure rules over a clock that is handed in."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum


class BreakerState(StrEnum):
    """``CLOSED``: it is asked. ``OPEN``: it is left alone. ``HALF_OPEN``: the next call is the trial."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Opens after ``failures`` in a row, for ``pause_s``, doubled with every trial that fails, up to ``longest_s``.

    The circuit breaker of Nygard, Release It! (2007). Whoever is let in by :meth:`admit` ends with exactly one of
    :meth:`succeeded`, :meth:`failed` and :meth:`abandoned`.
    """

    def __init__(
        self,
        *,
        failures: int = 3,
        pause_s: float = 0.5,
        longest_s: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures = failures
        self._first_pause_s = self._pause_s = pause_s
        self._longest_s = longest_s
        self._clock = clock
        self._in_a_row = 0
        self._open_until: float | None = None
        self._trying = False

    @property
    def state(self) -> BreakerState:
        """As of now."""
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._clock() < self._open_until else BreakerState.HALF_OPEN

    @property
    def wait_s(self) -> float:
        """Seconds until the next trial; 0.0 when it may be asked."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock())

    def admit(self) -> bool:
        """True when a call may go. Half-open, one goes at a time."""
        state = self.state
        if state is BreakerState.CLOSED:
            return True
        if state is BreakerState.OPEN or self._trying:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """The server answered."""
        self._in_a_row, self._open_until, self._trying = 0, None, False
        self._pause_s = self._first_pause_s

    def failed(self, *, rest_s: float = 0.0) -> None:
        """The server did not answer, or not usefully; ``rest_s``: it asked to be left alone for so long."""
        self._in_a_row += 1
        if self._trying:
            self._pause_s = min(2 * self._pause_s, self._longest_s)
        if self._trying or self._in_a_row >= self._failures:
            self._open_until = self._clock() + max(self._pause_s, min(rest_s, self._longest_s))
        self._trying = False

    def trip(self) -> None:
        """The server answered, and is not to be used: it opens for the longest pause."""
        self._open_until, self._trying = self._clock() + self._longest_s, False

    def abandoned(self) -> None:
        """The caller went away before the server had answered, which says nothing of the server."""
        self._trying = False
