"""Admission: a call is let into a lane whole, or refused whole with the time to come back. Used on the event loop only."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from retrieval.errors import BatchTooLarge, InferenceOverloaded
from retrieval.inference.batches import Throughput

_LEAST_WAIT_S = 0.1
# What waits may take longer than the last runs let expect: who is let in should be done in time.
_DOUBT = 1.5


class Door:
    """Counts the estimated tokens that wait in a lane of ``capacity``, of all and of each owner."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._owned: Counter[UUID] = Counter()
        self.queued = 0

    def enter(self, tokens: int, throughput: Throughput, owner: UUID | None, *, within_s: float | None = None) -> Ticket:
        """Let ``tokens`` in. A call larger than the lane gets into an empty one; it could never be otherwise. A named owner
        may hold half of the lane. ``within_s``: how long the caller will wait.

        Raises:
            InferenceOverloaded: no room, or too much in front to be done in that time; ``retry_after_s`` is what it takes
                the model to do all that waits.
        """
        own = self._owned[owner] if owner is not None else 0
        full = (self.queued and self.queued + tokens > self._capacity) or (own and own + tokens > self._capacity // 2)
        late = self.queued and within_s is not None and _DOUBT * throughput.seconds(self.queued + tokens) > within_s
        if full or late:
            raise InferenceOverloaded(
                f"{self.queued} tokens wait for the model; {tokens} more are too many now.",
                retry_after_s=max(_LEAST_WAIT_S, throughput.seconds(self.queued)),
            )
        return Ticket(self, tokens, owner)

    def count(self, tokens: int, owner: UUID | None) -> None:
        """Add to what waits, or take from it."""
        self.queued += tokens
        if owner is not None:
            self._owned[owner] += tokens
            if not self._owned[owner]:
                del self._owned[owner]


class Ticket:
    """One call's tokens in a lane."""

    def __init__(self, door: Door, tokens: int, owner: UUID | None) -> None:
        self._door = door
        self._held = tokens
        self._owner = owner
        door.count(tokens, owner)

    def give_back(self, tokens: int) -> None:
        """So many are done."""
        done = min(tokens, self._held)
        self._held -= done
        self._door.count(-done, self._owner)

    def give_back_all(self) -> None:
        """The call is over."""
        self.give_back(self._held)


def refuse_endless(tokens: int, throughput: Throughput, most_s: float | None) -> None:
    """Raises :class:`BatchTooLarge` for what could not be done in ``most_s`` even if nothing else was."""
    needed = throughput.least_seconds(tokens)
    if most_s is not None and needed > most_s:
        raise BatchTooLarge(
            f"about {tokens} tokens take the model {needed:.0f} s, longer than a request may last: "
            f"split the batch, {int(tokens * most_s / needed)} tokens at a time at most"
        )
