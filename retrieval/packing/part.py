"""A part of one text that is too long for its budget: where a reader goes on, or what stands around a place."""

import re
from dataclasses import dataclass

from retrieval.errors import BudgetTooSmall
from retrieval.packing.layout import Shown, body_start, layout_for
from retrieval.packing.model import Candidate, Format, Packed, Rendition, Span
from retrieval.packing.more import expanded
from retrieval.ports import TokenCounter

# No tokenizer of ours makes a token of more characters than this of ordinary text: more need not be counted.
_LONGEST_TOKEN = 8
# Of a part, what is given up at an end for a whole word.
_WORD_SHARE = 10
_SPACE = re.compile(r"\s")


@dataclass(frozen=True, slots=True)
class Place:
    """A character of a text: to go on from, or to show the surroundings of."""

    at: int
    around: bool


def part(candidate: Candidate, counter: TokenCounter, *, budget_tokens: int, place: Place | None = None) -> Packed:
    """The longest part that fits: what is around the place, or follows it; without one the beginning.

    The whole where it fits, unless a reader goes on in the middle. Of ``spans`` there is one; nothing where the text has ended
    before the place. Raises :class:`retrieval.errors.BudgetTooSmall`. Pure and deterministic.
    """
    text, layout = candidate.text, layout_for(Format.TEXT, sections=False, subjects=False)
    start = body_start(candidate, structured=False)
    whole = _trimmed(text, Span(start, len(text)))
    rest = whole if place is None or place.around else Span(max(whole.start, place.at), whole.end)
    used, most = 0, min(rest.end - rest.start, budget_tokens * _LONGEST_TOKEN)
    if rest.end <= rest.start:
        return Packed("", 0, (), ())
    while most > 0:
        span = _trimmed(text, _span(text, rest, place, most))
        shown = Shown(candidate, 1, Rendition.FULL if span == whole else Rendition.EXCERPT, (span,))
        line = layout.line(shown, 1)
        packed = layout.finish([layout.header(candidate), line])
        used = counter.count(packed)
        if used <= budget_tokens:
            return Packed(packed, used, (expanded(shown, counter.count(line)),), ())
        most = min(most - 1, int(most * min(0.9, budget_tokens / used)))
    raise BudgetTooSmall(f"a part takes {used} tokens at least; raise budget_tokens")


def _span(text: str, rest: Span, place: Place | None, most: int) -> Span:
    """``most`` characters of ``rest``, less what is given up for whole words at ends that are not its own."""
    low = rest.start
    if place is not None and place.around:
        low = max(rest.start, min(place.at - most // 2, rest.end - most))
    high = min(rest.end, low + most)
    spare = most // _WORD_SHARE
    if low > rest.start and (space := _SPACE.search(text, low, low + spare)):
        low = space.end()
    if high < rest.end and (spaces := list(_SPACE.finditer(text, high - spare, high))):
        high = spaces[-1].start()
    return Span(low, high)


def _trimmed(text: str, span: Span) -> Span:
    found = text[span.start : span.end]
    return Span(span.end - len(found.lstrip()), span.start + len(found.rstrip())) if found.strip() else span
