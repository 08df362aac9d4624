"""Sets of message positions as sorted, disjoint, closed ranges; the last may be open.

A session shows the positions in such a set. A restore closes it at the checkpoint and opens a new range after the head, so
that what is set aside is never destroyed. Stored as text: ``1:10,15:`` is 1 to 10, and 15 onwards. Thousands of restores leave
thousands of ranges: everything here takes time in proportion to their number, or less.
"""

from bisect import bisect_right
from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple


class Span(NamedTuple):
    """``first`` to ``last``, both included; ``None``: without end."""

    first: int
    last: int | None


Ranges = tuple[Span, ...]

_FIRST = attrgetter("first")


def parse(text: str) -> Ranges:
    """From the stored form; ``""`` is the empty set."""
    spans = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition(":")
        spans.append(Span(int(first), int(last) if last else None))
    return tuple(spans)


def dump(ranges: Ranges) -> str:
    """The stored form."""
    return ",".join(f"{first}:{'' if last is None else last}" for first, last in ranges)


def contains(ranges: Ranges, position: int) -> bool:
    """Whether ``position`` is in the set."""
    at = bisect_right(ranges, position, key=_FIRST) - 1
    if at < 0:
        return False
    last = ranges[at].last
    return last is None or position <= last


def of(positions: Iterable[int]) -> Ranges:
    """The set of these positions."""
    spans: list[Span] = []
    for position in sorted(set(positions)):
        if spans and spans[-1].last == position - 1:
            spans[-1] = Span(spans[-1].first, position)
        else:
            spans.append(Span(position, position))
    return tuple(spans)


def closed(ranges: Ranges, head: int) -> Ranges:
    """The part of the set that is not above ``head``."""
    return tuple(Span(first, head if last is None else min(last, head)) for first, last in ranges if first <= head)


def union(one: Ranges, other: Ranges) -> Ranges:
    """Both sets; closed ranges only."""
    spans: list[Span] = []
    for first, last in sorted((span.first, _end(span)) for span in (*one, *other)):
        if spans and first <= _end(spans[-1]) + 1:
            spans[-1] = Span(spans[-1].first, max(_end(spans[-1]), last))
        else:
            spans.append(Span(first, last))
    return tuple(spans)


def minus(one: Ranges, other: Ranges) -> Ranges:
    """What of ``one`` is not in ``other``; closed ranges only."""
    left = []
    next_one = 0
    for span in one:
        first, last = span.first, _end(span)
        while next_one < len(other) and _end(other[next_one]) < first:
            next_one += 1
        # The last of these may reach into the next span too.
        at = next_one
        while at < len(other) and other[at].first <= last:
            taken = other[at]
            at += 1
            if taken.first > first:
                left.append(Span(first, taken.first - 1))
            first = _end(taken) + 1
        if first <= last:
            left.append(Span(first, last))
    return tuple(left)


def common(one: Ranges, other: Ranges) -> Ranges:
    """What is in both; closed ranges only."""
    return minus(one, minus(one, other))


def _end(span: Span) -> int:
    if span.last is None:
        raise ValueError("an open range: close it at the head first")
    return span.last
