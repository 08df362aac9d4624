"""What may be shown of one text: a gist, an excerpt, or the whole. All extractive, all as spans of the source.

A sentence's relevance is the weight of the query's terms in it, damped by its length; ties go to the first one of the passage
that was found, as it may have been found by its meaning and share no word with the query, and then to the earlier one.
A term matches at the start of a word, so stems work ("paint" finds "painting"). Rows of a table are shown with its header.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from retrieval.packing.model import Span
from retrieval.packing.sentences import split
from retrieval.packing.shapes import telling, with_headers

SentenceScorer = Callable[[str, Sequence[str]], Sequence[float]]
"""``(query, sentences) -> one relevance a sentence``: an optional, better judge than lexical overlap."""

# About 75 tokens. A shorter text is shown whole or not at all: most of what a turn is about stands in no single sentence.
WHOLE_CHARS = 300
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
class Part:
    """The spans of a gist or an excerpt, and the share (0 to 1) of the text's query terms in it; ``None``: there are none."""

    spans: tuple[Span, ...]
    terms: float | None


@dataclass(frozen=True, slots=True)
class Extracts:
    """The renditions of one text, from least to most; those that would show no less than a larger one are missing."""

    gist: Part | None
    excerpts: tuple[Part, ...]
    full: tuple[Span, ...]


