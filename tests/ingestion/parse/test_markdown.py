"""Markdown as people write it: what is open around a line says what the line is, and nothing that is shown gets lost."""

import time
from pathlib import Path

import pytest

from ingestion.document import BlockKind
from ingestion.parse import marks
from tests.ingestion.parse.reading import read_text

H, P, L, T, C, Q = (
    BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.LIST, BlockKind.TABLE, BlockKind.CODE, BlockKind.QUOTE,
)  # fmt: skip


async def blocks_of(folder: Path, text: str) -> list[tuple[BlockKind, str]]:
    document = await read_text(folder, text, "a.md")
    return [(block.kind, block.text) for block in document.blocks]


async def test_code_in_a_list_is_no_markdown(tmp_path: Path) -> None:
    text = """1. Create a file:

   ```yaml
   ---
   # the namespace
   kind: Namespace


   - item
   ```

   ***
2. Apply it.
   - ~~~
     # comment
     ---
     ~~~
- ```sh
  ---
  unclosed

## Rollback

- a
```
# code at the margin
```
"""
    blocks = await blocks_of(tmp_path, text)
    assert [kind for kind, _ in blocks] == [L, H, L, C]
    listed = text.partition("\n\n## Rollback")[0]
    assert blocks[0][1] == listed
    assert blocks[1:] == [(H, "Rollback"), (L, "- a"), (C, "# code at the margin")]


async def test_code_of_a_list_has_any_size(tmp_path: Path) -> None:
    lines = [f"  # line {number}" for number in range(3_000)]
    blocks = await blocks_of(tmp_path, "- Run:\n\n  ```sh\n" + "\n".join(lines) + "\n  ```\n- then\n\n# End\n")
    assert {kind for kind, _ in blocks[:-1]} == {L}
    assert blocks[-1] == (H, "End")
    assert [line for _, text in blocks for line in text.split("\n") if "# line" in line] == lines


async def test_what_ends_a_list_a_quote_and_a_table_without_an_empty_line(tmp_path: Path) -> None:
    text = (
        "- a\n  ---\n---\n- b\n> said\nstill said\n# Head\n> said\n```\n# code\n```\n| a | b |\n|---|---|\n| 1 | 2 |\n## x | y\n"
    )
    assert await blocks_of(tmp_path, text) == [
        (L, "- a\n  ---"), (L, "- b"), (Q, "> said\nstill said"), (H, "Head"), (Q, "> said"), (C, "# code"),
        (T, "| a | b |\n| --- | --- |\n| 1 | 2 |"), (H, "x | y"),
    ]  # fmt: skip


async def test_a_number_in_prose_begins_no_list(tmp_path: Path) -> None:
    assert await blocks_of(tmp_path, "It opened in\n1986. Nobody came\n-\n\nSteps:\n1. go\n") == [
        (P, "It opened in\n1986. Nobody came\n-"), (P, "Steps:"), (L, "1. go"),
    ]  # fmt: skip


async def test_what_follows_a_comment_is_read(tmp_path: Path) -> None:
    text = "<!-- a --> The limit is 40 €.\n\n<!-- a --><!--> ## Costs\nnone <!-- in line --> more\n<!-- two\n\nlines --> end\n"
    assert await blocks_of(tmp_path, text) == [
        (P, "The limit is 40 €."), (H, "Costs"), (P, "none <!-- in line --> more"), (P, "end"),
    ]  # fmt: skip
    assert await blocks_of(tmp_path, "# A\n\n" + "<!-- x -->" * 1_600 + "end\n") == [(H, "A"), (P, "end")]


async def test_a_comment_without_an_end_is_text(tmp_path: Path) -> None:
    document = await read_text(tmp_path, "# A\n\n<!-- TODO\n\n## B\n\n<!-- c\n\ntext\n", "a.md")
    assert document.kinds == [H, P, H, P, P]
    assert document.blocks[-1].text == "text"
    assert document.parsed.warnings == ("a comment is too long or does not end: from there on, comments are read as text",)


@pytest.mark.parametrize(
    ("text", "title", "kinds"),
    [
        ("---\n# Handbook\n\nText.\n\n## Leave\n\n- a\n", "Handbook", [H, P, H, L]),
        ("---\n# Handbook\n\nText.\n\n---\n\n## Leave\n", "Handbook", [H, P, H]),
        ("---\n\n- a\n- b\n\n---\n", None, [L]),
        ("---\ntitle: Open\n\n# Handbook\n", "Handbook", [P, H]),
        ("---  \n# all\ntitle: >-\n  The guide\n\ntags:\n- a\n\"odd key\": {\n}\n...\ntext\n", "The guide", [C, P]),
        ("---\r\nTitle: 'It''s'\r\nname: x\r\n---\r\ntext\r\n", "It''s", [C, P]),
        ("+++\ntitle = \"The guide\"\nlist = [\n'a',\n]\n+++\n# Other\n", "The guide", [C, H]),
        ("+++\ntext\n\n# Handbook\n", "Handbook", [P, H]),
        ("---\n# card\n{{ card }}\n---\n# Handbook\n", "Handbook", [C, H]),
        ("+++\n+++\n# Handbook\n", "Handbook", [H]),
    ],
)  # fmt: skip
async def test_front_matter_is_what_looks_like_it(tmp_path: Path, text: str, title: str | None, kinds: list[BlockKind]) -> None:
    document = await read_text(tmp_path, text, "a.md")
    assert (document.parsed.title, document.kinds) == (title, kinds)


