"""When an answer is due: one moment for a whole request, handed from stage to stage."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """``at`` in seconds of :func:`time.monotonic`; infinite for none."""

    at: float = math.inf

    @classmethod
    def after(cls, milliseconds: float) -> Deadline:
        """So long from now."""
        return cls(time.monotonic() + milliseconds / 1000)

    @property
    def left_ms(self) -> float:
        """Milliseconds left; never negative, infinite without a deadline."""
        return max(0.0, (self.at - time.monotonic()) * 1000)

    def stage_s(self, milliseconds: float = math.inf, *, share: float = 1.0) -> float | None:
        """Seconds for one stage: ``milliseconds``, or ``share`` of what is left when that is less; ``None``: no bound."""
        bound = min(milliseconds, share * self.left_ms)
        return None if math.isinf(bound) else bound / 1000


NO_DEADLINE = Deadline()
