"""What a file is, by its bytes; its name and declared type only choose between kinds of text."""

from __future__ import annotations

import io
import re
from codecs import BOM_UTF8
from dataclasses import dataclass, replace
from enum import StrEnum

from ingestion.parse.archives import Archive, opened
from ingestion.parse.declared import declared
from ingestion.parse.encodings import CONTROLS, detect
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.labels import superset
from ingestion.parse.languages import language_of
from ingestion.parse.limits import ParseLimits
from ingestion.parse.pieces import Facts
from ingestion.parse.source import Source

_HEAD = 8_192
_CHUNK = 1 << 20
_BLANK = b" \t\r\n" + BOM_UTF8
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")


class Format(StrEnum):
    """Formats by the name of the module that reads them."""

    MARKDOWN = "markdown"
    PLAIN = "plain"
    HTML = "html"
    PDF = "pdf"
    DOCX = "docx"
    PPTX = "pptx"
    XLSX = "xlsx"
    DELIMITED = "delimited"
    JSON = "json"
    JSON_LINES = "json_lines"
    EML = "eml"
    EPUB = "epub"
    ODT = "odt"
    SOURCE = "sourcecode"


_OFFICE = "application/vnd.openxmlformats-officedocument"
MEDIA_TYPES = {
    Format.MARKDOWN: "text/markdown",
    Format.PLAIN: "text/plain",
    Format.HTML: "text/html",
    Format.PDF: "application/pdf",
    Format.DOCX: f"{_OFFICE}.wordprocessingml.document",
    Format.PPTX: f"{_OFFICE}.presentationml.presentation",
    Format.XLSX: f"{_OFFICE}.spreadsheetml.sheet",
    Format.DELIMITED: "text/csv",
    Format.JSON: "application/json",
    Format.JSON_LINES: "application/jsonl",
    Format.EML: "message/rfc822",
    Format.EPUB: "application/epub+zip",
    Format.ODT: "application/vnd.oasis.opendocument.text",
    Format.SOURCE: "text/x-source",
}
_MAIN_PARTS = {b"wordprocessingml.": Format.DOCX, b"presentationml.": Format.PPTX, b"spreadsheetml.": Format.XLSX,
               b"ms-word.": Format.DOCX, b"ms-powerpoint.": Format.PPTX, b"ms-excel.": Format.XLSX}  # fmt: skip
