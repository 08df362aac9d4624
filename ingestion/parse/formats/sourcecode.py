"""Source code, and data languages that are read as they stand."""

from __future__ import annotations

from collections.abc import Iterator

from ingestion.parse.languages import language_of
from ingestion.parse.pieces import MAX_BLOCK, Facts, Piece, code
from ingestion.parse.source import Source


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """Streams code blocks; a long file is divided where a line at the margin follows an empty one."""
    language = language_of(source)
    held: list[str] = []
    length, seam = 0, 0
    for line in source.lines():
        if length + len(line) + 1 > MAX_BLOCK and held:
            at = seam or len(held)
            yield code("\n".join(held[:at]), language)
            held = held[at:]
            length, seam = sum(len(one) + 1 for one in held), 0
            if length + len(line) + 1 > MAX_BLOCK:
                yield code("\n".join(held), language)
                held, length = [], 0
        if held and not held[-1].strip() and line[:1].strip() and length > MAX_BLOCK // 4:
            seam = len(held)
        held.append(line)
        length += len(line) + 1
    yield code("\n".join(held), language)
