"""What the parsing process says: one JSON array a line. The reading side trusts none of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ingestion.document import BlockKind
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.pieces import MAX_BLOCK, MAX_TITLE, MAX_WARNINGS, Facts, Piece

# The variable that tells the process what to do: not the command line, which everybody on the machine may read.
REQUEST = "MEMORYD_PARSE"
# Bytes of the longest line: each character of a block may take four as UTF-8, and six in its escape as JSON.
MAX_LINE = 6 * MAX_BLOCK + 4_096
_MAX_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Titled:
    """Before the first block: the document says what it is called."""

    title: str


@dataclass(frozen=True, slots=True)
class Done:
    """The last line: every block was read."""

    media_type: str
    title: str | None
    pages: int | None
    warnings: tuple[str, ...]


def title_line(title: str) -> bytes:
    """What the document is called, as far as is known before its first block."""
    return _line(["title", title])


def piece_line(piece: Piece) -> bytes:
    """A block, without its place, which the reader counts itself."""
    return _line(["block", piece.kind, piece.text, piece.level, piece.page, piece.language])


def done_line(media_type: str, facts: Facts) -> bytes:
    """The end."""
    return _line(["done", media_type, facts.title, facts.pages, facts.warnings])


def failed_line(failure: ParseFailed) -> bytes:
    """The end, for a reason."""
    return _line(["failed", failure.reason, failure.detail[:_MAX_DETAIL]])


def read_line(line: bytes) -> Titled | Piece | Done | ParseFailed:
    """One line. Raises ``ValueError`` for anything that this module does not write."""
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    match message:
        case ["block", str(kind), str(text), int(level), page, language] if 0 < len(text) <= MAX_BLOCK and 0 <= level <= 6:
            if (level > 0) == (kind == BlockKind.HEADING):
                return Piece(BlockKind(kind), _storable(text), level, _count(page), _optional(language))
        case ["title", str(title)] if title:
            return Titled(_optional(title) or "")
        case ["done", str(media_type), title, pages, list(warnings)] if len(warnings) <= MAX_WARNINGS:
            return Done(_optional(media_type) or "", _optional(title), _count(pages), tuple(_texts(warnings)))
        case ["failed", str(reason), str(detail)] if len(detail) <= _MAX_DETAIL:
            return ParseFailed(FailureReason(reason), _storable(detail))
    raise ValueError("not a line of the parser")


def _line(message: list[object]) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode("utf-8", errors="replace") + b"\n"


def _storable(text: str) -> str:
    """PostgreSQL stores no zero, and UTF-8 no lone surrogate; an honest parser sends neither."""
    if "\x00" in text:
        raise ValueError("a text holds a zero")
    text.encode()
    return text


def _optional(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and len(value) <= MAX_TITLE):
        raise ValueError("not a short text")
    return None if value is None else _storable(value)


def _count(value: object) -> int | None:
    if value is not None and not (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31):
        raise ValueError("not a number of pages")
    return value


def _texts(values: Sequence[object]) -> list[str]:
    return [_optional(value) or "" for value in values]
