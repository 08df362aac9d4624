"""A piece of text that may name a time: what the rules find and the reader judges by its context."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from retrieval.temporal.bounds import Bounds

Resolve = Callable[[datetime | None], Bounds | None]


class Licence(StrEnum):
    """What must stand before the words for them to mean a time."""

    NONE = "none"
    """Nothing: "yesterday", "8 May 2023"."""
    AT = "at"
    """A preposition of time: "in 2023", "on Monday"."""
    NAME = "name"
    """The same, and nothing after it that makes it a person's name: "in May", but not "after June left"."""


class Anchor(StrEnum):
    """What the time is relative to."""

    FIXED = "fixed"
    """Nothing: it carries its year."""
    NOW = "now"
    """The time of the question: "last week"."""
    FLOATING = "floating"
    """A year is missing: the latest not after the question, or the year of the date it is paired with."""


@dataclass(frozen=True, slots=True)
class Mention:
    """``text[start:end]`` may name a time. ``resolve`` takes the wall-clock time that it is relative to, if any."""

    start: int
    end: int
    resolve: Resolve
    anchor: Anchor = Anchor.FIXED
    licence: Licence = Licence.NONE


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern over folded text, and what a match of it means (``None``: nothing after all)."""

    pattern: re.Pattern[str]
    build: Callable[[re.Match[str], str], Mention | None]
    """Takes the match and the text in its original case."""


def scan(rules: Sequence[Rule], folded: str, text: str) -> list[Mention]:
    """The mentions of ``folded`` in reading order; where two overlap, the longer, then the earlier rule's."""
    found = [
        mention for rule in rules for match in rule.pattern.finditer(folded) if (mention := rule.build(match, text)) is not None
    ]
    found.sort(key=lambda mention: mention.start - mention.end)
    taken = bytearray(len(folded))
    kept = []
    for mention in found:
        if not any(taken[mention.start : mention.end]):
            taken[mention.start : mention.end] = b"\x01" * (mention.end - mention.start)
            kept.append(mention)
    return sorted(kept, key=lambda mention: mention.start)