class Extractor:
    """Finds the part of a text that is about one query. Pure; build one a request."""

    def __init__(self, query: str, term_weights: Mapping[str, float] | None = None, scorer: SentenceScorer | None = None) -> None:
        self._query = query
        self._scorer = scorer
        weights = dict.fromkeys(query_terms(query), 1.0) if term_weights is None else term_weights
        self._terms = sorted((term.lower(), weight) for term, weight in weights.items() if term and weight > 0)

    def extract(self, text: str, start: int = 0, *, matched_at: int = 0, growing: bool = False) -> Extracts:
        """The renditions of ``text[start:]``: one excerpt at most, or with ``growing`` ever larger ones around the same place.

        ``matched_at`` is where the passage begins that was found.
        """
        whole = _trim(text, start)
        full = (whole,) if whole.end > whole.start else ()
        length = whole.end - whole.start
        if length <= WHOLE_CHARS:
            return Extracts(None, (), full)
        low, high, present = self._window(text, whole, matched_at)
        sentences = _split(text, low, high)
        found = self._found(text, sentences)
        scores = self._scores(text, sentences, found)
        first = next((i for i, span in enumerate(sentences) if span.end > matched_at), 0)
        ranked = sorted(range(len(sentences)), key=lambda i: (-scores[i], i < first, i))
        # What is defined far behind the passage that was found says nothing of it.
        near = GIST_CHARS if matched_at else None
        told = (first + i for i in telling(text, sentences[first:], GIST_CHARS, within=near))
        chosen = _gist(sentences, scores, ranked) if any(scores) else list(told)
        gist = with_headers(text, _join(sentences, chosen))
        if _chars(gist) > 0.8 * length:
            return Extracts(None, (), full)
        best = ranked[0]
        if growing:
            before, after = _split(text, whole.start, low), _split(text, high, whole.end)
            best += len(before)
            sentences = [*before, *sentences, *after]
            found = self._found(text, sentences)
            scores = self._scores(text, sentences, found)
        excerpts: list[Part] = []
        for most in _sizes(length) if growing else (EXCERPT_CHARS,):
            window = _excerpt(sentences, scores, best, most)
            spans = with_headers(text, (Span(sentences[window[0]].start, sentences[window[-1]].end),))
            if 1.5 * _chars(excerpts[-1].spans if excerpts else gist) < _chars(spans) < 0.8 * length:
                excerpts.append(Part(spans, self._share(window, found, present)))
        return Extracts(Part(gist, self._share(chosen, found, present)), tuple(excerpts), full)

    def _share(self, chosen: Sequence[int], found: Sequence[set[int]], present: set[int]) -> float | None:
        if not present:
            return None
        return self._mass(set().union(*(found[i] for i in chosen))) / self._mass(present)

    def _mass(self, numbers: set[int]) -> float:
        return sum(self._terms[n][1] for n in sorted(numbers))

    def _window(self, text: str, whole: Span, matched_at: int) -> tuple[int, int, set[int]]:
        """The part of a text to split into sentences, and the terms that stand in all of it.

        Of a long text it is the part, from space to space, around the block with the most weight of terms; of several the
        one nearest to what was found, and of none that itself.
        """
        blocks: dict[int, float] = {}
        present: set[int] = set()
        lowered = _lower(text)
        for number, (term, weight) in enumerate(self._terms):
            found = {at // BLOCK_CHARS for at in _occurrences(lowered, term, whole.start)}
            if found:
                present.add(number)
            for block in found:
                blocks[block] = blocks.get(block, 0.0) + weight
        if self._scorer or whole.end - whole.start <= WINDOW_CHARS:
            return *whole, present
        begin = max(whole.start, min(matched_at, whole.end - 1))
        if blocks:
            found_in = begin // BLOCK_CHARS
            begin = BLOCK_CHARS * min(blocks, key=lambda block: (-blocks[block], abs(block - found_in), block))
        middle = begin + BLOCK_CHARS // 2
        low, high = max(whole.start, middle - WINDOW_CHARS // 2), min(whole.end, middle + WINDOW_CHARS // 2)
        if low > whole.start and (space := text.find(" ", low, low + 40)) >= 0:
            low = space
        if high < whole.end and (space := text.rfind(" ", high - 40, high)) >= 0:
            high = space
        return low, high, present

    def _found(self, text: str, sentences: Sequence[Span]) -> list[set[int]]:
        """The numbers of the terms in each sentence."""
        begin = sentences[0].start
        starts = [span.start - begin for span in sentences]
        found: list[set[int]] = [set() for _ in sentences]
        lowered = _lower(text[begin : sentences[-1].end])
        for number, (term, _) in enumerate(self._terms):
            for at in _occurrences(lowered, term, 0):
                found[bisect_right(starts, at) - 1].add(number)
        return found

    def _scores(self, text: str, sentences: Sequence[Span], found: Sequence[set[int]]) -> list[float]:
        if self._scorer is not None:
            return list(self._scorer(self._query, [text[a:b] for a, b in sentences]))
        return [
            self._mass(numbers) / (1.0 + (span.end - span.start) / HALVING_CHARS)
            for numbers, span in zip(found, sentences, strict=True)
        ]


def query_terms(query: str) -> tuple[str, ...]:
    """The words of a question as crude stems, each once; CJK runs as their character bigrams."""
    terms: list[str] = []
    for word in _WORD.findall(query.lower()):
        if _CJK.search(word):
            terms += (word[i : i + 2] for i in range(max(1, len(word) - 1)))
        elif word not in _STOP:
            terms.append(word[: max(4, len(word) - 3)] if len(word) > 5 else word)
    return tuple(dict.fromkeys(terms))


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


def _gist(sentences: Sequence[Span], scores: Sequence[float], ranked: Sequence[int]) -> list[int]:
    """The best sentence, and the next best with any relevance while both stay within ``GIST_CHARS``; in order."""
    chosen = [ranked[0]]
    used = sentences[ranked[0]].end - sentences[ranked[0]].start
    for i in ranked[1:]:
        size = sentences[i].end - sentences[i].start
        if scores[i] > 0 and used + size <= GIST_CHARS:
            chosen.append(i)
            used += size
    return sorted(chosen)


def _excerpt(sentences: Sequence[Span], scores: Sequence[float], best: int, most: int) -> range:
    """Contiguous sentences of at most ``most`` characters around the best one, grown to the better side, else forward."""
    low = high = best
    while True:
        sides = [i for i in (high + 1, low - 1) if 0 <= i < len(sentences)]
        sides = [i for i in sides if sentences[max(i, high)].end - sentences[min(i, low)].start <= most]
        if not sides:
            return range(low, high + 1)
        side = max(sides, key=lambda i: scores[i])
        low, high = min(low, side), max(high, side)


def _sizes(length: int) -> Iterator[int]:
    """How long the excerpts of a text of ``length`` characters are at most: each twice the one before."""
    size = EXCERPT_CHARS
    while size < length:
        yield size
        size *= 2


def _split(text: str, start: int, end: int) -> list[Span]:
    return [Span(a + start, b + start) for a, b in split(text[start:end])]


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
