"""ODT: headings, paragraphs, lists and tables of the text, one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ingestion.document import BlockKind
from ingestion.parse.archives import Archive, opened
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.links import link
from ingestion.parse.markup import Element, children_of, root_of
from ingestion.parse.pieces import Facts, Piece, heading, one_line, paragraph
from ingestion.parse.source import Source
from ingestion.parse.tables import pipe_table

_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_MANIFEST = "{urn:oasis:names:tc:opendocument:xmlns:manifest:1.0}"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_UNREAD = frozenset(
    (f"{_TEXT}tracked-changes", f"{_OFFICE}annotation", f"{_TEXT}note", f"{_TEXT}sequence-decls", f"{_TEXT}table-of-content",
     f"{_DRAW}frame", f"{_OFFICE}forms")
)  # fmt: skip
_MAX_REPEATED = 200
_MAX_DEPTH = 50


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """The text's body. Tables of contents, comments and deleted text are left out; footnotes follow their paragraph."""
    with opened(source) as archive:
        if "META-INF/manifest.xml" in archive.names:
            manifest = root_of(archive, "META-INF/manifest.xml")
            if next(manifest.iter(f"{_MANIFEST}encryption-data"), None) is not None:
                raise ParseFailed(FailureReason.ENCRYPTED, "the document has a password")
        if "meta.xml" in archive.names:
            facts.name(next((found.text for found in root_of(archive, "meta.xml").iter(_TITLE)), None))
        body = _Body(*_styles(archive))
        yield from body.pieces(children_of(archive, "content.xml", f"{_OFFICE}text"))


def _styles(archive: Archive) -> tuple[dict[str, str], set[tuple[str, int]]]:
    """The parent of every style that has one, and the levels of list styles that count."""
    parents: dict[str, str] = {}
    counting: set[tuple[str, int]] = set()
    for part, holder in (("styles.xml", "styles"), ("styles.xml", "automatic-styles"), ("content.xml", "automatic-styles")):
        if part not in archive.names:
            continue
        for style in children_of(archive, part, f"{_OFFICE}{holder}"):
            name = style.get(f"{_STYLE}name") or ""
            if style.get(f"{_STYLE}parent-style-name"):
                parents[name] = style.get(f"{_STYLE}parent-style-name")
            counting |= {
                (name, _count(level, f"{_TEXT}level"))
                for level in style.iter(f"{_TEXT}list-level-style-number")
                if level.get(f"{_STYLE}num-format")
            }
    return parents, counting


@dataclass(slots=True)
class _Body:
    parents: dict[str, str]
    counting: set[tuple[str, int]]
    _notes: list[str] = field(default_factory=list)

    def pieces(self, elements: Iterable[Element]) -> Iterator[Piece]:
        for element in elements:
            tag = element.tag
            if tag == f"{_TEXT}h":
                yield heading(self._text(element), _count(element, f"{_TEXT}outline-level"))
            elif tag == f"{_TEXT}p":
                yield from self._paragraph(element)
            elif tag == f"{_TEXT}list":
                yield from self._list(element)
            elif tag == f"{_TABLE}table":
                yield from self._table(element)
            elif tag not in _UNREAD:
                yield from self.pieces(element)
            else:
                continue
            yield from (paragraph(note) for note in self._notes)
            self._notes.clear()

    def _paragraph(self, element: Element) -> Iterator[Piece]:
        text = self._text(element).strip()
        level = {"title": 1, "subtitle": 2}.get(self._style(element))
        if text:
            yield heading(text, level) if level else paragraph(text)
        for frame in element.iter(f"{_DRAW}text-box"):
            yield from self.pieces(frame)

    def _style(self, element: Element) -> str:
        """The name of the common style, in lower case."""
        name = element.get(f"{_TEXT}style-name") or ""
        for _ in range(_MAX_DEPTH):
            if name.lower() in ("title", "subtitle") or name not in self.parents:
                break
            name = self.parents[name]
        return name.lower()

    def _text(self, element: Element) -> str:
        parts = [element.text or ""]
        for child in element:
            tag = child.tag
            if tag == f"{_TEXT}s":
                parts.append(" " * min(_count(child, f"{_TEXT}c"), _MAX_REPEATED))
            elif tag == f"{_TEXT}tab":
                parts.append("\t")
            elif tag == f"{_TEXT}line-break":
                parts.append("\n")
            elif tag == f"{_TEXT}a":
                parts.append(link(self._text(child), child.get(_HREF)))
            elif tag == f"{_TEXT}note":
                parts.append(self._note(child))
            elif tag not in _UNREAD:
                parts.append(self._text(child))
            parts.append(child.tail or "")
        return "".join(parts)

    def _note(self, element: Element) -> str:
        mark = one_line("".join(element.findtext(f"{_TEXT}note-citation") or ""))
        body = element.find(f"{_TEXT}note-body")
        if body is not None:
            self._notes.append(f"[^{mark}]: {one_line(' '.join(self._text(one) for one in body))}")
        return f"[^{mark}]"

    def _list(self, element: Element) -> Iterator[Piece]:
        """A list; one whose items are headings (numbered chapters) is read as those."""
        if next(element.iter(f"{_TEXT}h", f"{_TABLE}table"), None) is not None:
            for item in element:
                yield from self.pieces(item)
            return
        yield Piece(BlockKind.LIST, "\n".join(self._items(element, 1, element.get(f"{_TEXT}style-name") or "")))

    def _items(self, element: Element, level: int, style: str) -> Iterator[str]:
        style = element.get(f"{_TEXT}style-name") or style
        number = 0
        for item in element.iterchildren(f"{_TEXT}list-item", f"{_TEXT}list-header"):
            words = one_line(" ".join(self._text(one) for one in item.iterchildren(f"{_TEXT}p")))
            if words:
                number += 1
                marker = f"{number}." if (style, level) in self.counting else "-"
                yield f"{'    ' * (level - 1)}{marker} {words}"
            for nested in item.iterchildren(f"{_TEXT}list"):
                yield from self._items(nested, level + 1, style)

    def _table(self, element: Element) -> Iterator[Piece]:
        yield from pipe_table(self._rows(element))

    def _rows(self, element: Element) -> Iterator[list[str]]:
        """Merged cells stand in every column that they span; the rows below have an empty covered cell."""
        for row in element.iter(f"{_TABLE}table-row"):
            if next(row.iterancestors(f"{_TABLE}table")) is not element:
                continue
            line: list[str] = []
            spanned = ""
            for cell in row.iterchildren(f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
                covered = cell.tag == f"{_TABLE}covered-table-cell"
                text = spanned if covered else " ".join(one_line(self._text(one)) for one in cell.iter(f"{_TEXT}p"))
                spanned = text if _count(cell, f"{_TABLE}number-columns-spanned") > 1 or covered else ""
                line += [text] * min(_count(cell, f"{_TABLE}number-columns-repeated"), _MAX_REPEATED)
            yield line


def _count(element: Element, name: str) -> int:
    value = element.get(name) or "1"
    return int(value) if value.isascii() and value.isdigit() and len(value) < 9 else 1
