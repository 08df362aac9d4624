"""A queue in which owners take turns by what they cost: nobody waits for more than a fair share of others' work."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

E = TypeVar("E")

_REMEMBERED = 1_000


class FairQueue(Generic[E]):
    """First come, first served within an owner; between owners, whoever has had least goes next.

    Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) with equal weights: an owner's turn is tagged with the
    tokens it has had, and one that was away starts where the others are, so that it saves nothing up. ``None`` is an owner
    like any other.

    It stands in for deficit round robin (Shreedhar and Varghese, SIGCOMM 1995): what two waiting owners get differs by at
    most the largest entry of each, where the other's bound has a quantum on top; there is no quantum to choose; and picking
    costs the logarithm of the owners instead of a constant, which is nothing beside a run of a model.
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

    def waiting(self, owner: UUID | None) -> int:
        """How many entries of ``owner`` are queued."""
        return len(self._waiting.get(owner, ()))

    def take(
        self, most: int, choose: Callable[[Sequence[E]], Collection[int]], *, wanted: Callable[[E], bool] = lambda entry: True
    ) -> list[E]:
        """Show ``choose`` the next ``most`` wanted entries in the order of turns, and take those whose positions it gives.

        To take some, the first must be among them. An owner pays for what is taken of it. What is not wanted is thrown away
        and costs its owner nothing.
        """
        looks: dict[UUID | None, _Look] = {}
        turns: list[tuple[int, int, UUID | None]] = []
        shown: list[tuple[UUID | None, int]] = []  # owner, position among its entries
        while len(shown) < most and (self._turns or turns):
            if not turns or (self._turns and self._turns[0] < turns[0]):
                turn = heapq.heappop(self._turns)
                tag, arrival, owner = turn
                looks[owner] = _Look(turn)
            else:
                tag, arrival, owner = heapq.heappop(turns)
            look, entries = looks[owner], self._waiting[owner]
            entry, cost = entries[look.seen]
            if wanted(entry):
                shown.append((owner, look.seen))
                self._arrivals += 1
                tag, arrival = tag + cost, self._arrivals
            else:
                look.gone.add(look.seen)
            look.seen += 1
            if look.seen < len(entries):
                heapq.heappush(turns, (tag, arrival, owner))
        chosen = set(choose([self._waiting[owner][at][0] for owner, at in shown]))
        if chosen:
            self._now = looks[shown[0][0]].turn[0]
        taken = []
        for position, (owner, at) in enumerate(shown):
            if position in chosen:
                entry, cost = self._waiting[owner][at]
                taken.append(entry)
                looks[owner].gone.add(at)
                looks[owner].paid += cost
        for owner, look in looks.items():
            self._put_back(owner, look)
        return taken

    def _put_back(self, owner: UUID | None, look: _Look) -> None:
        entries = self._waiting[owner]
        seen = [entries.popleft() for _ in range(look.seen)]
        entries.extendleft(entry for at, entry in reversed(list(enumerate(seen))) if at not in look.gone)
        tag, _, _ = look.turn
        if not entries:
            del self._waiting[owner]
            self._remember(owner, tag + look.paid)
        elif look.paid:
            self._line_up(owner, tag + look.paid)
        else:
            heapq.heappush(self._turns, look.turn)

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


@dataclass(slots=True)
class _Look:
    """What was seen of an owner's entries: how many, which go, what they cost. ``turn`` is its place in line."""

    turn: tuple[int, int, UUID | None]
    seen: int = 0
    paid: int = 0
    gone: set[int] = field(default_factory=set)
