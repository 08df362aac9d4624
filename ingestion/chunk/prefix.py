"""What situates a chunk: the document's title and the headings above it, in one line."""

import re
from collections.abc import Sequence
from functools import lru_cache

from ingestion.chunk.tokens import ChunkTokenizer

PREFIX_TOKENS = 64
_PART_CHARS = 120
_JOINT = " > "
_SPACE = re.compile(r"\s+")


class Situate:
    """Makes prefixes of at most ``most`` tokens. Deterministic: the same title and path give the same prefix."""

    def __init__(self, tokenizer: ChunkTokenizer, title: str | None, most: int) -> None:
        self._tokenizer = tokenizer
        self._title = title or ""
        self._most = most
        self.prefix = lru_cache(maxsize=256)(self._prefix)

    def _prefix(self, path: tuple[str, ...]) -> tuple[str, int]:
        """The prefix, ended by a line break, and its tokens; empty where there is nothing to say.

        Too long, it loses parts from the middle: the title says what is spoken of, the innermost headings say where.
        """
        parts: list[str] = []
        for part in (self._title, *path):
            short = shortened(part, _PART_CHARS)
            if short and (not parts or short.casefold() != parts[-1].casefold()):
                parts.append(short)
        while parts:
            prefix = _JOINT.join(parts) + "\n"
            tokens = self._tokenizer.counts([prefix])[0]
            if tokens <= self._most:
                return prefix, tokens
            if len(parts) > 1:
                del parts[min(1, len(parts) - 2)]
            else:
                parts = _halved(parts)
        return "", 0


def shortened(part: str, most: int) -> str:
    """A title or heading in one line of at most ``most`` characters, cut after a word."""
    part = _SPACE.sub(" ", part[: 2 * most]).strip()
    if len(part) <= most:
        return part
    return part[: max(part.rfind(" ", 0, most - 1), most // 2)].rstrip() + "…"


def _halved(parts: Sequence[str]) -> list[str]:
    half = parts[0][: len(parts[0]) // 2].rstrip(" …")
    return [half + "…"] if half else []
