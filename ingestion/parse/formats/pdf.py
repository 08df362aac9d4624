"""PDF: the text layer, page by page."""

from __future__ import annotations

from collections.abc import Iterator

import pypdfium2
from pypdfium2 import raw

from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.pagelayout import Layout, own_lines, pieces_of
from ingestion.parse.pagelines import Line, lines_of
from ingestion.parse.pieces import Facts, Piece, pages_named
from ingestion.parse.source import Source

# Pages that are looked at first, evenly spread, to learn the size of the body's type and what repeats on every page.
_SAMPLED = 24
# Fewer characters of a page's own than this are no text of it, where the page is a picture.
_STAMP = 8
# What repeats on pictures with other numbers is their text, if it has as many characters.
_LONG_STAMP = 25
# Of the page, images cover this much at least if it is one: scans have margins, and come in strips and layers.
_COVERED = 0.5
_FAILURES = {
    raw.FPDF_ERR_PASSWORD: (FailureReason.ENCRYPTED, "the document needs a password"),
    raw.FPDF_ERR_SECURITY: (FailureReason.ENCRYPTED, "the document's protection is of an unknown kind"),
}


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """Streams the pages. Raises ``no_text_layer`` for pages that are only images; single ones are named in a warning."""
    source.stream.seek(0)
    try:
        document = pypdfium2.PdfDocument(source.stream)
    except pypdfium2.PdfiumError as error:
        reason, detail = _FAILURES.get(error.err_code or 0, (FailureReason.CORRUPT, "the document's structure is broken"))
        raise ParseFailed(reason, detail) from error
    facts.name(document.get_metadata_value("Title"))
    facts.pages = len(document)
    if not facts.pages:
        raise ParseFailed(FailureReason.EMPTY, "the document has no pages")
    sampled = range(0, facts.pages, max(facts.pages // _SAMPLED, 1))
    layout = Layout.learn([lines for _, lines in _pages(document, sampled, facts)])
    characters = 0
    stamps: dict[int, str] = {}
    for number, lines in _pages(document, range(facts.pages), facts):
        visible, own = _characters(lines), own_lines(lines, layout)
        characters += visible
        # The stamp of a scanner, or the number that a court's files have on each page, is no text of the page.
        few = _characters(own) < _STAMP
        if few and _pictured(document, number - 1) >= (_COVERED if visible >= _STAMP else 0):
            stamps[number] = "".join(line.text for line in lines)
        yield from pieces_of(lines, layout, number)
    scans = _scans(stamps)
    if not characters or len(scans) == facts.pages:
        raise ParseFailed(FailureReason.NO_TEXT_LAYER, f"none of the {facts.pages} pages has text: they are scans or drawings")
    if scans:
        facts.warn(f"no text layer on pages {pages_named(scans)}")


def _scans(stamps: dict[int, str]) -> list[int]:
    """The pages whose text is but a stamp: it is short, or the same on all of them, and not only so but for its numbers."""
    same = len({text for text in stamps.values() if len(text) >= _LONG_STAMP}) <= 1
    return [number for number, text in stamps.items() if same or len(text) < _LONG_STAMP]


def _characters(lines: list[Line]) -> int:
    return sum(len(line.text) for line in lines)


def _pages(document: pypdfium2.PdfDocument, indices: range, facts: Facts) -> Iterator[tuple[int, list[Line]]]:
    for index in indices:
        try:
            page = document[index]
        except pypdfium2.PdfiumError:
            facts.warn(f"page {index + 1} cannot be read")
            continue
        try:
            yield index + 1, lines_of(page)
        finally:
            page.close()


def _pictured(document: pypdfium2.PdfDocument, index: int) -> float:
    """The part of the page that images cover, as if none lay on another; less than nothing without any."""
    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        return -1.0
    try:
        width, height = page.get_size()
        areas = [_area(image.get_bounds()) for image in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3)]
        return sum(areas) / max(width * height, 1.0) if areas else -1.0
    finally:
        page.close()


def _area(bounds: tuple[float, float, float, float]) -> float:
    left, bottom, right, top = bounds
    return (right - left) * (top - bottom)
