"""Files that are meant to do harm, or broken: each one fails by itself, for a reason that can be acted on."""

import io
import random
import zipfile
from pathlib import Path

import pytest

from ingestion.parse.failures import FailureReason
from ingestion.parse.limits import ParseLimits
from ingestion.parse.parser import DocumentParser
from tests.ingestion.parse import made
from tests.ingestion.parse.reading import read_text, reason, reason_of


async def test_a_zip_bomb(tmp_path: Path) -> None:
    bomb = made.docx(made.paragraph("a") + " " * 100_000_000)
    assert len(bomb) < 1_000_000
    assert await reason_of(tmp_path, bomb, "a.docx") is FailureReason.ARCHIVE_BOMB


async def test_a_bomb_of_overlapping_entries(tmp_path: Path) -> None:
    """Every entry of the directory points at the same bytes: small each, and together 200 times the file and more."""
    content = made.zipped({"a": " " * 7_000_000})
    local = content[: content.index(b"PK\x01\x02")]
    entry = content[content.index(b"PK\x01\x02") : content.index(b"PK\x05\x06")]
    entries = b"".join(entry[:46] + b"%c" % (97 + number) + entry[47:] for number in range(20))
    end = b"PK\x05\x06" + bytes(4) + (20).to_bytes(2, "little") * 2
    end += len(entries).to_bytes(4, "little") + len(local).to_bytes(4, "little") + bytes(2)
    assert await reason_of(tmp_path, local + entries + end, "a.zip") is FailureReason.ARCHIVE_BOMB


async def test_too_many_entries(tmp_path: Path) -> None:
    many = made.zipped({str(number): "" for number in range(1_001)})
    path = tmp_path / "many.zip"
    path.write_bytes(many)
    parser = DocumentParser(ParseLimits(archive_entries=1_000))
    assert await reason(path, parser=parser) is FailureReason.ARCHIVE_BOMB


async def test_nested_archives_are_not_opened(tmp_path: Path) -> None:
    content = b"\x00" * 1_000_000
    for _ in range(6):
        content = made.zipped({"a.zip": content, "b.zip": content})
    assert await reason_of(tmp_path, content, "a.docx") is FailureReason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("name", ["word/document.xml", "[Content_Types].xml"])
async def test_an_archive_that_names_a_part_twice(tmp_path: Path, name: str) -> None:
    """Two readers could see two documents."""
    content = io.BytesIO(made.docx(made.paragraph("one")))
    with zipfile.ZipFile(content, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(name, "two")
    assert await reason_of(tmp_path, content.getvalue(), "a.docx") is FailureReason.CORRUPT


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (made.docx(made.paragraph("&lol9;"), prolog=made.BILLION_LAUGHS), "a.docx"),
        (made.odt("<text:p>&lol9;</text:p>", prolog=made.BILLION_LAUGHS), "a.odt"),
        (made.docx(made.paragraph("&x;"), prolog='<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>'), "a.docx"),
        (made.docx("", prolog="<!--" + "x" * 200_000 + '-->\n<!DOCTYPE d SYSTEM "http://127.0.0.1/d.dtd">'), "a.docx"),
    ],
    ids=["docx", "odt", "external", "late"],
)
async def test_document_types_within_xml(tmp_path: Path, content: bytes, name: str) -> None:
    assert await reason_of(tmp_path, content, name) is FailureReason.UNSAFE_XML


async def test_document_type_in_a_sheet(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(made.xlsx("<row/>"))) as whole, zipfile.ZipFile(content, "w") as changed:
        for name in whole.namelist():
            prolog = made.BILLION_LAUGHS.encode() if name == "xl/worksheets/sheet1.xml" else b""
            changed.writestr(name, prolog + whole.read(name))
    assert await reason_of(tmp_path, content.getvalue(), "a.xlsx") is FailureReason.UNSAFE_XML


async def test_laughs_in_xml_and_html_are_only_text(tmp_path: Path) -> None:
    xml = await read_text(tmp_path, made.BILLION_LAUGHS + "<lolz>&lol9;</lolz>", "a.xml")
    assert xml.parsed.characters < 2_000
    svg = f"<html><body><p>Hello</p><svg>{made.BILLION_LAUGHS}<text>&lol9;</text></svg></body></html>"
    page = await read_text(tmp_path, svg, "a.html")
    assert page.text.startswith("Hello")
    assert page.parsed.characters < 2_000
    xhtml = f'<?xml version="1.0"?>{made.BILLION_LAUGHS.replace("lolz", "html", 1)}<html><body><p>Hello &lol9;</p></body></html>'
    assert (await read_text(tmp_path, xhtml, "a.xhtml")).parsed.characters < 2_000


async def test_protected_files(tmp_path: Path) -> None:
    assert await reason_of(tmp_path, made.protected_pdf(), "a.pdf") is FailureReason.ENCRYPTED
    # What Office writes with a password: an OLE container with the package as one of its streams.
    package = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2_000) + "EncryptedPackage".encode("utf-16-le") + bytes(2_000)
    assert await reason_of(tmp_path, package, "a.docx") is FailureReason.ENCRYPTED
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4_000)
    assert await reason_of(tmp_path, old, "a.doc") is FailureReason.UNSUPPORTED_FORMAT
    mail = b"From: a@b.c\nTo: d@e.f\nSubject: s\nContent-Type: multipart/encrypted; boundary=x\n\n--x--\n"
    assert await reason_of(tmp_path, mail, "a.eml") is FailureReason.ENCRYPTED


