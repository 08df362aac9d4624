"""EPUB: the chapters of the spine, in order."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote

from ingestion.parse.archives import Archive, opened
from ingestion.parse.declared import decoded
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.hypertext import parse_html, pieces_of
from ingestion.parse.markup import root_of
from ingestion.parse.pieces import Facts, Piece
from ingestion.parse.source import Source

_CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_OPF = "{http://www.idpf.org/2007/opf}"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_METHOD = "{http://www.w3.org/2001/04/xmlenc#}EncryptionMethod"
_OBFUSCATED_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_PAGES = ("application/xhtml+xml", "text/html")
_MAX_CHAPTER = 32 * 1024 * 1024
_MAX_CHAPTERS = 10_000


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """Each chapter's page, but for the table of contents."""
    with opened(source) as archive:
        _check_rights(archive)
        container = root_of(archive, "META-INF/container.xml")
        package = next((found.get("full-path") for found in container.iter(f"{_CONTAINER}rootfile")), None)
        if package is None:
            raise ParseFailed(FailureReason.CORRUPT, "the book names no package")
        root = root_of(archive, package)
        facts.name(next((found.text for found in root.iter(_TITLE)), None))
        items = {item.get("id"): item for item in root.iter(f"{_OPF}item")}
        spine = [items[one.get("idref")] for one in root.iter(f"{_OPF}itemref") if one.get("idref") in items]
        for item in list(dict.fromkeys(spine))[:_MAX_CHAPTERS]:
            if item.get("media-type") not in _PAGES or "nav" in (item.get("properties") or "").split():
                continue
            name = posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(item.get("href") or "")))
            if name not in archive.names:
                facts.warn(f"a chapter is missing: {name}")
                continue
            page = parse_html(decoded(archive.read(name, _MAX_CHAPTER), facts))
            if page is not None:
                yield from pieces_of(page)


def _check_rights(archive: Archive) -> None:
    """Fonts may be obfuscated; anything else that is encrypted is the book."""
    if "META-INF/encryption.xml" not in archive.names:
        return
    methods = {found.get("Algorithm") for found in root_of(archive, "META-INF/encryption.xml").iter(_METHOD)}
    if methods - set(_OBFUSCATED_FONTS):
        raise ParseFailed(FailureReason.ENCRYPTED, "the book is protected")
