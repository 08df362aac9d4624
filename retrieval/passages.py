"""Long texts in passages that an embedder can read whole."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

Span = tuple[int, int]

# Tokens kept free for what is put in front of a passage (date, speaker, the model's own prefix) and special tokens.
DEFAULT_RESERVE = 64
DEFAULT_OVERLAP = 32

# A passage is also shown to people and counted by BM25; one "word" of a megabyte is one token to some tokenizers.
_CHARS_PER_TOKEN = 8
# The least window: one character is at most a few tokens, so a passage of one character always fits.
_LEAST_TOKENS = 16

# Where to cut, best first: after a paragraph, a line, a sentence (also CJK, which has no space after it), a word.
_BOUNDARIES = tuple(re.compile(pattern) for pattern in (r"\n[ \t\r]*\n\s*", r"\n\s*", r"[.!?…][\"')\]”’]*\s+|[。！？]", r"\s+"))


class OffsetTokenizer(Protocol):
    """Where tokens lie in a text."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """(begin, end) of each token in characters, in order, without special tokens."""


class Splitter:
    """Cuts a text into spans of at most ``max_tokens - reserve`` tokens; together they cover every character.

    Greedy: as much as fits, cut at the best boundary in the last half of it. The next passage begins up to
    ``overlap`` tokens before the cut, at a sentence or a word, so that what straddles a cut is read whole once.
    Every passage is counted again by itself, since a tokenizer may see a piece otherwise than the whole.
    """

    def __init__(
        self,
        tokenizer: OffsetTokenizer,
        *,
        max_tokens: int,
        reserve: int = DEFAULT_RESERVE,
        overlap: int = DEFAULT_OVERLAP,
    ) -> None:
        self._tokenizer = tokenizer
        self._limit = max(_LEAST_TOKENS, max_tokens - reserve)
        self._overlap = min(overlap, self._limit // 4)
        self._most_chars = self._limit * _CHARS_PER_TOKEN

    def split(self, text: str) -> list[Span]:
        """Spans (begin, end) in order of their beginning; one for a text that fits, the empty one included.

        Linear in the text; about 1 s a megabyte: run it in a thread for large texts.
        """
        if self._fits_surely(text):
            return [(0, len(text))]
        tokens = self._tokenizer.offsets(text)
        if len(tokens) <= self._limit and len(text) <= self._most_chars:
            return [(0, len(text))]
        return self._cut(text, [begin for begin, _ in tokens])

    def _fits_surely(self, text: str) -> bool:
        """True without tokenising: a token is at least a character of ASCII, or a byte of anything else."""
        bytes_per_char = 1 if text.isascii() else 4
        return len(text) * bytes_per_char < self._limit

    def _cut(self, text: str, begins: Sequence[int]) -> list[Span]:
        start, end = 0, self._end(text, begins, 0)
        spans = [(start, end)]
        while end < len(text):
            start = self._restart(text, begins, start, end)
            reached = self._end(text, begins, start)
            if reached <= end:  # the overlap is all that fits: go without
                start, reached = end, self._end(text, begins, end)
            spans.append((start, reached))
            end = reached
        return spans

    def _end(self, text: str, begins: Sequence[int], start: int) -> int:
        """The end of the passage from ``start``: as far as fits, drawn back to a boundary and until it fits alone."""
        first = bisect_left(begins, start)
        furthest = begins[first + self._limit] if first + self._limit < len(begins) else len(text)
        end = min(furthest, start + self._most_chars)
        if end < len(text):
            end = _last_boundary(text, start + (end - start) // 2, end)
        while end - start > 1 and len(self._tokenizer.offsets(text[start:end])) > self._limit:
            shorter = end - max(1, (end - start) // 16)
            end = _last_boundary(text, start + (shorter - start) // 2, shorter)
        return end

    def _restart(self, text: str, begins: Sequence[int], start: int, end: int) -> int:
        """Where the next passage begins: at a boundary within the overlap before ``end``, or at ``end``."""
        token = bisect_left(begins, end) - self._overlap
        earliest = max(begins[token] if token >= 0 else 0, start, end - self._overlap * _CHARS_PER_TOKEN)
        for boundary in _BOUNDARIES:
            for found in boundary.finditer(text, earliest, end):
                if found.end() < end:
                    return found.end()
        return end


def _last_boundary(text: str, low: int, high: int) -> int:
    """The end of the last boundary of the best kind that ends in ``(low, high]``, else ``high``, between characters."""
    for boundary in _BOUNDARIES:
        ends = [found.end() for found in boundary.finditer(text, low, high) if found.end() > low]
        if ends:
            return ends[-1]
    return high
