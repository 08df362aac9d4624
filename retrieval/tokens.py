"""Tokens that were found once and are not looked for again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Tokens(NamedTuple):
    """Where each token of a text begins, in characters, and its id; in order, without special tokens."""

    begins: Sequence[int]
    ids: Sequence[int]


class Tokenized(str):
    """A text that carries its tokens: ``ids`` of the vocabulary ``by``, without special tokens.

    For everybody else it is the text alone. Another text that is made of it, a part or the text with something before it, is an
    ordinary one, so that no ids go with a text that they are not of.
    """

    __slots__ = ("by", "ids")

    by: str
    ids: Sequence[int]

    def __new__(cls, text: str, ids: Sequence[int], by: str) -> Tokenized:
        """``text`` with its ``ids``."""
        made = super().__new__(cls, text)
        made.ids, made.by = ids, by
        return made

    def __reduce__(self) -> tuple[type[Tokenized], tuple[str, Sequence[int], str]]:
        """What a copy is made of."""
        return Tokenized, (str(self), self.ids, self.by)
