"""PPTX: each slide's title, texts, tables, charts, diagrams and notes."""

from __future__ import annotations

from collections.abc import Iterator

from ingestion.document import BlockKind
from ingestion.parse.archives import Archive, opened
from ingestion.parse.markup import Element, root_of
from ingestion.parse.office import Relation, core_title, main_part, part_of, relations
from ingestion.parse.pieces import Facts, Piece, heading, one_line, paragraph
from ingestion.parse.source import Source
from ingestion.parse.tables import pipe_table

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_D = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_R_ID = f"{_R}id"
_TITLES = ("title", "ctrTitle")
_DECORATION = ("dt", "ftr", "sldNum", "hdr")


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """Slides in the order of the presentation, hidden ones too; ``page`` is the slide's number."""
    with opened(source) as archive:
        main = main_part(archive)
        facts.name(core_title(archive))
        related = relations(archive, main)
        slides = [
            related[one.get(_R_ID)].target for one in root_of(archive, main).iter(f"{_P}sldId") if one.get(_R_ID) in related
        ]
        facts.pages = len(slides)
        for number, part in enumerate(slides, 1):
            if part not in archive.names:
                facts.warn(f"slide {number} is missing")
                continue
            for piece in _slide(archive, part):
                yield Piece(piece.kind, piece.text, piece.level, number)


def _slide(archive: Archive, part: str) -> Iterator[Piece]:
    root = root_of(archive, part)
    shapes = [found for found in root.iter(f"{_P}sp", f"{_P}graphicFrame") if _role(found) not in _DECORATION]
    # The title is read first, wherever it lies in the stack of shapes; then downwards, where every shape says where it is.
    tops = {shape: _top(shape) for shape in shapes if _role(shape) not in _TITLES}
    placed = all(top is not None for top in tops.values())
    shapes.sort(key=lambda shape: (shape in tops, (tops.get(shape) or 0) if placed else 0))
    related = relations(archive, part)
    for shape in shapes:
        if _role(shape) in _TITLES:
            yield heading(" ".join(_lines(shape)), 1)
            continue
        for table in shape.iter(f"{_A}tbl"):
            yield from pipe_table(_rows(table))
        for chart in shape.iter(f"{_C}chart"):
            for root in _related(archive, related, chart.get(_R_ID)):
                yield from _chart(root)
        for diagram in shape.iter(f"{_D}relIds"):
            for root in _related(archive, related, diagram.get(f"{_R}dm")):
                yield _diagram(root)
        if shape.tag == f"{_P}sp":
            yield from _texts(shape)
    notes = part_of(archive, related, "notesSlide")
    if notes:
        for shape in root_of(archive, notes).iter(f"{_P}sp"):
            if _role(shape) == "body":
                text = "\n".join(_lines(shape))
                yield paragraph(f"Notes: {text}" if text else "")


def _related(archive: Archive, related: dict[str, Relation], key: str | None) -> Iterator[Element]:
    """The part of that relation, where it is there."""
    relation = related.get(key or "")
    if relation is not None and relation.target in archive.names:
        yield root_of(archive, relation.target)


def _role(shape: Element) -> str:
    """The placeholder's type; ``obj`` for one that names none, nothing for a free shape."""
    found = next(shape.iter(f"{_P}ph"), None)
    return "" if found is None else str(found.get("type") or "obj")


def _top(shape: Element) -> int | None:
    """The distance from the slide's upper edge; none for a placeholder that stands where its layout puts it."""
    place = next(shape.iter(f"{_A}off", f"{_P}grpSpPr"), None)
    inside = shape.getparent().tag == f"{_P}grpSp"
    value = None if place is None or inside else place.get("y")
    return int(value) if value is not None and value.lstrip("-").isdigit() else None


def _texts(shape: Element) -> Iterator[Piece]:
    """Paragraphs, and runs of items as lists."""
    listed: list[str] = []
    counts: dict[int, int] = {}
    for element in shape.iter(f"{_A}p"):
        text = _line(element)
        if not text:
            continue
        properties = element.find(f"{_A}pPr")
        depth = min(int(properties.get("lvl") or 0), 8) if properties is not None else 0
        marker = _marker(properties, depth, counts, placeholder=_role(shape) in ("body", "obj"))
        if marker is None:
            yield Piece(BlockKind.LIST, "\n".join(listed))
            listed, counts = [], {}
            yield paragraph(text)
        else:
            listed.append(f"{'    ' * depth}{marker} {one_line(text)}")
    yield Piece(BlockKind.LIST, "\n".join(listed))


def _marker(properties: Element | None, depth: int, counts: dict[int, int], *, placeholder: bool) -> str | None:
    """A number, a dash, or nothing. Of what the layout adds to a placeholder, only bullets below the first level are assumed."""
    if properties is not None and properties.find(f"{_A}buAutoNum") is not None:
        counts[depth] = counts.get(depth, 0) + 1
        return f"{counts[depth]}."
    if properties is not None and properties.find(f"{_A}buChar") is not None:
        return "-"
    none = properties is not None and properties.find(f"{_A}buNone") is not None
    return "-" if placeholder and not none and (depth > 0 or counts) else None


def _lines(shape: Element) -> list[str]:
    return [text for text in map(_line, shape.iter(f"{_A}p")) if text]


def _line(element: Element) -> str:
    parts = (child.text or "" if child.tag == f"{_A}t" else "\n" for child in element.iter(f"{_A}t", f"{_A}br"))
    return "".join(parts).strip()


def _rows(table: Element) -> Iterator[list[str]]:
    above: list[str] = []
    for row in table.iterchildren(f"{_A}tr"):
        line: list[str] = []
        for cell in row.iterchildren(f"{_A}tc"):
            if cell.get("vMerge") in ("1", "true") and len(line) < len(above):
                line.append(above[len(line)])
            elif cell.get("hMerge") in ("1", "true") and line:
                line.append(line[-1])
            else:
                line.append(" ".join(_lines(cell)))
        above = line
        yield line


def _diagram(root: Element) -> Piece:
    """The texts of SmartArt's shapes as a list, in the order in which they were made."""
    points = (one_line(" ".join(_lines(point))) for point in root.iter(f"{_D}pt"))
    return Piece(BlockKind.LIST, "\n".join(f"- {text}" for text in points if text))


def _chart(root: Element) -> Iterator[Piece]:
    """The chart's title, and its cached figures as a table: a row a category, a column a series."""
    title = next(root.iter(f"{_C}title"), None)
    if title is not None:
        yield paragraph("".join(found.text or "" for found in title.iter(f"{_A}t")))
    columns: dict[str, dict[str, str]] = {}
    for number, series in enumerate(root.iter(f"{_C}ser"), 1):
        name = next((value for value in _cached(series, "tx").values()), f"series {number}")
        labels = _cached(series, "cat") or _cached(series, "xVal")
        values = _cached(series, "val") or _cached(series, "yVal")
        columns[name] = {labels.get(index, str(index + 1)): value for index, value in values.items()}
    rows = list(dict.fromkeys(label for column in columns.values() for label in column))
    yield from pipe_table([["", *columns], *([row, *(column.get(row, "") for column in columns.values())] for row in rows)])


def _cached(series: Element, kind: str) -> dict[int, str]:
    holder = series.find(f"{_C}{kind}")
    if holder is None:
        return {}
    points = {int(point.get("idx") or 0): point.findtext(f"{_C}v") or "" for point in holder.iter(f"{_C}pt")}
    plain = holder.findtext(f"{_C}v")
    return points or ({0: plain} if plain else {})
