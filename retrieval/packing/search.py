"""The best packing within a budget, out of a family of packings that does not depend on the budget.

The family: every prefix of the step order; every prefix followed by the cheap ones among the next ``LOOK_AHEAD``
steps (at most ``c`` tokens each, for each ``c`` of ``FILL_CAPS``), so that one dear step does not leave the rest of the
budget unused; and each of those with up to ``MAX_POINTERS`` pointers to the best items not shown. What fits a budget
fits a larger one, and we take the member of the most value that fits: *more budget is never worth less*.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from retrieval.packing.layout import GroupKey
from retrieval.packing.model import Rendition
from retrieval.packing.sequence import POINTER, SHARES, Items, Step

LOOK_AHEAD = 32
FILL_CAPS = (16, 32, 64, 256, 1024)
MAX_POINTERS = 3
# A line is taken to be over the budget uncounted when it would need more characters a token than this.
MAX_CHARS_PER_TOKEN = 6
# No pointer is cheaper; saves looking for one that cannot fit.
_LEAST_POINTER_TOKENS = 4
# Sums of values in different orders differ in their last digits.
_ROUNDING = 1e-9

Value = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """A member of the family: what is shown, its value (must-include, others) and its cost by summed lines."""

    levels: tuple[tuple[int, int], ...]
    pointers: tuple[int, ...]
    value: Value
    tokens: int


@dataclass(frozen=True, slots=True)
class _Move:
    """A step with what it gains and costs (``None``: too long for the budget at a glance), headers aside."""

    index: int
    before: int
    after: int
    gain: Value
    line_tokens: int | None
    header_tokens: int
    group: GroupKey


@dataclass(slots=True)
class _State:
    """A selection while it is being added to."""

    levels: dict[int, int] = field(default_factory=dict)
    groups: set[GroupKey] = field(default_factory=set)
    value: Value = (0.0, 0.0)
    tokens: int = 0
    pointers: tuple[int, ...] = ()

    def copy(self) -> "_State":
        return _State(dict(self.levels), set(self.groups), self.value, self.tokens, self.pointers)

    def cost(self, move: _Move) -> int | None:
        if move.line_tokens is None:
            return None
        return move.line_tokens if move.group in self.groups else move.line_tokens + move.header_tokens

    def take(self, move: _Move, cost: int) -> None:
        if move.after == POINTER:
            self.pointers = (*self.pointers, move.index)
        else:
            self.levels[move.index] = move.after
        self.groups.add(move.group)
        self.value = (self.value[0] + move.gain[0], self.value[1] + move.gain[1])
        self.tokens += cost

    def plan(self) -> Plan:
        shown = bool(self.levels or self.pointers)
        return Plan(tuple(self.levels.items()), self.pointers, self.value, self.tokens if shown else 0)


class Search:
    """One budget's walk through the family. ``frame`` is what the fence costs, ``must`` how many items have to be in."""

    def __init__(self, items: Items, steps: Iterator[Step], *, budget: int, frame: int, must: int) -> None:
        self._items = items
        self._source = steps
        self._moves: list[_Move] = []
        self._totals: list[Value] = [(0.0, 0.0)]
        self._budget = budget
        self._must = must
        self._bonus = MAX_POINTERS * SHARES[Rendition.POINTER] * max(items.weights, default=0.0) + _ROUNDING
        self._prefixes = self._fitting_prefixes(_State(tokens=frame))

    def plans(self) -> Iterator[Plan]:
        """The best plan by summed costs; should its exact count not fit, all others follow by falling value.

        Nothing comes when not even the pointers of the ``must_include`` items fit.
        """
        best = self._best()
        if best is None:
            return
        yield best
        states = (state for first in range(len(self._prefixes)) for state in self._members(first))
        yield from sorted({state.plan() for state in states} - {best}, key=_falling)

    def _best(self) -> Plan | None:
        best: Plan | None = None
        for first in reversed(range(len(self._prefixes))):
            if best is not None and self._bound(first) < best.value:
                continue
            for state in self._members(first):
                # Of equal values the cheaper, so that nothing is paid for that adds nothing.
                if best is None or (state.value, -state.tokens) > (best.value, -best.tokens):
                    best = state.plan()
        return best

    def _bound(self, first: int) -> Value:
        """No member that begins with this prefix is worth more than it with all the steps of its look-ahead."""
        end = self._must + first + LOOK_AHEAD
        self._move(end - 1)
        must, others = self._totals[min(end, len(self._totals) - 1)]
        return (must, others + self._bonus)

    def _members(self, first: int) -> Iterator[_State]:
        """The members that begin with one prefix and fit by summed costs. The states are reused: read them at once.

        Fills that would begin with the prefix's own next step are left to the next prefix, where they are the same.
        """
        prefix = self._prefixes[first]
        yield from self._pointed(prefix)
        begin = self._must + first
        following = self._move(begin)
        if following is None:
            return
        next_cost = prefix.cost(following)
        for cap in FILL_CAPS:
            if next_cost is not None and next_cost <= cap:
                return
            state = prefix.copy()
            for number in range(begin + 1, begin + LOOK_AHEAD):
                move = self._move(number)
                if move is None:
                    break
                if state.levels.get(move.index, 0) != move.before:
                    continue
                cost = state.cost(move)
                if cost is None or cost > cap:
                    continue
                if state.tokens + cost > self._budget:
                    break
                state.take(move, cost)
                yield state
            yield from self._pointed(state)

    def _pointed(self, state: _State) -> Iterator[_State]:
        """``state`` itself, then with one to ``MAX_POINTERS`` pointers to the best items that it does not show."""
        yield state
        state = state.copy()
        for index in range(len(self._items.ranked)):
            if len(state.pointers) == MAX_POINTERS or state.tokens + _LEAST_POINTER_TOKENS > self._budget:
                return
            if index in state.levels or not self._items.available(index):
                continue
            move = self._priced(Step(index, 0, POINTER))
            cost = state.cost(move)
            if cost is None or state.tokens + cost > self._budget:
                return
            state.take(move, cost)
            yield state

    def _fitting_prefixes(self, state: _State) -> list[_State]:
        """The prefixes that fit, from the one with all ``must_include`` items on."""
        states = [] if self._must else [state.copy()]
        number = 0
        while (move := self._move(number)) is not None:
            cost = state.cost(move)
            if cost is None or state.tokens + cost > self._budget:
                break
            state.take(move, cost)
            number += 1
            if number >= self._must:
                states.append(state.copy())
        return states

    def _move(self, number: int) -> _Move | None:
        """Step ``number`` of the order, from 0; ``None`` after the last."""
        while len(self._moves) <= number:
            step = next(self._source, None)
            if step is None:
                return None
            move = self._priced(step)
            must, others = self._totals[-1]
            self._moves.append(move)
            self._totals.append((must + move.gain[0], others + move.gain[1]))
        return self._moves[number]

    def _priced(self, step: Step) -> _Move:
        items, index = self._items, step.index
        gain = items.value(step)
        legible = items.chars(index, step.after) <= MAX_CHARS_PER_TOKEN * self._budget
        return _Move(
            index=index,
            before=step.before,
            after=step.after,
            gain=(gain, 0.0) if items.ranked[index].must_include else (0.0, gain),
            line_tokens=items.line_tokens(step) if legible else None,
            header_tokens=items.header_tokens(index),
            group=items.groups[index],
        )


def _falling(plan: Plan) -> tuple[float, float, int, tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Sorts by falling value; of equals the cheaper first."""
    return (-plan.value[0], -plan.value[1], plan.tokens, plan.levels, plan.pointers)
