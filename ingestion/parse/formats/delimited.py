"""CSV and its kin: the delimiter is found, the rows become tables that each repeat the header."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.pieces import Facts, Piece
from ingestion.parse.source import Source
from ingestion.parse.tables import pipe_table

_DELIMITERS = ",;\t|"
_SAMPLE = 16_384
# A cell beyond this is a quote that was never closed.
_MAX_CELL = 1_000_000


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """Streams. Rows that have more cells than the header widen their table."""
    delimiter = delimiter_of(source.text().read(_SAMPLE), source.suffix)
    csv.field_size_limit(_MAX_CELL)
    try:
        yield from pipe_table(csv.reader(source.rows(_MAX_CELL), delimiter=delimiter or ","))
    except csv.Error as error:
        raise ParseFailed(FailureReason.CORRUPT, "a cell is too long; a quote may never be closed") from error


def delimiter_of(sample: str, suffix: str = "") -> str | None:
    """The delimiter with which the most of the first lines have the same number of cells, at least two; ``None`` without one."""
    if suffix == ".tsv":
        return "\t"
    lines = [line for line in sample.split("\n")[:50] if line.strip()]
    if len(lines) > 1 and len(sample) >= _SAMPLE:
        lines.pop()
    best: tuple[float, int, str] | None = None
    for delimiter in _DELIMITERS:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        usual = max(set(counts), key=counts.count, default=1)
        if usual > 1:
            score = (counts.count(usual) / len(counts), usual, delimiter)
            best = max(best, score) if best else score
    return best[2] if best else None


def looks_delimited(sample: str) -> bool:
    """Whether a text without a telling name is a table: three lines or more, all with the same three cells or more."""
    lines = [line for line in sample.split("\n")[:30] if line.strip()]
    delimiter = delimiter_of(sample)
    if delimiter is None or len(lines) < 3 or " " in (line[:1] for line in lines):
        return False
    counts = {len(row) for row in csv.reader(lines[:-1], delimiter=delimiter)}
    return len(counts) == 1 and counts.pop() >= 3
