"""The grid of an HTML table, with spans filled in."""

from __future__ import annotations

from collections.abc import Callable

from ingestion.parse.markup import Element

# A page may claim spans of thousands of cells.
_MAX_SPAN = 50
_MAX_CELLS = 200_000


def grid(table: Element, shown: Callable[[Element], str]) -> list[list[str]]:
    """Rows of cell texts. A cell that spans several stands in each of them, so that every row can be read by itself."""
    rows: list[list[str]] = []
    # By column: the text that reaches down into the next row, and for how many more.
    hanging: dict[int, tuple[str, int]] = {}
    cells = 0
    for row in table.iter("tr"):
        line: list[str] = []
        below = {column: (text, left - 1) for column, (text, left) in hanging.items() if left > 1}
        for cell in row.iterchildren("td", "th"):
            _fill(line, hanging)
            text = shown(cell).replace("\n", " ")
            down = _span(cell.get("rowspan"))
            for _ in range(_span(cell.get("colspan"))):
                if down > 1:
                    below[len(line)] = (text, down - 1)
                line.append(text)
        _fill(line, hanging)
        cells += len(line)
        if cells > _MAX_CELLS:
            break
        hanging = below
        rows.append(line)
    return rows


def _fill(line: list[str], hanging: dict[int, tuple[str, int]]) -> None:
    while len(line) in hanging:
        line.append(hanging[len(line)][0])


def _span(value: str | None) -> int:
    return min(max(int(value), 1), _MAX_SPAN) if value and value.strip().isascii() and value.strip().isdigit() else 1
