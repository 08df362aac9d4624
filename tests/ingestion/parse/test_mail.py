"""Which parts of a mail are read, and in which encoding."""

from base64 import b64encode
from pathlib import Path

import pytest

from tests.ingestion.parse.reading import read_text

_HEAD = b"From: a@example.com\nTo: b@example.com\nSubject: News\nMIME-Version: 1.0\n"
_PLAIN = ("text/plain; charset=utf-8", "Thirty days from July.")
_HTML = ("text/html; charset=utf-8", "<p>Thirty <b>days</b> from July.</p>")
_EMPTY_HTML = ("text/html", "<html><body>&nbsp;\n</body></html>")
_FOOTER = ("text/plain; charset=us-ascii", "staff mailing list")
_PICTURE = ("image/png; name=logo.png", "iVBO")


def _part(kind: str, body: str) -> str:
    return f"Content-Type: {kind}\n\n{body}\n"


def _several(kind: str, *parts: tuple[str, str], boundary: str = "b") -> tuple[str, str]:
    inner = "".join(f"--{boundary}\n{_part(*part)}" for part in parts)
    return f"multipart/{kind}; boundary={boundary}", f"{inner}--{boundary}--"


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (_several("alternative", _PLAIN, _HTML), [_PLAIN[1]]),
        (_several("alternative", ("text/plain", " \n"), _HTML), [_PLAIN[1]]),
        (_several("alternative", _HTML, ("text/calendar", "BEGIN:VCALENDAR")), [_PLAIN[1]]),
        (_several("mixed", _HTML, _FOOTER), [_PLAIN[1], _FOOTER[1]]),
        (_several("mixed", _several("alternative", _PLAIN, _HTML, boundary="c"), _FOOTER), [_PLAIN[1], _FOOTER[1]]),
        (_several("related", _HTML, _PICTURE), [_PLAIN[1]]),
        (_several("alternative", _FOOTER, _several("mixed", _HTML, _PICTURE, _HTML, boundary="c")), [_FOOTER[1]]),
        (_several("alternative", _several("related", _HTML, _PICTURE, boundary="c")), [_PLAIN[1]]),
        (_several("mixed", _PLAIN, _PICTURE, ("text/plain", "Regards")), [_PLAIN[1], "Regards"]),
        (_several("alternative", _HTML, ("text/html; name=logo.png", "<p>attached</p>")), [_PLAIN[1]]),
        (_several("alternative", _HTML, _several("related", _PICTURE, boundary="c")), [_PLAIN[1]]),
        (_several("alternative", _HTML, _several("mixed", ("text/calendar", "BEGIN"), boundary="c")), [_PLAIN[1]]),
        (_several("alternative", ("text/plain", " \n"), _HTML, _EMPTY_HTML), [_PLAIN[1]]),
        (_several("alternative", _several("related", _PLAIN, boundary="c"), _EMPTY_HTML), [_PLAIN[1]]),
        (_several("alternative", _PLAIN, _FOOTER), [_PLAIN[1], _FOOTER[1]]),
    ],
)
async def test_plain_text_stands_for_its_alternatives_alone(tmp_path: Path, content: tuple[str, str], read: list[str]) -> None:
    document = await read_text(tmp_path, _HEAD + _part(*content).encode(), "a.eml")
    assert [block.text for block in document.blocks[2:]] == read
    assert document.parsed.warnings == (("attachment not read: logo.png",) if "logo.png" in content[1] else ())


@pytest.mark.parametrize("transfer", ["8bit", "base64"])
@pytest.mark.parametrize(
    ("declared", "encoding", "text"),
    [
        ("iso-8859-1", "cp1252", "Costs €100 – “naïve”"),
        ("us-ascii", "cp1252", "Costs €100 – “naïve”"),
        ("gb2312", "gb18030", "员工每年有二十天假。镕基同志，堃。"),
        ("shift_jis", "cp932", "①有給休暇は年に二十日です。"),
        ("euc-kr", "cp949", "똠방각하 직원은 매년 이십 일의 유급 휴가를 받습니다."),
        ("iso-2022-jp", "iso2022_jp", "有給休暇は年に二十日です。"),
        ("iso-8859-1", "utf-8", "Größe und Maß"),
    ],
)
async def test_encodings_of_parts_are_what_senders_mean(
    tmp_path: Path, transfer: str, declared: str, encoding: str, text: str
) -> None:
    body = text.encode(encoding)
    head = f"Content-Type: text/plain; charset={declared}\nContent-Transfer-Encoding: {transfer}\n\n".encode()
    document = await read_text(tmp_path, _HEAD + head + (b64encode(body) if transfer == "base64" else body) + b"\n", "a.eml")
    assert document.blocks[-1].text == text
    assert document.parsed.warnings == ()


async def test_a_part_that_is_not_what_it_says_is_read_as_the_warning_says(tmp_path: Path) -> None:
    text = "Отпуск составляет двадцать восемь дней в году."
    head = b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    document = await read_text(tmp_path, _HEAD + head + text.encode("cp1251"), "a.eml")
    assert document.blocks[-1].text == text
    assert document.parsed.warnings == ("the encoding was guessed: cp1251",)


_WORDS = "Отпуск составляет двадцать восемь дней в году."
_CHINESE = "员工每年有二十天假。请在系统中提交申请，经理批准后生效。"


@pytest.mark.parametrize(
    ("declared", "body", "text"),
    [
        ("utf-8", f"Да.\0 {_WORDS}".encode(), _WORDS),
        ("utf-8", f"\x01\x02 {_WORDS}".encode(), _WORDS),
        ("us-ascii", f"\x01\x02 {_WORDS}".encode(), _WORDS),
        ("iso-8859-1", "\x01\x02 Größe und Maß für Übung".encode("latin-1"), "Größe und Maß für Übung"),
        ("gb2312", _CHINESE.encode("gbk") + b"\xb5", _CHINESE),
        ("gbk", _CHINESE.encode("gbk") + b"\xff", _CHINESE),
        ("gb2312", b"\0 " + _CHINESE.encode("gbk") + b"\xb5", _CHINESE),
        ("windows-1251", _WORDS.encode("cp1251") + b"\x98", _WORDS),
    ],
)
async def test_an_odd_byte_takes_no_words_with_it(tmp_path: Path, declared: str, body: bytes, text: str) -> None:
    head = f"Content-Type: text/plain; charset={declared}\nContent-Transfer-Encoding: base64\n\n".encode()
    document = await read_text(tmp_path, _HEAD + head + b64encode(body) + b"\n", "a.eml")
    assert text in document.blocks[-1].text
    assert document.blocks[-1].text.count("\ufffd") <= 2
    assert document.parsed.warnings
