"""What may be shown of one text: a gist, an excerpt, or the whole. All extractive, all as spans of the source.

A sentence's relevance is the weight of the query's terms in it, damped by its length; ties go to the earlier one.
A term matches at the start of a word, so stems work ("paint" finds "painting").
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from retrieval.packing.model import Span
from retrieval.packing.sentences import split

SentenceScorer = Callable[[str, Sequence[str]], Sequence[float]]
"""``(query, sentences) -> one relevance a sentence``: an optional, better judge than lexical overlap."""

GIST_CHARS = 100  # about 25 tokens of English: a sentence, or two short ones
EXCERPT_CHARS = 640  # about 160 tokens: a paragraph
# Of a long text only the part around the densest block of query terms is split into sentences; finding terms is fast,
# splitting is not.
WINDOW_CHARS = 1200
BLOCK_CHARS = 400
# Characters at which a sentence's score is halved: of two with the same terms the terser one makes the gist.
HALVING_CHARS = 400

_WORD = re.compile(r"\w+")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_STOP = frozenset(
    re.findall(
        r"\S+",
        """
        a an and are as at be been but by can did do does for from had has have he her his how i in is it its me
        my of on or our she so that the their them they this to was we were what when where which who whom whose
        why will with would you your
        """,
    )
)


@dataclass(frozen=True, slots=True)
class Extracts:
    """The spans of each rendition of one text; ``None`` where it would show no less than the next larger one."""

    gist: tuple[Span, ...] | None
    excerpt: tuple[Span, ...] | None
    full: tuple[Span, ...]


class Extractor:
    """Finds the part of a text that is about one query. Pure; build one a request."""

    def __init__(self, query: str, term_weights: Mapping[str, float] | None = None, scorer: SentenceScorer | None = None) -> None:
        self._query = query
        self._scorer = scorer
        weights = _terms(query) if term_weights is None else term_weights
        self._terms = sorted((term.lower(), weight) for term, weight in weights.items() if term and weight > 0)

    def extract(self, text: str, start: int = 0) -> Extracts:
        """The renditions of ``text[start:]``."""
        full_span = _trim(text, start)
        full = (full_span,) if full_span.end > full_span.start else ()
        length = full_span.end - full_span.start
        # A short turn has no gist worth the two tokens its elision marks cost.
        if length <= GIST_CHARS:
            return Extracts(None, None, full)
        low, high = full_span if self._scorer or length <= WINDOW_CHARS else self._window(text, full_span)
        sentences = [Span(a + low, b + low) for a, b in split(text[low:high])]
        scores = self._scores(text, sentences)
        gist = _gist(sentences, scores)
        if _chars(gist) > 0.8 * length:
            return Extracts(None, None, full)
        excerpt = _excerpt(sentences, scores)
        useful = 1.5 * _chars(gist) < _chars(excerpt) < 0.8 * length
        return Extracts(gist, excerpt if useful else None, full)

    def _window(self, text: str, whole: Span) -> Span:
        """The part of a long text, from space to space, around the block with the most weight of query terms."""
        blocks: dict[int, float] = {}
        lowered = _lower(text)
        for term, weight in self._terms:
            found = {at // BLOCK_CHARS for at in _occurrences(lowered, term, whole.start)}
            for block in found:
                blocks[block] = blocks.get(block, 0.0) + weight
        best = min(blocks, key=lambda block: (-blocks[block], block), default=whole.start // BLOCK_CHARS)
        middle = best * BLOCK_CHARS + BLOCK_CHARS // 2
        low, high = max(whole.start, middle - WINDOW_CHARS // 2), min(whole.end, middle + WINDOW_CHARS // 2)
        if low > whole.start and (space := text.find(" ", low, low + 40)) >= 0:
            low = space
        if high < whole.end and (space := text.rfind(" ", high - 40, high)) >= 0:
            high = space
        return Span(low, high)

    def _scores(self, text: str, sentences: Sequence[Span]) -> list[float]:
        if self._scorer is not None:
            return list(self._scorer(self._query, [text[a:b] for a, b in sentences]))
        begin = sentences[0].start
        starts = [span.start - begin for span in sentences]
        found: list[set[int]] = [set() for _ in sentences]
        lowered = _lower(text[begin : sentences[-1].end])
        for number, (term, _) in enumerate(self._terms):
            for at in _occurrences(lowered, term, 0):
                found[bisect_right(starts, at) - 1].add(number)
        return [
            sum(self._terms[n][1] for n in sorted(numbers)) / (1.0 + (span.end - span.start) / HALVING_CHARS)
            for numbers, span in zip(found, sentences, strict=True)
        ]


def _terms(query: str) -> dict[str, float]:
    """The words of a question as crude stems of weight 1; CJK runs as their character bigrams."""
    terms: dict[str, float] = {}
    for word in _WORD.findall(query.lower()):
        if _CJK.search(word):
            terms.update((word[i : i + 2], 1.0) for i in range(max(1, len(word) - 1)))
        elif word not in _STOP:
            terms[word[: max(4, len(word) - 3)] if len(word) > 5 else word] = 1.0
    return terms


def _lower(text: str) -> str:
    """Lower case of the same length, so that offsets stay true (``İ`` grows when lowered)."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _occurrences(lowered: str, term: str, start: int) -> list[int]:
    """Where ``term`` begins a word; anywhere for CJK, which writes no spaces."""
    free = _CJK.search(term) is not None
    places: list[int] = []
    at = lowered.find(term, start)
    while at >= 0:
        if free or at == 0 or not lowered[at - 1].isalnum():
            places.append(at)
        at = lowered.find(term, at + len(term))
    return places


def _gist(sentences: Sequence[Span], scores: Sequence[float]) -> tuple[Span, ...]:
    """The best sentence, and the next best with any relevance while both stay within ``GIST_CHARS``."""
    ranked = sorted(range(len(sentences)), key=lambda i: (-scores[i], i))
    chosen = [ranked[0]]
    used = sentences[ranked[0]].end - sentences[ranked[0]].start
    for i in ranked[1:]:
        size = sentences[i].end - sentences[i].start
        if scores[i] > 0 and used + size <= GIST_CHARS:
            chosen.append(i)
            used += size
    return _join(sentences, sorted(chosen))


def _excerpt(sentences: Sequence[Span], scores: Sequence[float]) -> tuple[Span, ...]:
    """A window of contiguous sentences around the best one, grown towards the better neighbour, else forward."""
    best = min(range(len(sentences)), key=lambda i: (-scores[i], i))
    low = high = best
    while True:
        sides = [i for i in (high + 1, low - 1) if 0 <= i < len(sentences)]
        sides = [i for i in sides if sentences[max(i, high)].end - sentences[min(i, low)].start <= EXCERPT_CHARS]
        if not sides:
            return (Span(sentences[low].start, sentences[high].end),)
        side = max(sides, key=lambda i: scores[i])
        low, high = min(low, side), max(high, side)


def _join(sentences: Sequence[Span], chosen: Sequence[int]) -> tuple[Span, ...]:
    """The chosen sentences, neighbours made one span."""
    spans: list[Span] = []
    for previous, i in zip([-2, *chosen], chosen, strict=False):
        if previous == i - 1 and spans:
            spans[-1] = Span(spans[-1].start, sentences[i].end)
        else:
            spans.append(sentences[i])
    return tuple(spans)


def _trim(text: str, start: int) -> Span:
    end = len(text)
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(start, end)


def _chars(spans: Sequence[Span]) -> int:
    return sum(end - start for start, end in spans)
