"""Which candidates say what a better one already says.

Two texts are near-duplicates when their words are equal, or their three-word shingles overlap by Jaccard similarity of
at least 0.8 (Broder 1997), or the lesser one's are contained in the better one's; and when neither has a number or a
negation that the other lacks, since "at 3 pm" and "at 4 pm" are nearly the same shingles and not the same fact. Only
texts of one speaker are compared, and episodic ones only within one day: the same words said again on another day
are another event.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from retrieval.packing.model import Candidate, DropReason

JACCARD = 0.8
CONTAINMENT = 0.95
SHINGLE_WORDS = 3
# Long texts are first compared by their two ends, then exactly: most pairs differ there already.
PROBE_CHARS = 300

_WORD = re.compile(r"\w+")
_NEGATIONS = frozenset(
    re.findall(
        r"\S+",
        """
        no not never none nobody nothing neither nor cannot without t
        """,
    )
)

Shingle = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The better candidate, by index, and how the lesser one relates to it."""

    of: int
    reason: DropReason


class Duplicates:
    """Answers for ``ranked`` candidates, best first; looks at no more of them than it is asked about."""

    def __init__(self, ranked: Sequence[Candidate]) -> None:
        self._ranked = ranked
        self._answers: list[Duplicate | None] = []
        self._prints: dict[int, frozenset[Shingle]] = {}
        self._holders: dict[tuple[object, ...], dict[Shingle, list[int]]] = {}
        self._ids: dict[str, int] = {}

    def of(self, index: int) -> Duplicate | None:
        """The better candidate that stands for candidate ``index``, or ``None``."""
        while len(self._answers) <= index:
            self._answers.append(self._judge(len(self._answers)))
        return self._answers[index]

    def known(self, index: int) -> Duplicate | None:
        """As :meth:`of`, for a candidate that was asked about before; ``None`` for any other."""
        return self._answers[index] if index < len(self._answers) else None

    def stood_for(self, index: int) -> list[int]:
        """The lesser candidates known so far that candidate ``index`` stands for."""
        return [i for i, answer in enumerate(self._answers) if answer is not None and answer.of == index]

    def _judge(self, index: int) -> Duplicate | None:
        candidate = self._ranked[index]
        twin = self._ids.setdefault(candidate.id, index)
        if twin != index:
            return Duplicate(twin, DropReason.NEAR_DUPLICATE)
        shingles = _shingles(_probe(candidate.text))
        holders = self._holders.setdefault(_realm(candidate), {})
        if not candidate.must_include:
            for overlap, holder in sorted(self._close(shingles, holders)):
                reason = self._relation(candidate, shingles, holder, -overlap)
                if reason is not None:
                    return Duplicate(holder, reason)
        self._prints[index] = shingles
        for shingle in shingles:
            if shingle in holders:
                holders[shingle].append(index)
            else:
                holders[shingle] = [index]
        return None

    def _close(self, shingles: frozenset[Shingle], holders: dict[Shingle, list[int]]) -> list[tuple[int, int]]:
        """``(-overlap, holder)`` of all that share enough shingles: each of them has one of any ``missing + 1``."""
        least = JACCARD * len(shingles)
        missing = len(shingles) - math.ceil(least)
        seen = {holder for shingle in islice(shingles, missing + 1) for holder in holders.get(shingle, ())}
        close = ((-len(shingles & self._prints[holder]), holder) for holder in seen)
        return [pair for pair in close if -pair[0] >= least]

    def _relation(self, candidate: Candidate, shingles: frozenset[Shingle], holder: int, overlap: int) -> DropReason | None:
        other = self._ranked[holder].text
        theirs = self._prints[holder]
        if max(len(candidate.text), len(other)) > 2 * PROBE_CHARS:
            shingles, theirs = _shingles(candidate.text), _shingles(other)
            overlap = len(shingles & theirs)
        alike = overlap / (len(shingles) + len(theirs) - overlap) >= JACCARD
        contained = len(shingles) > SHINGLE_WORDS and overlap >= CONTAINMENT * len(shingles)
        if not (alike or contained) or not _critical(candidate.text, other, both=not contained):
            return None
        return DropReason.NEAR_DUPLICATE if alike else DropReason.MERGED


def _probe(text: str) -> str:
    if len(text) <= 2 * PROBE_CHARS:
        return text
    return f"{text[:PROBE_CHARS]} {text[-PROBE_CHARS:]}"


def _realm(candidate: Candidate) -> tuple[object, ...]:
    """Candidates of different realms are never duplicates."""
    if candidate.kind != "episodic" or candidate.event_time is None:
        return (candidate.speaker, None)
    return (candidate.speaker, candidate.event_time.date())


def _shingles(text: str) -> frozenset[Shingle]:
    words = _WORD.findall(text.lower()) or [text.strip()]
    if len(words) <= SHINGLE_WORDS:
        return frozenset([tuple(words)])
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def _critical(lesser: str, better: str, *, both: bool) -> bool:
    """True when the better text has every number and negation of the lesser one (and, if ``both``, no others)."""
    mine, theirs = _marks(lesser), _marks(better)
    return mine == theirs if both else mine <= theirs


def _marks(text: str) -> frozenset[str]:
    words = _WORD.findall(text.lower())
    return frozenset(word for word in words if word in _NEGATIONS or any(c.isdigit() for c in word))
