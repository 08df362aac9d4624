"""The one order in which items are shown and upgraded.

Steps (show an item, or upgrade it) are taken by gain per token, the multiple-choice knapsack greedy over each item's
convex hull (Sinha and Zoltners 1979). Opening a group costs its header; its other items get cheaper from then on. The
order never looks at the budget: that is what makes a larger budget never worth less (see :mod:`retrieval.packing.search`).
What a step gains is said in :mod:`retrieval.packing.value`.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from retrieval.packing.duplicates import Duplicates
from retrieval.packing.layout import GroupKey, Layout, Shown, body_start
from retrieval.packing.model import Candidate, Rendition
from retrieval.packing.renditions import GIST_CHARS, WHOLE_CHARS, Extractor
from retrieval.packing.value import POINTER_SHARE, part_share, weights
from retrieval.ports import TokenCounter

# The level of an item that is only pointed at.
POINTER = -1

# Stands for any citation number while costs are added up: as many digits as a number can have here.
_ANY_NUMBER = 888
# Longer lines are only counted when they might be shown; until then four characters are taken for a token.
_COUNT_AT_ONCE_CHARS = 400
_CHARS_PER_TOKEN = 4.0
# What showing a text at all may cost at best: a gist's line, or a short text's own. An optimistic start, which saves
# a closer look at candidates that never come into question.
_GIST_LINE_TOKENS = 20.0
_MOST_CHARS_PER_TOKEN = 5.0


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


@dataclass(frozen=True, slots=True)
class _Options:
    """The renditions of an item, cheapest first, with the share of its weight that each keeps: it never falls."""

    shown: tuple[Shown, ...]
    shares: tuple[float, ...]


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
        self._starts = [body_start(candidate, structured=layout.structured) for candidate in ranked]
        self._chars = [len(candidate.text) - start for candidate, start in zip(ranked, self._starts, strict=True)]
        self.weights = weights([candidate.score for candidate in ranked], self._chars)
        self._options: dict[int, _Options] = {}
        self._lines: dict[tuple[int, int], str] = {}
        self._costs: dict[tuple[int, int], int] = {}
        self._headers: dict[GroupKey, int] = {}

    def levels(self, index: int) -> int:
        """How many renditions an item has. Only ``must_include`` items count a pointer as one."""
        return len(self._of(index).shown)

    def shown(self, index: int, level: int) -> Shown:
        """One item at one level."""
        if level == POINTER:
            return Shown(self.ranked[index], index + 1, Rendition.POINTER, ())
        return self._of(index).shown[level - 1]

    def available(self, index: int) -> bool:
        """True when the item has something to show that no better one shows."""
        return self.duplicates.of(index) is None and bool(self.levels(index))

    def empty(self, index: int) -> bool:
        """True when there is nothing but white space (and the speaker's name) to show."""
        return not self.ranked[index].text[self._starts[index] :].strip()

    def hope(self, index: int) -> float:
        """Value a token that showing an item can be expected to give at best, without a closer look at it."""
        chars = self._chars[index]
        if chars <= WHOLE_CHARS:
            return self.weights[index] / (4.0 + chars / _MOST_CHARS_PER_TOKEN)
        return self.weights[index] * part_share(GIST_CHARS, chars, 1.0) / _GIST_LINE_TOKENS

    def value(self, step: Step) -> float:
        """What a step adds: never less than 0."""
        shares = self._of(step.index).shares
        return self.weights[step.index] * (shares[step.after - 1] - (shares[step.before - 1] if step.before else 0.0))

    def line_tokens(self, step: Step) -> int:
        """Tokens that a step adds, the header aside."""
        before = self.tokens(step.index, step.before) if step.before else 0
        return self.tokens(step.index, step.after) - before

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
        return self.tokens(index, level) if chars <= _COUNT_AT_ONCE_CHARS else chars / _CHARS_PER_TOKEN

    def tokens(self, index: int, level: int) -> int:
        """Tokens of an item's line at one level."""
        tokens = self._costs.get((index, level))
        if tokens is None:
            line = self._layout.line(self.shown(index, level), _ANY_NUMBER)
            tokens = self._costs[index, level] = self._counter.count(line)
        return tokens

    def _of(self, index: int) -> _Options:
        options = self._options.get(index)
        if options is None:
            options = self._options[index] = self._extracted(index)
        return options

    def _extracted(self, index: int) -> _Options:
        candidate = self.ranked[index]
        extracts = self._extractor.extract(candidate.text, self._starts[index], matched_at=candidate.matched_at)
        if not extracts.full:
            return _Options((), ())
        whole = extracts.full[0].end - extracts.full[0].start
        shown: list[Shown] = []
        shares: list[float] = []
        if candidate.must_include:
            shown.append(self.shown(index, POINTER))
            shares.append(POINTER_SHARE)
        gist = [(Rendition.GIST, extracts.gist)] if extracts.gist else []
        for rendition, part in (*gist, *((Rendition.EXCERPT, excerpt) for excerpt in extracts.excerpts)):
            shown.append(Shown(candidate, index + 1, rendition, part.spans))
            share = part_share(sum(end - start for start, end in part.spans), whole, part.terms)
            shares.append(max(share, *shares[-1:], POINTER_SHARE))
        shown.append(Shown(candidate, index + 1, Rendition.FULL, extracts.full))
        return _Options(tuple(shown), (*shares, 1.0))


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
        yield from (Step(i, level, level + 1) for level in range(1, items.levels(i)))


def _greedy(items: Items, indices: Sequence[int], selection: Selection, left: dict[str, int] | None) -> Iterator[Step]:
    """Steps by gain per token; with ``left``, each section's only while they fit what is left of its budget."""
    heap = [(-items.hope(i), i) for i in indices]
    heapq.heapify(heap)
    peers: dict[GroupKey, list[int]] = {}
    for i in indices:
        peers.setdefault(items.groups[i], []).append(i)
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
        if step.after < items.levels(i):
            heapq.heappush(heap, (-density, i))
        if opened:
            for peer in peers[items.groups[i]]:
                if peer != i:
                    heapq.heappush(heap, (-items.hope(peer), peer))


def _best_step(items: Items, index: int, selection: Selection) -> tuple[float, Step] | None:
    """The upgrade of one item with the most gain per token, and that gain; ``None`` when there is none."""
    if not items.available(index):
        return None
    level = selection.levels.get(index, 0)
    header = _header(items, index, selection)
    best: tuple[float, Step] | None = None
    for after in range(level + 1, items.levels(index) + 1):
        step = Step(index, level, after)
        density = items.value(step) / max(1.0, items.guess(step) + header)
        if best is None or density >= best[0]:
            best = (density, step)
    return best


def _header(items: Items, index: int, selection: Selection) -> int:
    return 0 if items.groups[index] in selection.groups else items.header_tokens(index)
