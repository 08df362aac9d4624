"""A parsed document: blocks of Markdown in reading order, each with its span in the whole.

The *document's text* is the rendition of every block in order, joined by an empty line. It is never held: a block's span follows
from the lengths of those before it, so a parser that streams knows every span, and a reader finds any block in the rendition.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

SEPARATOR = "\n\n"
_BACKTICKS = re.compile(r"`{3,}")


class BlockKind(StrEnum):
    """What a block is; a chunker may keep some kinds whole."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST = "list"
    TABLE = "table"
    CODE = "code"
    QUOTE = "quote"


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of a document.

    ``text`` is Markdown: a heading without its ``#``, code without its fence, a table as a pipe table whose second line is the
    rule, a quote with its ``>``, a list with its markers. ``start`` and ``end`` are characters of the document's text, around
    the block as :func:`render` shows it. ``page`` counts from 1: the page, slide or sheet on which the block begins.
    """

    kind: BlockKind
    text: str
    start: int
    end: int
    level: int = 0  # 1–6, of a heading
    page: int | None = None
    language: str | None = None  # of code


@dataclass(frozen=True, slots=True)
class Parsed:
    """What is known when the last block was read. ``characters`` is the length of the document's text."""

    media_type: str
    title: str | None
    pages: int | None
    characters: int
    warnings: tuple[str, ...]


def render(kind: BlockKind, text: str, *, level: int = 0, language: str | None = None) -> str:
    """The block as it stands in the document's text. A fence is longer than any run of backticks in its code."""
    if kind is BlockKind.HEADING:
        return f"{'#' * level} {text}"
    if kind is BlockKind.CODE:
        fence = "`" * max((len(run) + 1 for run in _BACKTICKS.findall(text)), default=3)
        return f"{fence}{language or ''}\n{text}\n{fence}"
    return text


def render_document(blocks: Iterable[Block]) -> str:
    """The document's text."""
    return SEPARATOR.join(render(block.kind, block.text, level=block.level, language=block.language) for block in blocks)


def place(pieces: Iterable[tuple[BlockKind, str, int, int | None, str | None]]) -> Iterator[Block]:
    """Blocks with their spans, from kind, text, level, page and language in reading order."""
    position = 0
    for kind, text, level, page, language in pieces:
        end = position + len(render(kind, text, level=level, language=language))
        yield Block(kind, text, position, end, level, page, language)
        position = end + len(SEPARATOR)
