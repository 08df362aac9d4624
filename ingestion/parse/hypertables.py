"""The grid of an HTML table, with spans filled in."""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from ingestion.parse.markup import Element

# A page may claim spans of thousands of cells, in every cell. As many copies are made as there are cells, and so many more.
_MAX_SPAN = 50
_MAX_COPIES = 200_000


def grid(table: Element, shown: Callable[[Element], str]) -> list[list[str]]:
    """Rows of cell texts. A cell that spans several stands in each of them, so that every row can be read by itself.

    Of a table that is nearly nothing but spans, later cells stand only where they are.
    """
    _put_in_rows(table)
    rows: list[list[str]] = []
    # By column: the text that reaches down into the next row, and for how many more.
    hanging: dict[int, tuple[str, int]] = {}
    room = _MAX_COPIES
    for row in table.iter("tr"):
        line: list[str] = []
        below = {column: (text, left - 1) for column, (text, left) in hanging.items() if left > 1}
        for cell in row.iterchildren("td", "th"):
            _fill(line, hanging)
            text = shown(cell).replace("\n", " ")
            down, across = (_span(cell.get(name)) if room > 0 else 1 for name in ("rowspan", "colspan"))
            room += 2 - down * across
            for _ in range(across):
                if down > 1:
                    below[len(line)] = (text, down - 1)
                line.append(text)
        _fill(line, hanging)
        hanging = below
        rows.append(line)
    return rows


def _put_in_rows(table: Element) -> None:
    """Puts cells without a row into one, those side by side into the same, as browsers do."""
    made: set[Element] = set()
    for cell in list(table.iter("td", "th")):
        if cell.getparent().tag == "tr" or next(cell.iterancestors("td", "th", "table")) is not table:
            continue
        row = cell.getprevious()
        if row not in made:
            row = etree.Element("tr")
            made.add(row)
            cell.addprevious(row)
        row.append(cell)


def _fill(line: list[str], hanging: dict[int, tuple[str, int]]) -> None:
    while len(line) in hanging:
        line.append(hanging[len(line)][0])


def _span(value: str | None) -> int:
    return min(max(int(value), 1), _MAX_SPAN) if value and value.strip().isascii() and value.strip().isdigit() else 1
