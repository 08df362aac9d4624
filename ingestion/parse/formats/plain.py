"""Plain text: paragraphs between empty lines."""

from __future__ import annotations

from collections.abc import Iterator

from ingestion.parse.pieces import MAX_BLOCK, Facts, Piece, paragraph
from ingestion.parse.source import Source


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """Streams; a paragraph beyond the size of a block is given in parts."""
    held: list[str] = []
    length = 0
    for line in source.lines():
        if not line.strip() or length + len(line) > MAX_BLOCK:
            if held:
                yield paragraph("\n".join(held))
            held, length = [], 0
        if line.strip():
            held.append(line.rstrip())
            length += len(line) + 1
    if held:
        yield paragraph("\n".join(held))
