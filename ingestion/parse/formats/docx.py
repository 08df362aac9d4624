"""DOCX: paragraphs and tables of the body, one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from textwrap import dedent

from ingestion.document import BlockKind
from ingestion.parse.archives import Archive, opened
from ingestion.parse.links import link
from ingestion.parse.markup import Element, children_of
from ingestion.parse.office import Relation, core_title, main_part, part_of, relations
from ingestion.parse.pieces import Facts, Piece, code, heading, one_line, paragraph
from ingestion.parse.source import Source
from ingestion.parse.tables import pipe_table
from ingestion.parse.wordstyles import Numbering, Styles, W

_R_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_MATH_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_BOX = f"{W}txbxContent"
_UNREAD = frozenset((_FALLBACK, f"{W}del", f"{W}moveFrom", f"{W}instrText", f"{W}pPr", f"{W}rPr", _BOX))
_MONOSPACED = re.compile(
    r"courier|consolas|menlo|monaco|mono\b|lucida console|typewriter|fira code|source code pro", re.IGNORECASE
)
_CODE_MARKS = re.compile(r"[{}\[\]();=<>]|^\s*(?:import|from|def|class|return|if|for|while)\b")
_MAX_SPAN = 60
_NOTES = {f"{W}footnoteReference": "footnote", f"{W}endnoteReference": "endnote"}


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """The body, then the footnotes and the endnotes. Deleted text, comments, headers and footers are left out."""
    with opened(source) as archive:
        part = main_part(archive)
        related = relations(archive, part)
        facts.name(core_title(archive))
        styles = Styles.read(archive, part_of(archive, related, "styles"))
        numbering = Numbering.read(archive, part_of(archive, related, "numbering"))
        yield from _Body(styles, numbering, related, facts).merged(children_of(archive, part, f"{W}body"))
        for kind in _NOTES.values():
            notes = part_of(archive, related, f"{kind}s")
            if notes:
                yield from _noted(archive, notes, kind)


@dataclass(slots=True)
class _Body:
    styles: Styles
    numbering: Numbering
    related: dict[str, Relation]
    facts: Facts
    _titled: bool = field(default=False)

    def merged(self, elements: Iterable[Element]) -> Iterator[Piece]:
        """Pieces, with list items that follow one another as one list, and lines of code as one block."""
        held: Piece | None = None
        for piece in self._pieces(elements):
            joins = held is not None and piece.kind is held.kind and piece.kind in (BlockKind.LIST, BlockKind.CODE)
            if joins and held is not None and len(held.text) + len(piece.text) < 8_000:
                held = Piece(held.kind, f"{held.text}\n{piece.text}")
                continue
            if held is not None:
                yield _at_margin(held)
            held = piece
        if held is not None:
            yield _at_margin(held)

    def _pieces(self, elements: Iterable[Element]) -> Iterator[Piece]:
        for element in elements:
            if element.tag == f"{W}p":
                yield from self._paragraph(element)
            elif element.tag == f"{W}tbl":
                yield from self._table(element)
            elif element.tag not in _UNREAD:
                # Content controls, insertions and the like.
                yield from self._pieces(element)

    def _paragraph(self, element: Element) -> Iterator[Piece]:
        text = self._text(element).strip("\n")
        if text.strip():
            yield self._piece(element, text)
        within = next(element.iterancestors(_BOX), None)
        for box in element.iter(_BOX):
            # Boxes within boxes are read with those.
            if next(box.iterancestors(_BOX), None) is within and not _stands_in(box):
                yield from self._pieces(box)

    def _piece(self, element: Element, text: str) -> Piece:
        style = self.styles.of(element)
        if style.name in ("title", "subtitle") or style.outline is not None:
            # Below a title, the first level of headings is the second of the document.
            level = {"title": 1, "subtitle": 2}.get(style.name, (style.outline or 0) + 1 + self._titled)
            self._titled = self._titled or style.name == "title"
            if style.name == "title":
                self.facts.name(text)
            return heading(text, level)
        if self._is_code(element, style.name, style.font, text):
            return code(text)
        marker = self.numbering.marker(style)
        if marker is not None:
            return Piece(BlockKind.LIST, marker + text.strip().replace("\n", " "))
        if "quote" in style.name:
            return Piece(BlockKind.QUOTE, "\n".join(f"> {line}".rstrip() for line in text.strip().split("\n")))
        return paragraph(text)

    def _is_code(self, element: Element, style: str, font: str, text: str) -> bool:
        if style in ("code", "source code", "html preformatted", "code block", "preformatted text", "macro text"):
            return True
        fonts = [
            next((found.get(f"{W}ascii") or "" for found in run.iter(f"{W}rFonts")), font)
            for run in element.iter(f"{W}r")
            if next(run.iter(f"{W}t"), None) is not None
        ]
        return bool(fonts) and all(map(_MONOSPACED.search, fonts)) and bool(_CODE_MARKS.search(text))

    def _text(self, element: Element) -> str:
        parts: list[str] = []
        for child in element:
            tag = child.tag
            if tag in _UNREAD:
                continue
            if tag in (f"{W}t", _MATH_TEXT):
                parts.append(child.text or "")
            elif tag == f"{W}tab":
                parts.append("\t")
            elif tag in (f"{W}br", f"{W}cr"):
                parts.append("\n")
            elif tag == f"{W}noBreakHyphen":
                parts.append("-")
            elif tag in _NOTES:
                parts.append(_mark(child, _NOTES[tag]))
            elif tag == f"{W}hyperlink":
                relation = self.related.get(child.get(_R_ID) or "")
                parts.append(link(self._text(child), relation.target if relation else None))
            else:
                parts.append(self._text(child))
        return "".join(parts)

    def _table(self, element: Element) -> Iterator[Piece]:
        """Cells that are merged stand in every row and column that they span; a table of one cell is a frame."""
        rows = [list(row.iter(f"{W}tc")) for row in element.iterchildren(f"{W}tr", f"{W}sdt")]
        if len(rows) == 1 and len(rows[0]) == 1:
            yield from self._pieces(rows[0][0])
            return
        yield from pipe_table(self._rows(element))

    def _rows(self, element: Element) -> Iterator[list[str]]:
        above: list[str] = []
        for row in element.iter(f"{W}tr"):
            if next(row.iterancestors(f"{W}tbl")) is not element:
                continue
            before = next((_number(found) for found in row.iterfind(f"{W}trPr/{W}gridBefore")), 0)
            line = [""] * before
            for cell in row.iter(f"{W}tc"):
                if next(cell.iterancestors(f"{W}tr")) is not row:
                    continue
                properties = cell.find(f"{W}tcPr")
                merge = properties.find(f"{W}vMerge") if properties is not None else None
                span = properties.find(f"{W}gridSpan") if properties is not None else None
                text = " ".join(one_line(self._text(one)) for one in cell.iter(f"{W}p") if not _stands_in(one))
                if merge is not None and merge.get(f"{W}val") != "restart" and len(line) < len(above):
                    text = above[len(line)]
                line += [text] * (_number(span) if span is not None else 1)
            above = line
            yield line


def _at_margin(piece: Piece) -> Piece:
    """A list that goes on after a paragraph may begin with a deep item, which Markdown would read as code."""
    return replace(piece, text=dedent(piece.text)) if piece.kind is BlockKind.LIST else piece


def _number(element: Element) -> int:
    value = element.get(f"{W}val") or "1"
    return min(max(int(value), 1), _MAX_SPAN) if value.isascii() and value.isdigit() else 1


def _noted(archive: Archive, part: str, kind: str) -> Iterator[Piece]:
    for note in children_of(archive, part, f"{W}{kind}s"):
        lines = (_own_text(line) for line in note.iter(f"{W}p") if not _stands_in(line))
        text = one_line(" ".join(lines))
        if text:
            yield paragraph(f"{_mark(note, kind)}: {text}")


def _own_text(line: Element) -> str:
    """A paragraph's, without those of a text box in it."""
    return "".join(found.text or "" for found in line.iter(f"{W}t") if next(found.iterancestors(f"{W}p")) is line)


def _stands_in(element: Element) -> bool:
    """Whether it says again what older readers would not see."""
    return next(element.iterancestors(_FALLBACK), None) is not None


def _mark(element: Element, kind: str) -> str:
    """Footnotes and endnotes are numbered each from one."""
    return f"[^{'e' if kind == 'endnote' else ''}{element.get(f'{W}id')}]"
