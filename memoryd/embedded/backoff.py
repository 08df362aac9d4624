"""How long to wait before a dead child is started again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubles from ``first_s`` to ``cap_s``; starts over once a life has lasted ``settled_s``."""

    first_s: float = 0.1
    cap_s: float = 10.0
    settled_s: float = 30.0

    def after(self, previous_s: float | None, *, lived_s: float) -> float:
        """The pause now, given the last pause (None: there was none) and how long the child was ready since."""
        if previous_s is None or lived_s >= self.settled_s:
            return self.first_s
        return min(self.cap_s, previous_s * 2)
