"""What situates a chunk: the document's title and the headings above it, in one line."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from ingestion.chunk.tokens import ChunkTokenizer

PREFIX_TOKENS = 64
_PART_CHARS = 120
_JOINT = " > "
_SPACE = re.compile(r"\s+")


class Prefix(NamedTuple):
    """A prefix, ended by a line break, and how many tokens it has; empty where there is nothing to say.

    ``ids``: of those tokens, where they are the same in front of a text.
    """

    text: str
    tokens: int
    ids: Sequence[int] | None


class Situate:
    """Makes prefixes of at most ``most`` tokens. Deterministic: the same title and path give the same prefix."""

    def __init__(self, tokenizer: ChunkTokenizer, title: str | None, most: int) -> None:
        self._tokenizer = tokenizer
        self._title = title or ""
        self._most = most
        self.prefix = lru_cache(maxsize=256)(self._prefix)

    def _prefix(self, path: tuple[str, ...]) -> Prefix:
        """Too long, it loses parts from the middle: the title says what is spoken of, the innermost headings say where."""
        parts: list[str] = []
        for part in (self._title, *path):
            short = shortened(part, _PART_CHARS)
            if short and (not parts or short.casefold() != parts[-1].casefold()):
                parts.append(short)
        while parts:
            prefix = self._counted(_JOINT.join(parts) + "\n")
            if prefix.tokens <= self._most:
                return prefix
            if len(parts) > 1:
                del parts[min(1, len(parts) - 2)]
            else:
                parts = _halved(parts)
        return Prefix("", 0, ())

    def _counted(self, text: str) -> Prefix:
        if not self._tokenizer.parts_at_space:
            return Prefix(text, self._tokenizer.counts([text])[0], None)
        ids = self._tokenizer.tokens(text).ids
        return Prefix(text, len(ids), ids)


def shortened(part: str, most: int) -> str:
    """A title or heading in one line of at most ``most`` characters, cut after a word."""
    part = _SPACE.sub(" ", part[: 2 * most]).strip()
    if len(part) <= most:
        return part
    return part[: max(part.rfind(" ", 0, most - 1), most // 2)].rstrip() + "…"


def _halved(parts: Sequence[str]) -> list[str]:
    half = parts[0][: len(parts[0]) // 2].rstrip(" …")
    return [half + "…"] if half else []
