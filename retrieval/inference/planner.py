"""Which of the waiting items go into the next run of a model: a pure rule over their lengths."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from retrieval.inference.batches import BatchLimits

# What a run costs beside its tokens, as a share of the largest run: one of a few short texts is mostly this.
_RUN_SHARE = 4


def cut(lengths: Sequence[int], limits: BatchLimits, *, padded: bool) -> list[int]:
    """Positions, in ascending order, of the items that run together; the first is always among them.

    ``lengths`` are the tokens of the items of a window, in the order of their turns. A backend that runs rows as long as
    they are takes them in that order while they fit. One that pads every row to the longest pays longest × count: there the
    window is sorted by length, and of all neighbourhoods of the first item the one with the greatest share of useful tokens
    is taken. Rows below half of the longest are left for a better company, unless padding them costs less than another run.
    As the first always goes, nothing waits longer than the items in front of it take.
    """
    if not lengths:
        return []
    return _neighbours(lengths, limits) if padded else _prefix(lengths, limits)


def padded_cost(lengths: Sequence[int]) -> int:
    """Tokens that a padded run of these rows computes."""
    return max(lengths, default=0) * len(lengths)


def _prefix(lengths: Sequence[int], limits: BatchLimits) -> list[int]:
    size = total = 0
    while size < len(lengths) and limits.admit(size, total + lengths[size]):
        total += lengths[size]
        size += 1
    return list(range(size))


def _neighbours(lengths: Sequence[int], limits: BatchLimits) -> list[int]:
    first = lengths[0]
    # Of one length, the earlier stand nearer to the first item, which is never cut off.
    order = sorted(range(len(lengths)), key=lambda at: (lengths[at], at if lengths[at] >= first else -at))
    ranked = [lengths[at] for at in order]
    useful = [0, *accumulate(ranked)]
    anchor = order.index(0)
    run = limits.tokens // _RUN_SHARE
    best, chosen = -1.0, (anchor, anchor + 1)
    for longest in range(anchor, len(order)):
        length = max(1, ranked[longest])
        rows = max(1, min(limits.items, limits.tokens // length))
        half = bisect_left(ranked, (length + 1) // 2)
        begin = max(longest + 1 - rows, min(anchor, half))
        short = max(0, half - begin)
        if begin > anchor or length * short - (useful[begin + short] - useful[begin]) > run:
            break  # with longer ones there is even less room, and more padding
        share = (useful[longest + 1] - useful[begin]) / (length * (longest + 1 - begin) + run)
        if share > best:
            best, chosen = share, (begin, longest + 1)
    return sorted(order[slice(*chosen)])
