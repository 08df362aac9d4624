"""Markdown with elements and comments that do not end: they take no text with them."""

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion.document import BlockKind
from ingestion.parse.formats import markdown
from ingestion.parse.hyperlines import MarkupBlock
from ingestion.parse.limits import ParseLimits
from ingestion.parse.pieces import Facts, Piece
from ingestion.parse.source import Source
from tests.ingestion.parse.reading import read_text

H, P, T, C = BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.TABLE, BlockKind.CODE
COMMENT = "a comment is too long or does not end: from there on, comments are read as text"


@pytest.mark.parametrize("tag", ["script", "style", "textarea", "pre"])
async def test_an_element_that_is_spoken_of_ends_nothing(tmp_path: Path, tag: str) -> None:
    text = f"""<details>
<summary>XSS</summary>
Never put `<{tag}>` into a name.
</details>

## Backup

Keep 30 days, and no <{tag}>.

<{tag}>

# no end

</{tag}>

<div>one <{tag}> more</div>

<div>
<{tag}>

# is skipped or code
</{tag}>
</div>
"""
    document = await read_text(tmp_path, text, "a.md")
    assert [(block.kind, block.text) for block in document.blocks][:5] == [
        (P, "XSS"), (P, f"Never put `<{tag}>` into a name."), (H, "Backup"), (P, f"Keep 30 days, and no <{tag}>."),
        *([(C, "# no end")] if tag == "pre" else [(P, f"one <{tag}> more")]),
    ]  # fmt: skip
    assert document.parsed.warnings == (f"<{tag}> does not end: it is read as text",)


@pytest.mark.parametrize("tag", ["script", "style", "textarea"])
async def test_an_element_within_a_block_may_reach_over_an_empty_line(tmp_path: Path, tag: str) -> None:
    text = f"<div>\n<{tag}>\n.a {{}}\n\n.b {{}}\n</{tag}>\nshown\n</div>\n\n# After\n"
    document = await read_text(tmp_path, text, "a.md")
    assert [block.text for block in document.blocks] == ["shown", "After"]
    assert document.parsed.warnings == ()


@pytest.mark.parametrize("tag", ["script", "style", "textarea"])
async def test_an_element_that_code_opens_takes_nothing_of_it(tmp_path: Path, tag: str) -> None:
    text = f"<pre>\na <{tag}> b\n\nc\n</pre>\n\n<div>\n<pre>a <{tag}> b</pre>\n<p>shown</p>\n</div>\n\n# After\n"
    document = await read_text(tmp_path, text, "a.md")
    assert [(block.kind, block.text) for block in document.blocks] == [
        (C, f"a <{tag}> b\n\nc"), (C, f"a <{tag}> b"), (P, "shown"), (H, "After"),
    ]  # fmt: skip
    assert document.parsed.warnings == ()


async def test_elements_without_an_end_are_text(tmp_path: Path) -> None:
    document = await read_text(tmp_path, "# A\n\n<style>\n.a {}\n\ntext\n\n## B\n\n<style>\n.b {}\n\nmore\n", "a.md")
    assert [(block.kind, block.text) for block in document.blocks] == [
        (H, "A"), (P, "<style> .a {}"), (P, "text"), (H, "B"), (P, "<style> .b {}"), (P, "more"),
    ]  # fmt: skip
    assert document.parsed.warnings == ("<style> does not end: it is read as text",)


async def test_in_tables_what_is_spoken_of_is_text(tmp_path: Path) -> None:
    text = "<table>\n<tr><td>a</td><td>no <script> here</td></tr>\n\n<tr><td>c</td><td>d</td></tr>\n</table>\n\n# End\n"
    document = await read_text(tmp_path, text, "a.md")
    assert [(block.kind, block.text) for block in document.blocks] == [
        (T, "| a | no <script> here |\n| --- | --- |\n| c | d |"), (H, "End"),
    ]  # fmt: skip


@pytest.mark.parametrize("opens", ["<div>a <script> b", "<div>a <pre> b", "<div>a <!-- b", "<pre>\na <!-- b"])
async def test_what_is_open_for_long_loses_nothing(tmp_path: Path, opens: str) -> None:
    words = "\n".join("some words" if number % 9 else "" for number in range(35_000))
    document = await read_text(tmp_path, f"<p>before</p>\n\n{opens}\n{words}\n\n# End\n", "a.md")
    assert document.text.count("words") == words.count("words")
    assert document.blocks[-1].text == ("End" if "pre" not in opens else document.blocks[-1].text)
    assert len(document.parsed.warnings) == 1


async def test_a_script_of_any_size_is_left_out(tmp_path: Path) -> None:
    script = "\n\n".join("let words = 1" for _ in range(40_000))
    document = await read_text(tmp_path, f"<script>\n{script}\n</script>\n\n# End\n", "a.md")
    assert document.text == "# End"
    document = await read_text(tmp_path, f"# A\n\n<script>\n{script}\n\n# End\n", "a.md")
    assert document.parsed.warnings == ("<script> does not end: what follows it is left out",)


async def test_a_comment_of_any_size_is_told(tmp_path: Path) -> None:
    words = "words and\n" * 30_000
    for text in (f"<!--\n{words}-->\n\n# End\n", f"<div>\n<!--\n{words}-->\n</div>\n\n# End\n"):
        document = await read_text(tmp_path, text, "a.md")
        assert document.text.count("words") == 30_000
        assert document.blocks[-1].text == "End"
        assert document.parsed.warnings == (COMMENT,)


@pytest.mark.parametrize(
    "line", ["<div><script>", "<script>", "<div><pre>", "<div>a <style>", "<td><textarea>", "<div><!--", "<script>\n</style>"]
)
async def test_ends_are_looked_for_once(tmp_path: Path, line: str) -> None:
    began = time.process_time()
    await read_text(tmp_path, "# A\n\n" + f"{line}\n\nsome words\n\n" * 9_000, "a.md")
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    "line",
    [
        "use <script> here", "<p><pre>", "<td><textarea>", "<style><script>", "<pre><style><script>", "a <!-- b --><script>",
        "<script> " * 50,
    ],
)  # fmt: skip
def test_ends_are_looked_for_once_where_no_line_is_empty(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in what blocks are given to read, however often. A paragraph of them is text to its last word."""
    given: list[int] = []
    add = MarkupBlock.add

    def counted(self: MarkupBlock, text: str) -> Iterator[Piece]:
        given.append(len(text) + 1)
        return add(self, text)

    monkeypatch.setattr(MarkupBlock, "add", counted)
    content = ("<div>\n" + f"{line} 11 words\n" * 2_000 + "\n# End\n").encode()
    source = Source(io.BytesIO(content), len(content), ParseLimits())
    text = "".join(piece.text for piece in markdown.read(source, Facts()))
    assert text.count("words") == 2_000
    assert text.endswith("End")
    # An element of each name at the beginning is looked for to the end of the document, and then to the end of the paragraph.
    assert sum(given) < 5 * len(content)


def test_tables_that_nobody_closes_are_read_quickly() -> None:
    block = MarkupBlock(comments=True)
    began = time.process_time()
    for number in range(700):
        list(block.add(f"<table><tr><td>word {number} " + "<i>x</i> " * 20))
    assert "word 699" in " ".join(piece.text for piece in block.pieces())
    assert time.process_time() - began < 15
