"""Many distinct memories out of real sentences: dialogue, abstracts, encyclopedia paragraphs.

A hundred thousand different texts are needed for latency; their words should follow a real distribution, or
BM25's posting lists would be far too even. Nothing here is used to measure quality.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from evals.datasets import DEFAULT_ROOT, load

SETS = ("locomo-dev", "scifact-train", "musique-dev")
BUCKETS = 100
DAYS = 20
_FIRST_DAY = datetime(2025, 3, 1, 12, tzinfo=UTC)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_MIN_CHARS, _MAX_CHARS = 20, 220


@dataclass(frozen=True, slots=True)
class SyntheticMemory:
    """``bucket`` is one of :data:`BUCKETS` equally likely labels, so a filter on it selects 1%.

    Independently of it, ``event_time`` is noon of one of :data:`DAYS` days for a percent of the memories each; the other
    80% have none.
    """

    id: str
    text: str
    bucket: str
    event_time: datetime | None


def day(number: int) -> datetime:
    """The midnight that day ``number`` begins with."""
    return _FIRST_DAY - timedelta(hours=12) + timedelta(days=number)


def sentences(texts: Sequence[str]) -> list[str]:
    """The distinct sentences of 20 to 220 characters, in order of appearance."""
    found: dict[str, None] = {}
    for text in texts:
        for sentence in _SENTENCE_END.split(text):
            if _MIN_CHARS <= len(sentence) <= _MAX_CHARS:
                found[sentence.strip()] = None
    return list(found)


def recombine(pool: Sequence[str], *, seed: int) -> Iterator[SyntheticMemory]:
    """An endless stream of distinct texts of one or two sentences; the same seed gives the same stream."""
    rng = random.Random(seed)
    seen: set[str] = set()
    while True:
        text = " ".join(rng.choice(pool) for _ in range(rng.choice((1, 1, 2))))
        if text not in seen:
            seen.add(text)
            bucket, drawn = rng.randrange(BUCKETS), rng.randrange(100)
            event_time = _FIRST_DAY + timedelta(days=drawn) if drawn < DAYS else None
            yield SyntheticMemory(f"s{seed}-{len(seen)}", text, f"b{bucket:02d}", event_time)


def sentence_pool(root: Path = DEFAULT_ROOT) -> list[str]:
    """Sentences of the three evaluation corpora, shuffled reproducibly."""
    pool = sentences([document.text for name in SETS for document in load(name, root).documents])
    random.Random(0).shuffle(pool)
    return pool


def question_pool(root: Path = DEFAULT_ROOT) -> list[str]:
    """Distinct real questions of the three sets, shuffled reproducibly."""
    questions = list(dict.fromkeys(query.text for name in SETS for query in load(name, root).queries))
    random.Random(1).shuffle(questions)
    return questions