def test_no_line_takes_long() -> None:
    began = time.process_time()
    for mark in ("```", "~~~", "# ", "# a", "- ", "a |", "---", "-|-", "> ", "<!--", "1. ", "[^"):
        for filler in (" ", "\t", "`", "~", "#", "-", "|", ":", "a", " #", "- ", "| -", "`a"):
            line = mark + filler * (16_384 // len(filler)) + "!`x"
            marks.heading_of(line)
            marks.fence_of(line)
            marks.interrupts(line)
            for pattern in (
                marks.RULE,
                marks.SETEXT,
                marks.ITEM,
                marks.DELIMITER,
                marks.FOOTNOTE,
                marks.ADMONITION,
                marks.EMBEDDED,
            ):
                pattern.match(line)
            marks.Nest().add(line)
    assert time.process_time() - began < 5


def test_marks_around_a_heading_are_left_out() -> None:
    assert marks.heading_of("### Three ###") == (3, "Three")
    assert marks.heading_of("## C# and F#") == (2, "C# and F#")
    assert marks.heading_of("# ##") == (1, "")
    assert marks.heading_of("#") == (1, "")
    assert marks.heading_of("#hash") is None
    assert marks.heading_of("####### seven") is None


async def test_markup_goes_on_over_empty_lines_where_something_is_open(tmp_path: Path) -> None:
    text = """<style>
.a { color: red }

.b { color: blue }
</style>
# Install
<script src="x"></script>
<pre>
# one

# two
</pre>
Then *go*
<div align="center"><table>
<tr><th>A</th><th>B</th></tr>

<!-- rows -->
<tr><td>first

second</td>
<td><pre>
x

y</pre></td></tr>

</table></div>

<table><tr><td>

```json
{"a":

# 1}
```

</td></tr></table>

<header>shown</header>
<article>too</article>

<details><summary>Log</summary>
```
# a

# b
```
</details>
## End"""
    assert await blocks_of(tmp_path, text) == [
        (H, "Install"), (C, "# one\n\n# two"), (P, "Then *go*"), (T, "| A | B |\n| --- | --- |\n| first second | x y |"),
        (C, '{"a":\n\n# 1}'), (P, "shown"), (P, "too"), (P, "Log"), (C, "# a\n\n# b"), (P, "## End"),
    ]  # fmt: skip


async def test_markup_of_any_size_keeps_its_form(tmp_path: Path) -> None:
    rows = "".join(f"<tr>\n<td>name {row} of the row</td>\n\n<td>value {row}</td>\n</tr>\n" for row in range(10_000))
    table = f"<table>\n<thead><tr><th>Name</th><th>Value</th></tr></thead>\n{rows}</table>\n"
    words = "some words\n" * 100_000
    listing = "\n\n".join(f"# line {line}" for line in range(40_000))
    blocks = await blocks_of(
        tmp_path, f"{table}\n<pre>\n{listing}\n</pre>\n\n<table><tr><td>{words}</td></tr></table>\n\nafter\n"
    )
    tables = [text for kind, text in blocks if kind is T]
    assert {text.split("\n")[0] for text in tables} == {"| Name | Value |"}
    assert [line for text in tables for line in text.split("\n")[2:]] == [
        f"| name {row} of the row | value {row} |" for row in range(10_000)
    ]
    assert [line for kind, text in blocks if kind is C for line in text.split("\n\n")] == listing.split("\n\n")
    assert sum(text.count("words") for kind, text in blocks if kind is P) == 100_000
    assert blocks[-1] == (P, "after")


async def test_a_table_without_an_end_takes_no_more_than_its_cells(tmp_path: Path) -> None:
    text = "<table><tr><td>a</td><td>b</td></tr>\n\nText.\n\n<table><tr><td>c</td><td>d\n\n## Head\n\n- e\n"
    assert [kind for kind, _ in await blocks_of(tmp_path, text)] == [T, P, T, H, L]


async def test_what_is_indented_below_an_announcement_is_markdown(tmp_path: Path) -> None:
    text = """!!! warning "Careful"
    Text.

    ```yaml
    ---
    # comment

    a: b
    ```
    - item

=== "Linux"

\t??? note
\t\tInner.
After[^n].

[^n]: A note
    that goes on.

    \tcode of it
$$
x
=
- y
$$
"""
    assert await blocks_of(tmp_path, text) == [
        (P, '!!! warning "Careful"'), (P, "Text."), (C, "---\n# comment\n\na: b"), (L, "- item"), (P, '=== "Linux"'),
        (P, "??? note"), (P, "Inner."), (P, "After[^n]."), (P, "[^n]: A note\n    that goes on."), (C, "code of it"),
        (P, "$$\nx\n=\n- y\n$$"),
    ]  # fmt: skip


async def test_markup_that_is_not_well_formed_loses_nothing(tmp_path: Path) -> None:
    text = """<table>
Before <pre>code</pre>
<tr><td>a</td><td>b<table>inner</table></td></tr>
<td>loose</td>
</table>

<div>shown
<!-- not ended

- *here*
</div>

<p>one <!-- two</p>
"""
    document = await read_text(tmp_path, text, "a.md")
    assert document.parsed.warnings == ("a comment is too long or does not end: from there on, comments are read as text",)
    for word in ("Before", "code", "inner", "loose", "shown", "not ended", "here", "one <!-- two"):
        assert document.text.count(word) == 1
    text = "<div>\n<!-- two\n\nlines -->\n<pre>\n<!--\n\n# no --> b\n\nc</pre>\n</div>\n"
    assert await blocks_of(tmp_path, text) == [(C, " b\n\nc")]
