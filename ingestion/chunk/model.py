"""What chunking is asked for, and what it gives."""

from dataclasses import dataclass
from enum import StrEnum

CHUNKER_VERSION = "1"
"""Goes up when the same blocks give other chunks: documents are then cut again when they are ingested again."""

SECTION_TOKENS = 2048
"""A section holds at most so many tokens; what is longer becomes several of one path."""


class Strategy(StrEnum):
    """How documents are cut."""

    FACT = "fact"
    CONTEXT = "context"
    STRUCTURAL = "structural"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Chunking:
    """``max_tokens`` a chunk, in the embedder's tokenizer and with its prefix; ``overlap_tokens`` between neighbours."""

    strategy: Strategy = Strategy.STRUCTURAL
    max_tokens: int = 384
    overlap_tokens: int = 32


class Kind(StrEnum):
    """What most of a chunk is."""

    PROSE = "prose"
    TABLE = "table"
    CODE = "code"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Chunk:
    """The unit that is embedded and indexed, as its ``content``: prefix and text; ``tokens`` counts both.

    ``ordinal`` counts over the document, ``section`` names the parent. ``text`` is the document's text from ``start`` to
    ``end``; where that begins inside a table, the table's header rows stand before it. Pages count from 1.
    """

    ordinal: int
    section: int
    text: str
    prefix: str
    content: str
    kind: Kind
    start: int
    end: int
    page_first: int | None
    page_last: int | None
    tokens: int


@dataclass(frozen=True, slots=True)
class Section:
    """The parent of its chunks: a heading's part of the document, of at most 2,048 tokens.

    ``path`` holds the headings above the text and its own, outermost first, each of at most 300 characters. ``text`` is the
    document's text from ``start`` to ``end``, with the header rows before it where that begins inside a table. ``tokens`` is
    the sum over its blocks.
    """

    ordinal: int
    path: tuple[str, ...]
    text: str
    start: int
    end: int
    page_first: int | None
    page_last: int | None
    tokens: int
    chunks: tuple[Chunk, ...]
