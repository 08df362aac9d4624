"""Tokens of long texts: each character is tokenised once, in bounded pieces."""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

from retrieval.ports import ModelCard
from retrieval.tokens import Tokens

# A chunk is also shown and counted by BM25; one "word" of a megabyte is one token to some tokenizers.
CHARS_PER_TOKEN = 8

# White space to every tokenizer; some drop other white space (form feeds) and join the words around it.
WORD_SPACE = " \t\n\r"

# As large as the largest chunk, so that no chunk that begins and ends at white space reaches over a word that was parted here.
_WINDOW = 16_384
# Around what a model reads: at most so many tokens of its own, such as [CLS] and [SEP].
_SPECIAL_TOKENS = 4


class ChunkTokenizer(Protocol):
    """The embedding model's tokenizer."""

    @property
    def parts_at_space(self) -> bool:
        """True when no token depends on what stands beyond white space: counts of parts cut there add up exactly."""

    @property
    def vocabulary(self) -> str:
        """Whose ids the tokens have."""

    def tokens(self, text: str) -> Tokens:
        """The tokens of a text."""

    def counts(self, texts: Sequence[str]) -> Sequence[int]:
        """How many tokens each text has, without special tokens."""


def readable_tokens(card: ModelCard, tokenizer: ChunkTokenizer) -> int:
    """How many tokens of a caller's text the model reads: without special tokens and the prefix that it asks for."""
    return card.max_tokens - _SPECIAL_TOKENS - tokenizer.counts([card.passage_prefix])[0]


class Ruler:
    """The tokens of one text, found as far as somebody asks."""

    def __init__(self, tokenizer: ChunkTokenizer, text: str) -> None:
        self._tokenizer = tokenizer
        self._text = text
        self._begins = array("I")
        self._ids = array("I")
        self._done = 0

    def tokens(self, start: int, end: int) -> Tokens:
        """Those that begin in ``[start, end)``, counted from ``start``."""
        self._read(end)
        found = slice(bisect_left(self._begins, start), bisect_left(self._begins, end))
        return Tokens([begin - start for begin in self._begins[found]], self._ids[found])

    def furthest(self, start: int, tokens: int, chars: int) -> int:
        """The largest end for which ``[start, end)`` begins at most ``tokens`` tokens and has at most ``chars`` characters.

        It is behind ``start``: one character may be several tokens.
        """
        self._read(min(len(self._text), start + chars))
        return furthest(self._begins, len(self._text), start, tokens, chars)

    def _read(self, end: int) -> None:
        while self._done < min(end, len(self._text)):
            start, stop = self._done, _window_end(self._text, self._done)
            found = self._tokenizer.tokens(self._text[start:stop])
            self._begins.extend([begin + start for begin in found.begins])
            self._ids.extend(found.ids)
            self._done = stop


def furthest(begins: Sequence[int], length: int, start: int, tokens: int, chars: int) -> int:
    """:meth:`Ruler.furthest` in a text of ``length`` characters whose tokens begin at ``begins``."""
    most = min(length, start + chars)
    beyond = bisect_left(begins, start) + tokens
    end = min(most, begins[beyond]) if beyond < len(begins) else most
    return max(end, min(start + 1, length))


def _window_end(text: str, start: int) -> int:
    """The end of the piece from ``start``: behind white space where there is some, so that no word is parted."""
    end = start + _WINDOW
    if end >= len(text):
        return len(text)
    return max(text.rfind(space, start, end) for space in WORD_SPACE) + 1 or end
