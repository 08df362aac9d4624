"""The best packing within a budget, out of a family of packings that does not depend on the budget.

The family: every prefix of the step order, and every prefix followed by the cheap ones among the next ``LOOK_AHEAD``
steps (at most ``c`` tokens each, for each ``c`` of ``FILL_CAPS``), so that one dear step does not leave the rest of the
budget unused. What fits a budget fits a larger one, and we take the member of the most value that fits: *more budget is
never worth less*. Tokens that are then still left go to pointers, which count for nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from retrieval.packing.layout import GroupKey
from retrieval.packing.sequence import POINTER, Items, Step

LOOK_AHEAD = 32
FILL_CAPS = (16, 32, 64, 256, 1024)
MAX_POINTERS = 3
# A line is taken to be over the budget uncounted when it would need more characters a token than this.
MAX_CHARS_PER_TOKEN = 6
# No pointer is cheaper; saves looking for one that cannot fit.
_LEAST_POINTER_TOKENS = 4

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
    """A step with what it gains and costs (``None``: too long for the budget at a glance), headers aside.

    ``after_move`` is the number of the move that raised the item to where this one begins, -1 for none; ``opened_by``
    the number of the first move of its group: of this one itself, where it is the first.
    """

    step: Step
    must: bool
    gain: float
    line_tokens: int | None
    header_tokens: int
    group: GroupKey
    after_move: int
    opened_by: int


@dataclass(frozen=True, slots=True)
class _Member:
    """The first ``length`` moves, then ``extra`` ones by number."""

    length: int
    extra: tuple[int, ...]
    value: Value
    tokens: int


class Search:
    """One budget's walk through the family. ``frame`` is what the fence costs, ``must`` how many items have to be in."""

    def __init__(self, items: Items, steps: Iterator[Step], *, budget: int, frame: int, must: int) -> None:
        self._items = items
        self._source = steps
        self._moves: list[_Move] = []
        self._last: dict[int, int] = {}
        self._openers: dict[GroupKey, int] = {}
        self._values: list[Value] = [(0.0, 0.0)]
        self._budget = budget
        self._frame = frame
        self._must = must
        self._tokens = self._fitting_prefixes()

    def plans(self) -> Iterator[Plan]:
        """The best plan by summed costs; should its exact count not fit, all others follow by falling value.

        Nothing comes when not even the pointers of the ``must_include`` items fit.
        """
        best = self._best()
        if best is None:
            return
        plan = self._plan(best)
        pointed = self._pointed(plan)
        yield pointed
        if pointed != plan:
            yield plan
        members = {self._plan(one) for length in self._lengths() for one in self._members(length)}
        yield from sorted(members - {plan}, key=_falling)

    def _best(self) -> _Member | None:
        best: _Member | None = None
        for length in reversed(self._lengths()):
            if best is not None and self._bound(length) < best.value:
                continue
            for member in self._members(length):
                # Of equal values the cheaper, so that nothing is paid for that adds nothing.
                if best is None or (member.value, -member.tokens) > (best.value, -best.tokens):
                    best = member
        return best

    def _lengths(self) -> range:
        """The prefixes that fit and have all ``must_include`` items."""
        return range(self._must, len(self._tokens))

    def _bound(self, length: int) -> Value:
        """No member that begins with this prefix is worth more than it with all the steps of its look-ahead but the next."""
        end = length + LOOK_AHEAD
        following = self._move(length)
        self._move(end - 1)
        must, others = self._values[min(end, len(self._values) - 1)]
        # Its own next step is in the longer prefix, or too dear: nothing that begins here has it.
        return (must, others) if following is None or following.must else (must, others - following.gain)

    def _members(self, length: int) -> Iterator[_Member]:
        """The members that begin with one prefix and fit by summed costs.

        Fills that would begin with the prefix's own next step are left to the next prefix, where they are the same.
        """
        tokens, value = self._tokens[length], self._values[length]
        yield _Member(length, (), value, tokens)
        following = self._move(length)
        if following is None:
            return
        self._move(length + LOOK_AHEAD - 1)
        moves = self._moves[length + 1 : length + LOOK_AHEAD]
        next_cost = _cost(following, length)
        for cap in FILL_CAPS:
            if next_cost is not None and next_cost <= cap:
                return
            yield from self._filled(length, moves, cap)

    def _filled(self, length: int, moves: Sequence[_Move], cap: int) -> Iterator[_Member]:
        """One prefix with ever more of the cheap ones among ``moves``, which begin behind the prefix's own next."""
        tokens, (must, others) = self._tokens[length], self._values[length]
        extra: tuple[int, ...] = ()
        opened: set[GroupKey] = set()
        for number, move in enumerate(moves, length + 1):
            if move.line_tokens is None or move.line_tokens > cap or (move.after_move >= length and move.after_move not in extra):
                continue
            cost = move.line_tokens
            if move.opened_by >= length and move.group not in opened:
                cost += move.header_tokens
            if cost > cap:
                continue
            if tokens + cost > self._budget:
                return
            tokens += cost
            extra = (*extra, number)
            opened.add(move.group)
            must, others = (must + move.gain, others) if move.must else (must, others + move.gain)
            yield _Member(length, extra, (must, others), tokens)

    def _plan(self, member: _Member) -> Plan:
        numbers = (*range(member.length), *member.extra)
        levels = {self._moves[number].step.index: self._moves[number].step.after for number in numbers}
        return Plan(tuple(levels.items()), (), member.value, member.tokens if levels else 0)

    def _pointed(self, plan: Plan) -> Plan:
        """``plan`` with up to ``MAX_POINTERS`` pointers to the best items that it does not show, as far as they fit."""
        shown = dict(plan.levels)
        groups = {self._items.groups[index] for index in shown}
        tokens = plan.tokens or self._frame
        pointers: list[int] = []
        for index in range(len(self._items.ranked)):
            if len(pointers) == MAX_POINTERS or tokens + _LEAST_POINTER_TOKENS > self._budget:
                break
            if index in shown or not self._items.available(index):
                continue
            group = self._items.groups[index]
            cost = self._items.tokens(index, POINTER) + (0 if group in groups else self._items.header_tokens(index))
            if tokens + cost > self._budget:
                break
            pointers.append(index)
            groups.add(group)
            tokens += cost
        return replace(plan, pointers=tuple(pointers), tokens=tokens) if pointers else plan

    def _fitting_prefixes(self) -> list[int]:
        """What the prefixes that fit cost, by their length; ends before the first that does not fit."""
        tokens = [self._frame]
        while (move := self._move(len(tokens) - 1)) is not None:
            cost = _cost(move, len(tokens) - 1)
            if cost is None or tokens[-1] + cost > self._budget:
                break
            tokens.append(tokens[-1] + cost)
        return tokens

    def _move(self, number: int) -> _Move | None:
        """Step ``number`` of the order, from 0; ``None`` after the last."""
        while len(self._moves) <= number:
            step = next(self._source, None)
            if step is None:
                return None
            move = self._priced(step)
            must, others = self._values[-1]
            self._moves.append(move)
            self._values.append((must + move.gain, others) if move.must else (must, others + move.gain))
        return self._moves[number]

    def _priced(self, step: Step) -> _Move:
        items, index, number = self._items, step.index, len(self._moves)
        legible = items.chars(index, step.after) <= MAX_CHARS_PER_TOKEN * self._budget
        move = _Move(
            step=step,
            must=items.ranked[index].must_include,
            gain=items.value(step),
            line_tokens=items.line_tokens(step) if legible else None,
            header_tokens=items.header_tokens(index),
            group=items.groups[index],
            after_move=self._last.get(index, -1),
            opened_by=self._openers.setdefault(items.groups[index], number),
        )
        self._last[index] = number
        return move


def _cost(move: _Move, length: int) -> int | None:
    """What a move costs right behind the first ``length``."""
    if move.line_tokens is None:
        return None
    return move.line_tokens + (move.header_tokens if move.opened_by >= length else 0)


def _falling(plan: Plan) -> tuple[float, float, int, tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Sorts by falling value; of equals the cheaper first."""
    return (-plan.value[0], -plan.value[1], plan.tokens, plan.levels, plan.pointers)
