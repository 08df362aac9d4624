"""Files within a text: what is around them stays as it is, wherever the text is parted."""

import io
from pathlib import Path

import pytest

from ingestion.parse.embedded import unembedded
from tests.ingestion.parse.reading import read_text


@pytest.mark.parametrize("before", [0, 1, 65_000, 65_535 - 22, 65_535, 131_072 - 60])
@pytest.mark.parametrize("size", [100, 10_000, 65_536, 300_000])
def test_an_address_is_left_without_its_data(before: int, size: int) -> None:
    text = b"x" * before + b" ![a](data:image/png;base64," + b"iVBO" * (size // 4) + b") data: after"
    stream = unembedded(io.BytesIO(text))
    shown = b"x" * before + b" ![a](data:image/png) data: after"
    assert stream.read() == shown
    stream.seek(0)
    assert stream.read() == shown


def test_what_somebody_may_read_stays() -> None:
    text = b"data:text/plain,Hello and data:image/gif;base64,R0lGODlhAQABAAAAACw= and metadata:a/b,c data:"
    assert unembedded(io.BytesIO(text)).read() == text


async def test_pictures_in_markdown_are_not_indexed(tmp_path: Path) -> None:
    data = "data:image/svg+xml;charset=utf-8;base64," + "AbC+/9=" * 200_000
    text = f"# Doc\n\nText ![][image1] more.\n\n![chart]({data}) “after”\n\n[image1]: <{data}>\n\n[image2]: {data}\n\n[ö]: http://a.b\n"
    document = await read_text(tmp_path, text, "a.md")
    assert [block.text for block in document.blocks] == [
        "Doc", "Text ![][image1] more.", "![chart](data:image/svg+xml) “after”", "[ö]: http://a.b",
    ]  # fmt: skip
