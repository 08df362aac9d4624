"""Which candidates say what a better one already says.

Two texts are near-duplicates when their words are equal, or their three-word shingles overlap by Jaccard similarity of
at least 0.8 (Broder 1997), or the lesser one's are contained in the better one's; and when neither has a number or a
negation that the other lacks, since "at 3 pm" and "at 4 pm" are nearly the same shingles and not the same fact. Of long
texts a sample of the shingles speaks (:mod:`retrieval.packing.shingles`), so that the work is linear in their length.
Only texts about one user and of one speaker are compared, and episodic ones only within one day: the same words said
again on another day are another event.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from retrieval.packing.model import Candidate, DropReason
from retrieval.packing.shingles import SHINGLE_WORDS, Shingler, Sketch, likeness, words

JACCARD = 0.8
CONTAINMENT = 0.95
# Long texts are first compared by their two ends, then by what they say: most pairs differ there already.
PROBE_CHARS = 300

_NEGATIONS = frozenset(
    re.findall(
        r"\S+",
        """
        no not never none nobody nothing neither nor cannot without t
        """,
    )
)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The better candidate, by index, and how the lesser one relates to it."""

    of: int
    reason: DropReason


class Duplicates:
    """Answers for ``ranked`` candidates, best first; looks at no more of them than it is asked about.

    A long text is read through at most once for its shingles and once for its numbers, however many it is compared with.
    """

    def __init__(self, ranked: Sequence[Candidate]) -> None:
        self._ranked = ranked
        self._answers: list[Duplicate | None] = []
        self._shingler = Shingler()
        self._prints: dict[int, frozenset[int]] = {}
        self._sketches: dict[int, Sketch] = {}
        self._marks: dict[int, frozenset[str]] = {}
        self._holders: dict[tuple[object, ...], dict[int, list[int]]] = {}
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
        shingles = self._prints[index] = self._shingler.shingles(_probe(candidate.text))
        holders = self._holders.setdefault(_realm(candidate), {})
        if not candidate.must_include:
            for overlap, holder in sorted(self._close(shingles, holders)):
                reason = self._relation(index, holder, -overlap)
                if reason is not None:
                    return Duplicate(holder, reason)
        for shingle in shingles:
            if shingle in holders:
                holders[shingle].append(index)
            else:
                holders[shingle] = [index]
        return None

    def _close(self, shingles: frozenset[int], holders: dict[int, list[int]]) -> list[tuple[int, int]]:
        """``(-overlap, holder)`` of all that share enough shingles: each of them has one of any ``missing + 1``."""
        least = JACCARD * len(shingles)
        missing = len(shingles) - math.ceil(least)
        seen = {holder for shingle in islice(shingles, missing + 1) for holder in holders.get(shingle, ())}
        close = ((-len(shingles & self._prints[holder]), holder) for holder in seen)
        return [pair for pair in close if -pair[0] >= least]

    def _relation(self, index: int, holder: int, overlap: int) -> DropReason | None:
        """What the lesser candidate is to the better one, whose probes share ``overlap`` shingles."""
        mine, theirs = len(self._prints[index]), len(self._prints[holder])
        similarity, share = overlap / (mine + theirs - overlap), overlap / mine
        if self._long(index) or self._long(holder):
            similarity, sampled = likeness(self._sketch(index), self._sketch(holder))
            # Of a short text the probe is the whole: what the other's ends have of it, the other has.
            share, mine = sampled if self._long(index) else max(share, sampled), self._sketch(index).size
        alike = similarity >= JACCARD
        contained = mine > SHINGLE_WORDS and share >= CONTAINMENT
        if not (alike or contained) or not self._says_as_much(holder, index, exactly=not contained):
            return None
        return DropReason.NEAR_DUPLICATE if alike else DropReason.MERGED

    def _says_as_much(self, better: int, lesser: int, *, exactly: bool) -> bool:
        """True when the better text has every number and negation of the lesser one (and, if ``exactly``, no others)."""
        mine, theirs = self._marks_of(lesser), self._marks_of(better)
        # Sets of one size differ at a glance; only of unequal ones must be looked whether one is part of the other.
        return mine == theirs if exactly or len(mine) == len(theirs) else mine < theirs

    def _long(self, index: int) -> bool:
        return len(self._ranked[index].text) > 2 * PROBE_CHARS

    def _sketch(self, index: int) -> Sketch:
        if index not in self._sketches:
            self._sketches[index] = self._shingler.sketch(self._ranked[index].text)
        return self._sketches[index]

    def _marks_of(self, index: int) -> frozenset[str]:
        if index not in self._marks:
            self._marks[index] = _marks(self._ranked[index].text)
            hash(self._marks[index])  # kept with the set: two of them are told apart by it
        return self._marks[index]


def _probe(text: str) -> str:
    if len(text) <= 2 * PROBE_CHARS:
        return text
    return f"{text[:PROBE_CHARS]} {text[-PROBE_CHARS:]}"


def _realm(candidate: Candidate) -> tuple[object, ...]:
    """Candidates of different realms are never duplicates."""
    if candidate.kind != "episodic" or candidate.event_time is None:
        return (candidate.subject, candidate.speaker, None)
    return (candidate.subject, candidate.speaker, candidate.event_time.date())


def _marks(text: str) -> frozenset[str]:
    """The numbers and negations of a text."""
    return frozenset(word for word in set(words(text)) if word in _NEGATIONS or any(c.isdigit() for c in word))
