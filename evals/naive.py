"""The baselines every context is compared with: whole hits, best first, until the budget is full."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from retrieval.ports import TokenCounter

SEPARATOR = "\n"


class Overflow(StrEnum):
    """What the fill does with a text that no longer fits."""

    STOP = "stop"
    SKIP = "skip"


class Form(StrEnum):
    """What a fill takes of a hit.

    ``HIT``: its text as it was stored, for LoCoMo with date, time of day and speaker before every turn. ``LABELLED``: the
    words behind the day and the speaker, which a reader needs at least. ``WORDS``: the words alone, with neither.
    """

    HIT = "hits"
    LABELLED = "day and speaker"
    WORDS = "bare words"


def naive_fill(texts: Sequence[str], budget: int, counter: TokenCounter, overflow: Overflow) -> list[int]:
    """Indexes of the texts that fit, in order, counted as one text with a line feed between two.

    ``STOP`` is what most applications do; ``SKIP`` goes on with the shorter ones and is the harder baseline.
    """
    taken: list[int] = []
    filled = ""
    for index, text in enumerate(texts):
        longer = f"{filled}{SEPARATOR}{text}" if taken else text
        if counter.count(longer) <= budget:
            taken.append(index)
            filled = longer
        elif overflow is Overflow.STOP:
            break
    return taken
