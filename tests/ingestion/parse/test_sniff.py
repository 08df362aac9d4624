"""What a text is taken for."""

from pathlib import Path

import pytest

from tests.ingestion.parse import made
from tests.ingestion.parse.reading import read_text


@pytest.mark.parametrize(
    ("rest", "found"), [("# Title\n\ntext\n", "text/markdown"), ("<!doctype html><p>text", "text/html")], ids=["markdown", "html"]
)
async def test_comments_in_front_are_looked_at_once(tmp_path: Path, rest: str, found: str) -> None:
    # A reader that tries again for each of them doubles its time with each: 20 took a second.
    document = await read_text(tmp_path, "<!-- a -->\n" * 700 + rest, "a.md")
    assert document.parsed.media_type == found


async def test_a_text_may_speak_of_pdfs(tmp_path: Path) -> None:
    text = "PNG begins with \\x89PNG, PDF with\n%PDF-1.4\nand ZIP with PK."
    assert (await read_text(tmp_path, text, "a.txt")).text == text


@pytest.mark.parametrize("front", [b"", b"\xef\xbb\xbf\r\n ", b"HTTP/1.1 200 OK\r\nServer: \x00\x01\r\n\r\n"])
async def test_readers_of_pdfs_allow_some_bytes_in_front(tmp_path: Path, front: bytes) -> None:
    assert (await read_text(tmp_path, front + made.pdf("hello"), "a.txt")).text == "hello"
