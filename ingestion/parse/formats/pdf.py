"""PDF: the text layer, page by page."""

from __future__ import annotations

from collections.abc import Iterator

import pypdfium2
from pypdfium2 import raw

from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.pagelayout import Layout, pieces_of
from ingestion.parse.pagelines import Line, lines_of
from ingestion.parse.pieces import Facts, Piece, pages_named
from ingestion.parse.source import Source

# Pages that are looked at first, evenly spread, to learn the size of the body's type and what repeats on every page.
_SAMPLED = 24
# Fewer visible characters a page than this is the stamp of a scanner, where pages have images.
_STAMP = 8
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
    without: list[int] = []
    for number, lines in _pages(document, range(facts.pages), facts):
        visible = sum(len(line.text) for line in lines)
        characters += visible
        if visible < _STAMP:
            without.append(number)
        yield from pieces_of(lines, layout, number)
    images = [number for number in without if _has_image(document, number - 1)]
    if not characters or len(images) == facts.pages:
        raise ParseFailed(FailureReason.NO_TEXT_LAYER, f"none of the {facts.pages} pages has text: they are scans or drawings")
    if images:
        facts.warn(f"no text layer on pages {pages_named(images)}")


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


def _has_image(document: pypdfium2.PdfDocument, index: int) -> bool:
    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        return False
    try:
        return next(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3), None) is not None
    finally:
        page.close()
