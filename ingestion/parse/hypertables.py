"""The grid of an HTML table, with spans filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ingestion.parse.markup import Element

# A page may claim spans of thousands of cells, in every cell. As many copies are made as there are cells, and so many more.
_MAX_SPAN = 50
_MAX_COPIES = 200_000
_CELLS = ("td", "th")
_GROUPS = ("tbody", "thead", "tfoot", "table")


def grid(table: Element, shown: Callable[[Element], str]) -> list[list[str]]:
    """Rows of cell texts. A cell that spans several stands in each of them, so that every row can be read by itself.

    Of a table that is nearly nothing but spans, later cells stand only where they are.
    """
    rows: list[list[str]] = []
    # By column: the text that reaches down into the next row, and for how many more.
    hanging: dict[int, tuple[str, int]] = {}
    room = _MAX_COPIES
    for cells in _rows(table):
        line: list[str] = []
        below = {column: (text, left - 1) for column, (text, left) in hanging.items() if left > 1}
        for cell in cells:
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


def _rows(table: Element) -> Iterable[list[Element]]:
    """The cells of each row, also those that a form or a font within it holds. Cells without a row are in one up to the next row
    or group of rows, as browsers have them."""
    rows: dict[Element, list[Element]] = {}
    group = first = None
    for element in table.iter("tr", *_CELLS):
        if element.tag == "tr":
            rows[element], group = [], None
            continue
        above = next(element.iterancestors("tr", "table", *_CELLS))
        if above.tag == "tr":
            rows[above].append(element)
        elif above is table:
            own = next(element.iterancestors(*_GROUPS))
            if own is not group:
                group, first = own, element
                rows[first] = []
            rows[first].append(element)
    return rows.values()


def _fill(line: list[str], hanging: dict[int, tuple[str, int]]) -> None:
    while len(line) in hanging:
        line.append(hanging[len(line)][0])


def _span(value: str | None) -> int:
    return min(max(int(value), 1), _MAX_SPAN) if value and value.strip().isascii() and value.strip().isdigit() else 1
