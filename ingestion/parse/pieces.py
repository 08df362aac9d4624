"""What a format yields: pieces of Markdown, cut to a bounded size."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from ingestion.document import BlockKind

# Characters of the largest block: at most 64 KiB of UTF-8.
MAX_BLOCK = 16_384
MAX_HEADING = 1_000
MAX_TITLE = 500
MAX_WARNINGS = 50
_MAX_WARNING = 300
# Everything that is no character of a text: controls but tab and line feed, and lone surrogates.
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_NAMED_CODE = re.compile(r"[^\w+#.-]")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A block whose place is not known yet."""

    kind: BlockKind
    text: str
    level: int = 0
    page: int | None = None
    language: str | None = None


@dataclass(slots=True)
class Facts:
    """What a format learns about the document beside its blocks."""

    title: str | None = None
    pages: int | None = None
    warnings: list[str] = field(default_factory=list)

    def name(self, title: str | None) -> None:
        """Takes the first title that says something."""
        words = one_line(title or "")[:MAX_TITLE]
        self.title = self.title or words or None

    def warn(self, text: str) -> None:
        """Notes what a reader should know; the same thing once, and no more than a page of them."""
        line = one_line(text)[:_MAX_WARNING]
        if line not in self.warnings and len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(line)


def heading(text: str, level: int, page: int | None = None) -> Piece:
    """A heading, on one line."""
    return Piece(BlockKind.HEADING, one_line(text), min(max(level, 1), 6), page)


def paragraph(text: str, page: int | None = None) -> Piece:
    """A paragraph."""
    return Piece(BlockKind.PARAGRAPH, text, page=page)


def code(text: str, language: str | None = None, page: int | None = None) -> Piece:
    """Code, without its fence."""
    return Piece(BlockKind.CODE, text, page=page, language=language)


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return _SPACES.sub(" ", clean(text)).strip()


def clean(text: str) -> str:
    """The text without what is no text."""
    return _UNWANTED.sub("", text)


def finish(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Pieces that can be sent: clean, not empty, none larger than :data:`MAX_BLOCK`."""
    for piece in pieces:
        text = clean(piece.text)
        text = text.strip("\n").rstrip() if piece.kind in (BlockKind.CODE, BlockKind.LIST) else text.strip()
        if not text:
            continue
        language = _NAMED_CODE.sub("", piece.language)[:40] if piece.language else None
        if piece.kind is BlockKind.HEADING and len(text) > MAX_HEADING:
            piece = Piece(BlockKind.PARAGRAPH, text, page=piece.page)
        for part in cut(text, MAX_BLOCK, lines_only=piece.kind in (BlockKind.CODE, BlockKind.TABLE)):
            yield replace(piece, text=part, language=language or None)


def cut(text: str, size: int, *, lines_only: bool = False) -> Iterator[str]:
    """Parts of at most ``size`` characters that end, where it can be had, with a paragraph, a line, a sentence or a word."""
    marks = ("\n",) if lines_only else ("\n\n", "\n", ". ", " ")
    start = 0
    while len(text) - start > size:
        found = (text.rfind(mark, start + size // 2, start + size) for mark in marks)
        end = next((position + 1 for position in found if position >= 0), start + size)
        part = text[start:end]
        yield part.strip("\n") if lines_only else part.strip()
        start = end
    rest = text[start:]
    last = rest.strip("\n") if lines_only else rest.rstrip().lstrip("\n")
    if last:
        yield last


def batches(lines: Iterable[str], size: int = MAX_BLOCK) -> Iterator[str]:
    """Lines joined into texts of at most ``size`` characters (one line may be longer)."""
    held: list[str] = []
    length = 0
    for line in lines:
        if held and length + len(line) + 1 > size:
            yield "\n".join(held)
            held, length = [], 0
        held.append(line)
        length += len(line) + 1
    if held:
        yield "\n".join(held)


def pages_named(numbers: Iterable[int]) -> str:
    """``3, 5, 8`` or, of many, the first ten and an ellipsis."""
    shown = list(islice(numbers, 11))
    return ", ".join(str(number) for number in shown[:10]) + (", …" if len(shown) > 10 else "")