async def test_broken_files(tmp_path: Path) -> None:
    whole = made.pdf("one", "two")
    assert (await read_text(tmp_path, whole, "a.pdf")).text == "one\n\ntwo"
    assert await reason_of(tmp_path, whole[:60], "a.pdf") is FailureReason.CORRUPT
    assert await reason_of(tmp_path, b"%PDF-1.7\n" + random.Random(1).randbytes(5_000), "a.pdf") is FailureReason.CORRUPT
    document = made.docx(made.paragraph("one" * 1_000))
    assert await reason_of(tmp_path, document[: len(document) // 2], "a.docx") is FailureReason.CORRUPT
    assert await reason_of(tmp_path, made.docx("<w:p>"), "a.docx") is FailureReason.CORRUPT
    assert await reason_of(tmp_path, made.docx("<w:p>" * 1_000 + "</w:p>" * 1_000), "a.docx") is FailureReason.CORRUPT
    assert await reason_of(tmp_path, made.xlsx("<row><c>"), "a.xlsx") is FailureReason.CORRUPT


async def test_pages_without_text(tmp_path: Path) -> None:
    assert await reason_of(tmp_path, made.pdf("", ""), "a.pdf") is FailureReason.NO_TEXT_LAYER
    mixed = await read_text(tmp_path, made.pdf("some text", ""), "a.pdf")
    assert mixed.text == "some text"


async def test_what_is_not_a_document(tmp_path: Path) -> None:
    noise = random.Random(2).randbytes(50_000)
    assert await reason_of(tmp_path, noise, "a.txt") is FailureReason.NOT_TEXT
    assert await reason_of(tmp_path, noise[:2_000].replace(b"\x00", b"\x01"), "a.md") is FailureReason.NOT_TEXT
    assert await reason_of(tmp_path, b"text, then\n" * 10_000 + b"\x00", "a.txt") is FailureReason.NOT_TEXT
    assert await reason_of(tmp_path, b"\x89PNG\r\n\x1a\n" + noise, "a.txt") is FailureReason.UNSUPPORTED_FORMAT
    assert await reason_of(tmp_path, b"{\\rtf1 hello}", "a.txt") is FailureReason.UNSUPPORTED_FORMAT
    assert await reason_of(tmp_path, made.zipped({"a.txt": "hello"}), "a.docx") is FailureReason.UNSUPPORTED_FORMAT
    assert await reason_of(tmp_path, b"", "a.txt") is FailureReason.EMPTY
    assert await reason_of(tmp_path, b" \n\t\n", "a.txt") is FailureReason.EMPTY
    assert await reason_of(tmp_path, b"<html><script>x()</script></html>", "a.html") is FailureReason.EMPTY


async def test_output_out_of_proportion(tmp_path: Path) -> None:
    """Merged cells repeat their text: a small table could become a large one."""
    row = f'<tr><td colspan="50">{"x" * 5_000}</td></tr>'
    path = tmp_path / "a.html"
    path.write_text(f"<table><tr><td>a</td><td>b</td></tr>{row * 100}</table>")
    parser = DocumentParser(ParseLimits(expansion=2, expansion_floor=100_000))
    assert await reason(path, parser=parser) is FailureReason.TOO_LARGE
    path.write_text("one\n\n" * 100)
    assert await reason(path, name="a.txt", parser=DocumentParser(ParseLimits(blocks=99))) is FailureReason.TOO_LARGE
    assert await reason(path, parser=DocumentParser(ParseLimits(file_bytes=499))) is FailureReason.TOO_LARGE


async def test_spans_and_repetitions_without_end(tmp_path: Path) -> None:
    page = '<table><tr><td rowspan="99999999" colspan="99999999">a</td><td>b</td></tr><tr><td>c</td></tr></table>'
    assert (await read_text(tmp_path, page, "a.html")).parsed.characters < 5_000
    cells = '<table:table-cell table:number-columns-repeated="16777216"><text:p>a</text:p></table:table-cell>'
    table = f"<table:table><table:table-row>{cells}</table:table-row></table:table>"
    assert (await read_text(tmp_path, made.odt(table), "a.odt")).parsed.characters < 5_000


async def test_a_sheet_that_claims_every_cell_takes_nothing_with_it(tmp_path: Path) -> None:
    far = made.xlsx('<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>')
    assert (await reason_of(tmp_path, far, "a.xlsx")).worth_a_retry


async def test_deep_html(tmp_path: Path) -> None:
    page = await read_text(tmp_path, "<p>before</p>" + "<div>" * 50_000 + "deep", "a.html")
    assert page.text == "before\n\ndeep"
    lists = await read_text(tmp_path, "<p>before</p>" + "<ul><li>x" * 20_000, "a.html")
    assert lists.text.startswith("before")
