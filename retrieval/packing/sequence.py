"""The value model, and the one order in which items are shown and upgraded.

**Value.** A shown item is worth ``weight × share``. The weight is its score relative to the best one, discounted by
rank as ``1 / rank ** RANK_DISCOUNT``: relevance falls faster with rank than most scores do (RRF's hardly do at all).
The share is what the rendition keeps of the item's use (``SHARES``).

**Order.** Steps (show an item, or upgrade it) are taken by gain per token, the multiple-choice knapsack greedy over
each item's convex hull (Sinha and Zoltners 1979), so the cheap renditions of many items come before the dear ones of
few. Opening a group costs its header; its other items get cheaper from then on. The order never looks at the budget:
that is what makes a larger budget never worth less (see :mod:`retrieval.packing.search`).
"""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from retrieval.packing.duplicates import Duplicates
from retrieval.packing.layout import GroupKey, Layout, Shown, body_start
from retrieval.packing.model import Candidate, Rendition
from retrieval.packing.renditions import Extractor
from retrieval.ports import TokenCounter

SHARES = {Rendition.POINTER: 0.02, Rendition.GIST: 0.75, Rendition.EXCERPT: 0.9, Rendition.FULL: 1.0}
RANK_DISCOUNT = 0.75
# Scores of 0 keep a little weight: an item the caller sent is worth more than unused tokens.
MIN_RELATIVE_SCORE = 0.01

# The level of an item that is only pointed at.
POINTER = -1

# Stands for any citation number while costs are added up: as many digits as a number can have here.
_ANY_NUMBER = 888
# Longer lines are only counted when they might be shown; until then four characters are taken for a token.
_COUNT_AT_ONCE_CHARS = 1200
_CHARS_PER_TOKEN = 4.0
# What showing a text at all may cost at best: a gist's line, or a short text's own. An optimistic start, which saves
# extracting gists of candidates that never come into question.
_GIST_LINE_TOKENS = 20.0
_MOST_CHARS_PER_TOKEN = 6.0


@dataclass(frozen=True, slots=True)
class Step:
    """Raise item ``index`` from level ``before`` to ``after`` (levels count its options from 1; 0 is not shown)."""

    index: int
    before: int
    after: int


@dataclass(slots=True)
class Selection:
    """Which items are shown at which level, and which headers that needs."""

    levels: dict[int, int] = field(default_factory=dict)
    groups: set[GroupKey] = field(default_factory=set)


class Items:
    """The ranked candidates with their renditions, values and costs, each worked out when first asked for.

    An item is named by its index, a rendition of it by its level: from 1, and ``POINTER`` for a mere pointer.
    """

    def __init__(self, ranked: Sequence[Candidate], layout: Layout, extractor: Extractor, counter: TokenCounter) -> None:
        self.ranked = ranked
        self.duplicates = Duplicates(ranked)
        self.groups = [layout.group(candidate) for candidate in ranked]
        self._layout = layout
        self._extractor = extractor
        self._counter = counter
        top = max((candidate.score for candidate in ranked), default=0.0)
        self.weights = [
            max(MIN_RELATIVE_SCORE, candidate.score / top if top > 0 else 1.0) / math.pow(rank, RANK_DISCOUNT)
            for rank, candidate in enumerate(ranked, 1)
        ]
        self._options: dict[int, tuple[Shown, ...]] = {}
        self._lines: dict[tuple[int, int], str] = {}
        self._costs: dict[tuple[int, int], int] = {}
        self._headers: dict[GroupKey, int] = {}

    def options(self, index: int) -> tuple[Shown, ...]:
        """The renditions of an item, cheapest first. Only ``must_include`` items count a pointer as one."""
        if index not in self._options:
            candidate = self.ranked[index]
            start = body_start(candidate, structured=self._layout.structured)
            extracts = self._extractor.extract(candidate.text, start)
            full = Shown(candidate, index + 1, Rendition.FULL, extracts.full)
            shorter = ((Rendition.GIST, extracts.gist), (Rendition.EXCERPT, extracts.excerpt))
            options = [replace(full, rendition=rendition, spans=spans) for rendition, spans in shorter if spans]
            if candidate.must_include:
                options.insert(0, self.shown(index, POINTER))
            self._options[index] = (*options, full) if extracts.full else ()
        return self._options[index]

    def shown(self, index: int, level: int) -> Shown:
        """One item at one level."""
        if level == POINTER:
            return Shown(self.ranked[index], index + 1, Rendition.POINTER, ())
        return self.options(index)[level - 1]

    def available(self, index: int) -> bool:
        """True when the item has something to show that no better one shows."""
        return self.duplicates.of(index) is None and bool(self.options(index))

    def empty(self, index: int) -> bool:
        """True when there is nothing but white space (and the speaker's name) to show."""
        candidate = self.ranked[index]
        return not candidate.text[body_start(candidate, structured=self._layout.structured) :].strip()

    def hope(self, index: int) -> float:
        """Value a token that showing an item can be expected to give at best, without a closer look at it."""
        cheapest = min(_GIST_LINE_TOKENS, 4.0 + len(self.ranked[index].text) / _MOST_CHARS_PER_TOKEN)
        return self.weights[index] / cheapest

    def value(self, step: Step) -> float:
        """What a step adds."""
        before = SHARES[self.shown(step.index, step.before).rendition] if step.before else 0.0
        return self.weights[step.index] * (SHARES[self.shown(step.index, step.after).rendition] - before)

    def line_tokens(self, step: Step) -> int:
        """Tokens that a step adds, the header aside."""
        before = self._line_cost(step.index, step.before) if step.before else 0
        return self._line_cost(step.index, step.after) - before

    def header_tokens(self, index: int) -> int:
        """Tokens of the header above an item."""
        group = self.groups[index]
        if group not in self._headers:
            self._headers[group] = self._counter.count(self._layout.header(self.ranked[index]))
        return self._headers[group]

    def chars(self, index: int, level: int) -> int:
        """Characters of the source that are shown."""
        return sum(end - start for start, end in self.shown(index, level).spans)

    def guess(self, step: Step) -> float:
        """As :meth:`line_tokens`, without counting long texts."""
        before = self._guess(step.index, step.before) if step.before else 0.0
        return self._guess(step.index, step.after) - before

    def _guess(self, index: int, level: int) -> float:
        chars = self.chars(index, level)
        return self._line_cost(index, level) if chars <= _COUNT_AT_ONCE_CHARS else chars / _CHARS_PER_TOKEN

    def _line_cost(self, index: int, level: int) -> int:
        tokens = self._costs.get((index, level))
        if tokens is None:
            tokens = self._costs[index, level] = self._counter.count(self._line(index, level))
        return tokens

    def _line(self, index: int, level: int) -> str:
        line = self._lines.get((index, level))
        if line is None:
            line = self._lines[index, level] = self._layout.line(self.shown(index, level), _ANY_NUMBER)
        return line


