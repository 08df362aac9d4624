"""Pipe tables from rows, in blocks of bounded size that each repeat the header."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from ingestion.document import BlockKind
from ingestion.parse.pieces import MAX_BLOCK, Piece, one_line

# Wider tables cannot be read as Markdown; what is beyond stays in the last cell.
MAX_COLUMNS = 200
# Of a header that stands in every block: so many characters, or so many of each cell.
_MOST_REPEATED = MAX_BLOCK // 4
_LABEL = 60


def pipe_table(rows: Iterable[Sequence[str]], page: int | None = None) -> Iterator[Piece]:
    """Tables of the rows; the first row is the header, and every block has it. Empty rows are left out.

    A row that is too long for a table becomes a list of its named cells. A header too long to be repeated is said once; in the
    blocks below, the beginnings of its cells stand for it.
    """
    header: list[str] | None = None
    held: list[list[str]] = []
    shown = False
    for cells in filter(None, map(_cells, rows)):
        if header is None:
            header, written, width = cells, _written(cells), len(cells)
            continue
        if not _fits(written + _written(cells), max(width, len(cells)), len(held) + 3):
            if held:
                yield _table(header, held, page)
                held, shown = [], True
            if not shown and not _names_all(header, cells):
                yield _alone(header, page)
                shown = True
            if shown:
                header = _repeated(header)
            written, width = _written(header), len(header)
            if not _fits(written + _written(cells), max(width, len(cells)), 3):
                yield _listed(header, cells, page)
                shown = True
                continue
        held.append(cells)
        written, width = written + _written(cells), max(width, len(cells))
    if header is not None and held:
        yield _table(header, held, page)
    elif header is not None and not shown:
        yield _alone(header, page)


def _repeated(header: list[str]) -> list[str]:
    """What stands for the header where it was said already."""
    if _written(header) <= _MOST_REPEATED:
        return header
    most = max(2, min(_LABEL, _MOST_REPEATED // len(header)))
    return [cell if len(cell) <= most else cell[: most - 1].rstrip(" \\") + "…" for cell in header]


def _names_all(header: list[str], cells: list[str]) -> bool:
    """Whether a list of ``cells`` says the whole header."""
    unnamed = (name and not cell for name, cell in zip_longest(header, cells, fillvalue=""))
    return _written(header) <= _MOST_REPEATED and not any(unnamed)


def _alone(header: list[str], page: int | None) -> Piece:
    return _table(header, [], page) if _fits(_written(header), len(header), 2) else _listed([], header, page)


def _written(cells: Sequence[str]) -> int:
    return sum(map(len, cells))


def _fits(written: int, width: int, lines: int) -> bool:
    """Whether a table is no larger than a block: its cells, and the rules around ``width`` of them in each of ``lines``."""
    return written + lines * (3 * width + 2) + 3 * width <= MAX_BLOCK


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
