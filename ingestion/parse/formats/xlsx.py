"""XLSX: each sheet's filled ranges as tables."""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterator

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum

from ingestion.parse.archives import opened
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.markup import check_prolog
from ingestion.parse.office import core_title
from ingestion.parse.pieces import Facts, Piece, heading, one_line
from ingestion.parse.source import Source
from ingestion.parse.tables import pipe_table

# Of the merged ranges of a sheet; what lies beyond shows its text once.
_MAX_COVERED = 100_000

Cell = int | float | str | bool | datetime.time | datetime.date | datetime.datetime | datetime.timedelta | None


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """A heading with the name of each visible sheet, and a table for every run of rows without an empty one between them."""
    with opened(source) as archive:
        # Not ours to parse, so each part is looked at first.
        for name in archive.names:
            if name.endswith((".xml", ".rels")):
                with archive.member(name) as part:
                    check_prolog(part)
        facts.name(core_title(archive))
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(source.whole()))
        sheets = [one.name for one in book.sheets_metadata if _is_read(one.typ, one.visible)]
        facts.pages = len(sheets)
        for number, name in enumerate(sheets, 1):
            yield heading(name, 2, number)
            for rows in _tables(_merged(book.get_sheet_by_name(name))):
                yield from pipe_table(rows, number)
    except PasswordError as error:
        raise ParseFailed(FailureReason.ENCRYPTED, "the workbook needs a password") from error
    except CalamineError as error:
        raise ParseFailed(FailureReason.CORRUPT, "the workbook cannot be read") from error


def _is_read(kind: SheetTypeEnum, visible: SheetVisibleEnum) -> bool:
    return kind == SheetTypeEnum.WorkSheet and visible == SheetVisibleEnum.Visible


def _merged(sheet: CalamineSheet) -> Iterator[list[str]]:
    """Rows of texts, in which a merged cell stands in every cell that it covers."""
    origins: dict[tuple[int, int], tuple[int, int]] = {}
    for (top, left), (bottom, right) in sheet.merged_cell_ranges or ():
        if (bottom - top + 1) * (right - left + 1) + len(origins) <= _MAX_COVERED:
            origins |= {(row, column): (top, left) for row in range(top, bottom + 1) for column in range(left, right + 1)}
    kept: dict[tuple[int, int], str] = {}
    for number, row in enumerate(sheet.iter_rows()):
        cells = [_shown(cell) for cell in row]
        if origins:
            for column, text in enumerate(cells):
                origin = origins.get((number, column))
                if origin == (number, column):
                    kept[origin] = text
                elif origin is not None:
                    cells[column] = kept.get(origin, text)
        yield cells


def _tables(rows: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    """Runs of rows, without the columns that are empty in all of a run; columns apart by an empty one are tables of their own."""
    held: list[list[str]] = []
    for cells in rows:
        if any(cells):
            held.append(cells)
        elif held:
            yield from _beside(held)
            held = []
    if held:
        yield from _beside(held)


def _beside(rows: list[list[str]]) -> Iterator[list[list[str]]]:
    width = max(map(len, rows))
    filled = [any(column < len(row) and row[column] for row in rows) for column in range(width)]
    start: int | None = None
    for column in range(width + 1):
        if column < width and filled[column]:
            start = column if start is None else start
        elif start is not None:
            yield [row[start:column] for row in rows]
            start = None


def _shown(cell: Cell) -> str:
    match cell:
        case None | "":
            return ""
        case bool():
            return str(cell).upper()
        case float() if cell.is_integer() and abs(cell) < 1e15:
            return str(int(cell))
        case float():
            return f"{cell:.15g}"
        case datetime.datetime() if cell.time() == datetime.time():
            return cell.date().isoformat()
        case datetime.datetime():
            return cell.isoformat(sep=" ")
        case _:
            return one_line(str(cell))