def steps(items: Items, section_budgets: Mapping[str, int]) -> Iterator[Step]:
    """All steps in their order: ``must_include`` items, then sections within their budgets, then everything left."""
    selection = Selection()
    everything = range(len(items.ranked))
    for step in _must_steps(items):
        apply(step, items, selection)
        yield step
    others = [i for i in everything if not items.ranked[i].must_include]
    if section_budgets:
        reserved = [i for i in others if items.ranked[i].section in section_budgets]
        yield from _greedy(items, reserved, selection, dict(section_budgets))
    yield from _greedy(items, others, selection, None)


def must_indices(items: Items) -> list[int]:
    """The ``must_include`` items that have something to show, best first."""
    chosen = (i for i, candidate in enumerate(items.ranked) if candidate.must_include)
    return [i for i in chosen if items.available(i)]


def apply(step: Step, items: Items, selection: Selection) -> None:
    selection.levels[step.index] = step.after
    selection.groups.add(items.groups[step.index])


def _must_steps(items: Items) -> Iterator[Step]:
    chosen = must_indices(items)
    yield from (Step(i, 0, 1) for i in chosen)
    for i in chosen:
        yield from (Step(i, level, level + 1) for level in range(1, len(items.options(i))))


def _greedy(items: Items, indices: Sequence[int], selection: Selection, left: dict[str, int] | None) -> Iterator[Step]:
    """Steps by gain per token; with ``left``, each section's only while they fit what is left of its budget."""
    heap = [(-items.hope(i), i) for i in indices]
    heapq.heapify(heap)
    while heap:
        stale, i = heapq.heappop(heap)
        fresh = _best_step(items, i, selection)
        if fresh is None:
            continue
        density, step = fresh
        if -density > stale and heap and (-density, i) > heap[0]:
            heapq.heappush(heap, (-density, i))
            continue
        if left is not None:
            cost = items.line_tokens(step) + _header(items, i, selection)
            if cost > left[items.ranked[i].section]:
                continue
            left[items.ranked[i].section] -= cost
        opened = items.groups[i] not in selection.groups
        apply(step, items, selection)
        yield step
        heapq.heappush(heap, (-density, i))
        if opened:
            peers = (p for p in indices if items.groups[p] == items.groups[i] and p != i)
            for peer in peers:
                heapq.heappush(heap, (-items.hope(peer), peer))


def _best_step(items: Items, index: int, selection: Selection) -> tuple[float, Step] | None:
    """The upgrade of one item with the most gain per token, and that gain; ``None`` when there is none."""
    if not items.available(index):
        return None
    level = selection.levels.get(index, 0)
    header = _header(items, index, selection)
    best: tuple[float, Step] | None = None
    for after in range(level + 1, len(items.options(index)) + 1):
        step = Step(index, level, after)
        density = items.value(step) / max(1.0, items.guess(step) + header)
        if best is None or density >= best[0]:
            best = (density, step)
    return best


def _header(items: Items, index: int, selection: Selection) -> int:
    return 0 if items.groups[index] in selection.groups else items.header_tokens(index)
