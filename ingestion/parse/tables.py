"""Pipe tables from rows, in blocks of bounded size that each repeat the header."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ingestion.document import BlockKind
from ingestion.parse.pieces import MAX_BLOCK, Piece, one_line

# Wider tables cannot be read as Markdown; what is beyond stays in the last cell.
MAX_COLUMNS = 200


def pipe_table(rows: Iterable[Sequence[str]], page: int | None = None) -> Iterator[Piece]:
    """Tables of the rows; the first row is the header, and every block has it. Empty rows are left out.

    A row that is too long for a table becomes a list of its named cells.
    """
    header: list[str] | None = None
    held: list[list[str]] = []
    shown = False
    for row in rows:
        cells = _cells(row)
        if not cells:
            continue
        if header is None:
            header, written, width = cells, _written(cells), len(cells)
            continue
        grown = max(width, len(cells))
        if _size(written + _written(cells), grown, len(held) + 3) > MAX_BLOCK:
            if held:
                yield _table(header, held, page)
                held, written, width, shown = [], _written(header), len(header), True
            grown = max(width, len(cells))
            if _size(written + _written(cells), grown, 3) > MAX_BLOCK:
                yield _listed(header, cells, page)
                shown = True
                continue
        held.append(cells)
        written, width = written + _written(cells), grown
    if header is not None and (held or not shown):
        fits = _size(_written(header), len(header), 2) <= MAX_BLOCK
        yield _table(header, held, page) if fits else _listed([], header, page)


def _written(cells: Sequence[str]) -> int:
    return sum(map(len, cells))


def _size(written: int, width: int, lines: int) -> int:
    """Characters of a table: cells, and the rules around ``width`` cells in each of ``lines``, one of them ``---``."""
    return written + lines * (3 * width + 2) + 3 * width


def _cells(row: Sequence[str]) -> list[str]:
    cells = [one_line(cell).replace("|", "\\|") for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells if len(cells) <= MAX_COLUMNS else [*cells[: MAX_COLUMNS - 1], " ".join(cells[MAX_COLUMNS - 1 :])]


def _table(header: list[str], rows: list[list[str]], page: int | None) -> Piece:
    width = max(len(header), *(len(row) for row in rows)) if rows else len(header)
    lines = [_line(header, width), "|" + " --- |" * width, *(_line(row, width) for row in rows)]
    return Piece(BlockKind.TABLE, "\n".join(lines), page=page)


def _line(cells: Sequence[str], width: int) -> str:
    return "| " + " | ".join([*cells, *[""] * (width - len(cells))]) + " |"


def _listed(header: Sequence[str], cells: Sequence[str], page: int | None) -> Piece:
    names = [*header, *[""] * (len(cells) - len(header))]
    lines = (f"- {name}: {cell}" if name else f"- {cell}" for name, cell in zip(names, cells, strict=False) if cell)
    return Piece(BlockKind.LIST, "\n".join(lines), page=page)
