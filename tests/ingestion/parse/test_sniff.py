"""What a text is taken for."""

from pathlib import Path

import pytest

from tests.ingestion.parse.reading import read_text


@pytest.mark.parametrize(
    ("rest", "found"), [("# Title\n\ntext\n", "text/markdown"), ("<!doctype html><p>text", "text/html")], ids=["markdown", "html"]
)
async def test_comments_in_front_are_looked_at_once(tmp_path: Path, rest: str, found: str) -> None:
    # A reader that tries again for each of them doubles its time with each: 20 took a second.
    document = await read_text(tmp_path, "<!-- a -->\n" * 700 + rest, "a.md")
    assert document.parsed.media_type == found
