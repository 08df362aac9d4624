"""How long to wait before something is tried again, and how often."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from memoryd.jobs.model import Again, Failure
from retrieval.errors import MemorydError

TIMEOUT = "timeout"
INTERNAL = "internal_error"
WORKER_LOST = "worker_lost"


@dataclass(frozen=True, slots=True)
class Retries:
    """Exponential backoff with jitter: the ``n``-th wait is between half and all of ``base_s * factor**(n - 1)``, at most
    ``cap_s``. The waits of eight attempts come to 35 minutes at least: a store that is away for half an hour makes no dead
    letters.

    Half of it is kept so that a server which is down is left alone; the other half is chance so that those who failed together
    do not come back together. ``chance`` gives numbers in ``[0, 1)``.
    """

    attempts: int
    base_s: float = 2.0
    factor: float = 4.0
    cap_s: float = 1800.0
    chance: Callable[[], float] = random.random

    def wait_s(self, attempt: int, *, at_least_s: float = 0.0) -> float:
        """Seconds from the failure of attempt ``attempt`` (from 1) to the next one."""
        full = min(self.cap_s, self.base_s * self.factor ** min(attempt - 1, 60))
        return max(at_least_s, full * (0.5 + 0.5 * self.chance()))

    def again(self, attempt: int, failure: Failure, now: datetime, *, at_least_s: float = 0.0) -> Again | None:
        """When to try again after attempt ``attempt``; ``None``: no more."""
        if attempt >= self.attempts:
            return None
        return Again(now + timedelta(seconds=self.wait_s(attempt, at_least_s=at_least_s)), failure)


def failure_of(error: Exception) -> tuple[Failure, bool]:
    """What to write down about an error, and whether trying again can help.

    The words of our own errors are kept; those of others may quote content, and are not.
    """
    if isinstance(error, MemorydError):
        return Failure(error.code, str(error) or error.code), error.retryable
    if isinstance(error, TimeoutError):
        return Failure(TIMEOUT, "it made no progress in time"), True
    return Failure(INTERNAL, "an unexpected error; the worker's log has it under the id of the job"), False
