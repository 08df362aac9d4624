"""A queue in which owners take turns by what they cost: nobody waits for more than a fair share of others' work."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Generic, TypeVar
from uuid import UUID

E = TypeVar("E")

_REMEMBERED = 1_000


class FairQueue(Generic[E]):
    """First come, first served within an owner; between owners, whoever has had least goes next.

    Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) with equal weights: an owner's turn is tagged with the
    tokens it has had, and one that was away starts where the others are, so that it saves nothing up. ``None`` is an owner
    like any other.
    """

    def __init__(self) -> None:
        self._waiting: dict[UUID | None, deque[tuple[E, int]]] = {}
        self._turns: list[tuple[int, int, UUID | None]] = []  # (tag, arrival, owner), the next one first
        self._paid: dict[UUID | None, int] = {}  # where an owner that has nothing queued would go on
        self._now = 0
        self._arrivals = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, owner: UUID | None, entry: E, cost: int) -> None:
        """Queue ``entry``, which costs so many tokens."""
        if owner not in self._waiting:
            self._waiting[owner] = deque()
            self._line_up(owner, max(self._now, self._paid.pop(owner, 0)))
        self._waiting[owner].append((entry, cost))

    def peek(self) -> tuple[E, int] | None:
        """Who is next, with the cost; ``None`` when nobody waits."""
        return self._waiting[self._turns[0][2]][0] if self._turns else None

    def pop(self, *, charge: bool = True) -> E:
        """Take the next. ``charge`` false: it is thrown away, and costs its owner nothing. Raises ``IndexError`` when empty."""
        tag, _, owner = heapq.heappop(self._turns)
        self._now = tag
        entry, cost = self._waiting[owner].popleft()
        after = tag + (cost if charge else 0)
        if self._waiting[owner]:
            self._line_up(owner, after)
        else:
            del self._waiting[owner]
            self._remember(owner, after)
        return entry

    def _remember(self, owner: UUID | None, after: int) -> None:
        """One that asks again and again, a piece at a time, must not begin anew each time."""
        self._paid[owner] = after
        if not self._waiting:
            self._paid.clear()
        elif len(self._paid) > _REMEMBERED:
            self._paid = {owner: tag for owner, tag in self._paid.items() if tag > self._now}

    def _line_up(self, owner: UUID | None, tag: int) -> None:
        self._arrivals += 1
        heapq.heappush(self._turns, (tag, self._arrivals, owner))
