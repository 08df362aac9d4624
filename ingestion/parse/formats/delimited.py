"""CSV and its kin: the delimiter is found, the rows become tables that each repeat the header."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator

from ingestion.parse.pieces import Facts, Piece
from ingestion.parse.source import Source
from ingestion.parse.tables import pipe_table

_DELIMITERS = ",;\t|"
_SAMPLE = 16_384
# A cell of more characters, or of more lines, is a quote that was never closed.
_MAX_CELL = 1_000_000
_MAX_LINES = 1_000


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """Streams. Rows that have more cells than the header widen their table."""
    delimiter = delimiter_of(source.text().read(_SAMPLE), source.suffix)
    yield from pipe_table(_Rows(source.rows(_MAX_CELL), delimiter or ",", facts))


class _Rows:
    """Rows of cells. A quote encloses a cell if it opens it and another closes it there; every other quote is a part of its text,
    so that one that is never closed takes no rows with it."""

    def __init__(self, lines: Iterator[str], delimiter: str, facts: Facts) -> None:
        self._lines = lines
        self._ahead: deque[str] = deque()
        self._delimiter = delimiter
        self._facts = facts
        # Where tabs divide cells, quotes are mostly text: a cell that spans lines has no tab in it.
        inside = r'(?:[^"\t]|"")*+' if delimiter == "\t" else r'(?:[^"]|"")*+'
        self._inside = re.compile(inside)
        self._opened = re.compile(rf'"{inside}\Z')
        # Some writers put blanks between a cell's end and the delimiter.
        self._closed = re.compile(rf'" *+(?={re.escape(delimiter)}|\n|\Z)')
        self._enclosed = re.compile(rf'"((?:[^"]|"")*+)" *+(?={re.escape(delimiter)}|\Z)')

    def __iter__(self) -> Iterator[list[str]]:
        while (line := self._next()) is not None:
            yield self._row(line) if '"' in line else line.removesuffix("\n").split(self._delimiter)

    def _next(self) -> str | None:
        return self._ahead.popleft() if self._ahead else next(self._lines, None)

    def _row(self, line: str) -> list[str]:
        text, size, cells, place, closed = line.removesuffix("\n"), len(line), list[str](), 0, True
        while True:
            enclosed = self._enclosed.match(text, place)
            if enclosed:
                end = enclosed.end()
                cells.append(enclosed[1].replace('""', '"'))
            elif closed and self._opened.match(text, place):
                # A row of more than the longest cell is none either.
                rest = self._rest() if size < _MAX_CELL else None
                if rest is None:
                    closed = False
                    self._facts.warn("a quote that is never closed is read as text")
                else:
                    # The cells in front are not read again.
                    text, size, place = text[place:] + "\n" + rest.removesuffix("\n"), size + len(rest), 0
                continue
            else:
                end = text.find(self._delimiter, place)
                end = len(text) if end < 0 else end
                cells.append(text[place:end])
            if end == len(text):
                return cells
            place = end + 1

    def _rest(self) -> str | None:
        """The lines that close the cell; ``None``, and none of them is taken, if it is not closed where it could end."""
        taken, size = list[str](), 0
        while len(taken) < _MAX_LINES and size < _MAX_CELL and (line := self._next()) is not None:
            taken.append(line)
            size += len(line)
            found = self._inside.match(line)
            end = found.end() if found else 0
            if end == len(line):
                continue
            if self._closed.match(line, end):
                return "".join(taken)
            break
        self._ahead.extendleft(reversed(taken))
        return None


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