_MAIN = re.compile(
    rb"(wordprocessingml\.|presentationml\.|spreadsheetml\.|ms-word\.|ms-powerpoint\.|ms-excel\.)[\w.]*\.main\+xml"
)
_MIMETYPES = {b"application/epub+zip": Format.EPUB, b"application/vnd.oasis.opendocument.text": Format.ODT}
_OTHERS = (
    (b"{\\rtf", "rich text (RTF)"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"II*\x00", "an image"),
    (b"MM\x00*", "an image"),
    (b"BM", "an image"),
    (b"RIFF", "sound, video or an image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\x00", "a database"),
    (b"PAR1", "a Parquet file"),
    (b"OggS", "sound"),
    (b"ID3", "sound"),
    (b"fLaC", "sound"),
    (b"%!PS", "PostScript"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"wOFF", "a font"),
    (b"\x00\x01\x00\x00", "a font"),
)
_PRINTABLE_MARKS = (b"BM", b"MZ", b"RIFF", b"PAR1", b"ID3", b"OggS", b"fLaC", b"wOFF", b"GIF8", b"Rar!")
_BY_SUFFIX = {
    ".md": Format.MARKDOWN, ".markdown": Format.MARKDOWN, ".mdx": Format.MARKDOWN, ".mkd": Format.MARKDOWN,
    ".rmd": Format.MARKDOWN,
    ".txt": Format.PLAIN, ".text": Format.PLAIN, ".log": Format.PLAIN, ".rst": Format.PLAIN, ".adoc": Format.PLAIN,
    ".org": Format.PLAIN, ".csv": Format.DELIMITED, ".tsv": Format.DELIMITED, ".tab": Format.DELIMITED, ".json": Format.JSON,
    ".jsonl": Format.JSON_LINES, ".ndjson": Format.JSON_LINES, ".eml": Format.EML, ".html": Format.HTML, ".htm": Format.HTML,
    ".xhtml": Format.HTML,
}  # fmt: skip
_BY_TYPE = {
    "text/markdown": Format.MARKDOWN, "text/x-markdown": Format.MARKDOWN, "text/csv": Format.DELIMITED,
    "text/tab-separated-values": Format.DELIMITED, "application/json": Format.JSON, "application/jsonl": Format.JSON_LINES,
    "application/x-ndjson": Format.JSON_LINES, "message/rfc822": Format.EML, "text/html": Format.HTML,
    "application/xhtml+xml": Format.HTML, "text/plain": Format.PLAIN,
}  # fmt: skip
# Possessive, a comment ends with its first `-->`: what is tried again for each comment doubles the time with each.
_HTML = re.compile(
    r"\s*+(?:<\?xml[^>]*\?>\s*+)?(?:<!--(?>.*?-->)\s*+)*+<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_MAIL_HEADER = re.compile(
    r"^(from|to|subject|date|received|message-id|mime-version|return-path|content-type):", re.IGNORECASE | re.MULTILINE
)
_MARKDOWN = re.compile(r"^(?:#{1,6} \S|```|~~~|\[[^\]]+\]: \S|\|(?:[ :]*-+[ :]*\|)+\s*$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sniffed:
    """The format, and the source with its encoding if it is text."""

    format: Format
    source: Source


def sniff(source: Source, facts: Facts) -> Sniffed:
    """Raises ``unsupported_format``, ``not_text``, ``encrypted`` or ``empty``. What comes with an encoding is a text, whatever it
    begins with."""
    head = source.head(_HEAD)
    if not head:
        raise ParseFailed(FailureReason.EMPTY, "the file has no bytes")
    known = source
    if source.encoding is None:
        binary = _binary(source, head)
        if binary is not None:
            return Sniffed(binary, source)
        known = replace(source, encoding=_encoding(source, head, facts))
    sample = known.text().read(_HEAD)
    if not sample.strip() and source.size <= _HEAD:
        raise ParseFailed(FailureReason.EMPTY, "the file has only white space")
    return Sniffed(_text(known, sample), known)


def hint(name: str | None, media_type: str | None) -> str:
    """What a text's name and declared type say of it; nothing where they tell nothing.

    Where they say the same, the same bytes have the same blocks. Of what is no text they choose nothing.
    """
    source = Source(io.BytesIO(), 0, ParseLimits(), name, media_type)
    encoding = superset(source.charset or "")
    # UTF-8 is what is tried first, whatever is said.
    return _kind(source) + (f"; {encoding}" if encoding not in ("", "utf-8") else "")


def _kind(source: Source) -> str:
    if source.suffix == ".tsv":  # its delimiter is not looked for
        return "tsv"
    named = _named(source)
    if named is Format.SOURCE:
        return f"{named} {language_of(source)}"
    return str(named or _declared(source) or "")


def _encoding(source: Source, head: bytes, facts: Facts) -> str:
    """A page of few words may be like no encoding that can be guessed, and says which it is."""
    try:
        return detect(source, facts)
    except ParseFailed:
        named = declared(head) if b"\x00" not in head and _HTML.match(head.decode("latin-1")) else None
        if named is None:
            raise
        return named


def _binary(source: Source, head: bytes) -> Format | None:
    """The format of what is not to be read as text, or ``None``."""
    if _is_pdf(head):
        return Format.PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zipped(source)
    if head.startswith(_OLE):
        raise _ole(source)
    for mark, named in _OTHERS:
        if head.startswith(mark) and (mark not in _PRINTABLE_MARKS or b"\x00" in head):
            raise ParseFailed(FailureReason.UNSUPPORTED_FORMAT, f"the file is {named}")
    if head[4:8] == b"ftyp":
        raise ParseFailed(FailureReason.UNSUPPORTED_FORMAT, "the file is sound, video or an image")
    return None


def _is_pdf(head: bytes) -> bool:
    """Readers of PDF allow some bytes in front. Texts may speak of PDFs; bytes that no text has are seldom far from the mark."""
    place = head.find(b"%PDF-", 0, 1024)
    return place >= 0 and (not head[:place].strip(_BLANK) or CONTROLS.search(head) is not None)


def _zipped(source: Source) -> Format:
    with opened(source) as archive:
        if "mimetype" in archive.names:
            kind = _mimetype(archive)
            if kind:
                return kind
        if "[Content_Types].xml" in archive.names:
            found = _MAIN.search(archive.read("[Content_Types].xml", 1 << 22))
            if found:
                return _MAIN_PARTS[found[1]]
    raise ParseFailed(FailureReason.UNSUPPORTED_FORMAT, "a zip archive that is no document of a supported kind")


def _mimetype(archive: Archive) -> Format | None:
    return _MIMETYPES.get(archive.read("mimetype", 1024).strip().removesuffix(b"-template"))


def _ole(source: Source) -> ParseFailed:
    """The container of old Office files, and of new ones with a password."""
    source.stream.seek(0)
    kept = b""
    while chunk := source.stream.read(_CHUNK):
        if _ENCRYPTED_PACKAGE in kept + chunk:
            return ParseFailed(FailureReason.ENCRYPTED, "the Office document needs a password")
        kept = chunk[-len(_ENCRYPTED_PACKAGE) :]
    return ParseFailed(FailureReason.UNSUPPORTED_FORMAT, "an Office file of the formats before 2007, or an Outlook message")


def _text(source: Source, sample: str) -> Format:
    """Content that cannot be mistaken first, then the name, then the declared type, then the looks of it."""
    if _HTML.match(sample):
        return Format.HTML
    found = _named(source) or _declared(source)
    if found is Format.JSON and _is_lines(sample):
        return Format.JSON_LINES
    if found in (None, Format.PLAIN):
        return _by_looks(sample) or found or (Format.MARKDOWN if _MARKDOWN.search(sample) else Format.PLAIN)
    return found


def _named(source: Source) -> Format | None:
    return _BY_SUFFIX.get(source.suffix) or (Format.SOURCE if language_of(source) else None)


def _declared(source: Source) -> Format | None:
    return _BY_TYPE.get((source.media_type or "").partition(";")[0].strip().lower())


def _by_looks(sample: str) -> Format | None:
    from ingestion.parse.formats.delimited import looks_delimited

    stripped = sample.lstrip()
    headers = {name.lower() for name in _MAIL_HEADER.findall(sample.partition("\n\n")[0])}
    if "from" in headers and len(headers) >= 3 and re.match(r"[A-Za-z-]+:", sample):
        return Format.EML
    if stripped.startswith(("{", "[")):
        return _json(stripped)
    return Format.DELIMITED if looks_delimited(sample) else None


def _json(sample: str) -> Format | None:
    """JSON lines if the first line is a whole value and another follows; JSON if it is, as far as can be seen, some."""
    import json

    if _is_lines(sample):
        return Format.JSON_LINES
    try:
        json.loads(sample)
    except ValueError as error:
        # Cut off where the sample ends.
        cut_off = len(sample) >= _HEAD - 64 and getattr(error, "pos", 0) >= len(sample) - 4_096
        return Format.JSON if cut_off and re.match(r"[\[{]\s*[\"{\[\d\]}]", sample) else None
    except RecursionError:
        pass
    return Format.JSON


def _is_lines(sample: str) -> bool:
    import json

    lines = [line for line in sample.split("\n", 3) if line.strip()]
    if len(lines) < 2 or not lines[0].lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(lines[0])
    except (ValueError, RecursionError):
        return False
    return lines[1].lstrip().startswith(("{", "["))
