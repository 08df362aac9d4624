"""Encodings of pages: what they are, what they declare, and what stands between."""

from pathlib import Path

import pytest

from ingestion.parse.declared import decoded
from ingestion.parse.pieces import Facts
from tests.ingestion.parse.reading import read_text


def page(declared: str, words: bytes) -> bytes:
    return f'<html><head><meta charset="{declared}"></head><body><p>'.encode() + words + b"</p></body></html>"


@pytest.mark.parametrize(
    ("declared", "words", "text"),
    [
        ("iso-8859-1", b"The \x93premium\x94 plan costs \x80100 \x96 na\xefve", "The “premium” plan costs €100 – naïve"),
        ("us-ascii", b"\x80", "€"),
        ("gb2312", "员工每年有二十天假。镕基同志，堃。".encode("gbk"), "员工每年有二十天假。镕基同志，堃。"),
        ("shift_jis", "①有給休暇は年に二十日です。髙橋".encode("cp932"), "①有給休暇は年に二十日です。髙橋"),
        ("euc-kr", "연차는 스무 날이다. 똠방".encode("cp949"), "연차는 스무 날이다. 똠방"),
        ("koi8-r", "Отпуск: 28 дней в году.".encode("koi8-r"), "Отпуск: 28 дней в году."),
        # Saved by an editor that changed the encoding and not the page.
        ("iso-8859-1", "Größe – 100 €".encode(), "Größe – 100 €"),
    ],
)
async def test_pages_are_read_as_they_declare(tmp_path: Path, declared: str, words: bytes, text: str) -> None:
    document = await read_text(tmp_path, page(declared, words), "a.html")
    assert document.text == text
    assert document.parsed.warnings == ()


@pytest.mark.parametrize("declared", ["utf-8", "iso-8859-1", "none"])
async def test_a_wrong_byte_does_not_make_it_another_encoding(tmp_path: Path, declared: str) -> None:
    words = "Größe und Maß: für Übung – 100 € 日本語 ".encode()
    document = await read_text(tmp_path, page(declared, words + b"caf\xe9 au lait"), "a.html")
    assert document.text == "Größe und Maß: für Übung – 100 € 日本語 caf\ufffd au lait"
    assert document.parsed.warnings == ("a few bytes are not UTF-8 and are shown as U+FFFD",)


@pytest.mark.parametrize("declared", ["utf-8", "utf-16", "undefined", "rot13", "x-none", "punycode", "unicode-escape"])
def test_where_a_page_says_nothing_that_can_be_the_guess_decides(declared: str) -> None:
    content = page(declared, "Привет".encode("cp1251"))
    facts = Facts(warnings=["guessed"])
    assert "Привет" in decoded(content, facts, "cp1251")
    assert facts.warnings == ["guessed"]
    assert "caf\u00e9" in decoded(page(declared, b"caf\xe9"), Facts())


def test_what_the_sender_says_of_escapes_that_are_ascii_is_heard() -> None:
    words = "有給休暇は年に二十日です。"
    assert words in decoded(page("", words.encode("iso2022_jp")), Facts(), "iso2022_jp")


def test_chapters_of_books_are_utf_8_unless_they_are_not() -> None:
    facts = Facts(warnings=["a chapter is missing"])
    assert "Größe – 100 €" in decoded(page("", "Größe – 100 €, ".encode() + b"caf\xe9"), facts)
    assert facts.warnings == ["a chapter is missing", "a few bytes are not UTF-8 and are shown as U+FFFD"]
    assert "100 €" in decoded(b"<?xml version='1.0' encoding='ISO-8859-1'?><p>100 \x80</p>", facts)
