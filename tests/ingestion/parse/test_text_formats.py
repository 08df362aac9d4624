"""Formats of text: what each kind of block becomes, and how the kind of file is found."""

from pathlib import Path

import pytest

from ingestion.document import BlockKind
from ingestion.parse.sniff import hint
from tests.ingestion.parse import made
from tests.ingestion.parse.reading import PARSER, read_text

H, P, L, T, C, Q = (
    BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.LIST, BlockKind.TABLE, BlockKind.CODE, BlockKind.QUOTE,
)  # fmt: skip


OFFICE = "application/vnd.openxmlformats-officedocument"


async def test_markdown(tmp_path: Path) -> None:
    text = """---
title: "The handbook"
---
Intro *with* [a link](https://example.com).
===

Setext two
----------

Text before
| a | b |
|---|:-:|
| 1 | x \\| y |
after

- one
  more of one
    - nested

- two

1) first

> said
> again

```python title
def f():
    # not a heading

    return 1
```

    indented

***
### Three ###
<!-- a comment
# not a heading -->
<ul><li>html</li></ul>

last"""
    document = await read_text(tmp_path, text, "a.md")
    assert document.parsed.title == "The handbook"
    assert document.kinds == [C, H, H, P, T, P, L, Q, C, C, H, L, P]
    blocks = document.blocks
    assert [(block.text, block.level) for block in blocks if block.kind is H] == [
        ("Intro *with* [a link](https://example.com).", 1),
        ("Setext two", 2),
        ("Three", 3),
    ]
    assert blocks[4].text == "| a | b |\n| --- | --- |\n| 1 | x \\| y |"
    assert blocks[6].text == "- one\n  more of one\n    - nested\n- two\n1) first"
    assert (blocks[8].text, blocks[8].language) == ("def f():\n    # not a heading\n\n    return 1", "python")
    assert blocks[-1].text == "last"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "Grüße — 你好"), ("utf-8-sig", "Grüße"), ("utf-16", "Grüße, 你好"), ("utf-16-le", "plain words, no mark"),
        ("utf-16-be", "plain words, no mark"), ("utf-32", "Grüße"),
        ("cp1252", "“Grüße” aus Köln kosten 5 €, sagte die Verkäuferin."),
        ("cp1251", "Привет, как дела? Это обычный русский текст, довольно длинный."),
        ("shift_jis", "これは日本語の文章です。文字コードを調べるためのものです。"),
    ],
)  # fmt: skip
async def test_encodings(tmp_path: Path, encoding: str, text: str) -> None:
    document = await read_text(tmp_path, (text + "\n\n" + text).encode(encoding), "a.txt")
    assert [block.text for block in document.blocks] == [text, text]


async def test_a_few_wrong_bytes_are_no_other_encoding(tmp_path: Path) -> None:
    content = "Grüße\n\n".encode() * 20_000 + b"br\xf6ken\n"
    document = await read_text(tmp_path, content, "a.txt")
    assert document.blocks[0].text == "Grüße"
    assert document.blocks[-1].text == "br\ufffdken"
    assert document.parsed.warnings


@pytest.mark.parametrize(
    ("content", "name", "declared", "found"),
    [
        ("# Title\n\ntext", "", None, "text/markdown"),
        ("# Title\n\ntext", "a.txt", None, "text/plain"),
        ("words", "", "text/markdown; charset=utf-8", "text/markdown"),
        ("<!-- x --><!DOCTYPE html><html><p>a", "a.txt", None, "text/html"),
        ("a,b,c\n1,2,3\n4,5,6\n7,8,9\n", "export", None, "text/csv"),
        ("One, two, three.\nFour, five.\nSix.\n", "", None, "text/plain"),
        ('{"a": 1}\n{"a": 2}\n', "a.json", None, "application/jsonl"),
        ('{"a": 1}\n{"a": 2}\n', "data", None, "application/jsonl"),
        ('[{"a": {"b": 1}}]', "data", None, "application/json"),
        ("#!/usr/bin/env -S python3 -u\nprint(1)\n", "tool", None, "text/x-source"),
        ("FROM scratch\n", "Dockerfile", None, "text/x-source"),
        ("From: a@b.c\nTo: d@e.f\nSubject: hi\nDate: now\n\nbody\n", "message", None, "message/rfc822"),
        (made.pdf("hello"), "a.txt", "text/plain", "application/pdf"),
        (made.docx(made.paragraph("hello")), "a.pdf", None, f"{OFFICE}.wordprocessingml.document"),
    ],
)  # fmt: skip
async def test_the_kind_of_file_is_seen(
    tmp_path: Path, content: str | bytes, name: str, declared: str | None, found: str
) -> None:
    document = await read_text(tmp_path, content, name, media_type=declared)
    assert document.parsed.media_type == found


async def test_delimited(tmp_path: Path) -> None:
    rows = 'name;note\n"a ; b";"two\nlines"\nlong;1;2;3\n\n;\nlast;x|y\n'
    document = await read_text(tmp_path, rows, "a.csv")
    assert document.text.split("\n") == [
        "| name | note |  |  |", "| --- | --- | --- | --- |", "| a ; b | two lines |  |  |", "| long | 1 | 2 | 3 |",
        "| last | x\\|y |  |  |",
    ]  # fmt: skip
    wide = await read_text(tmp_path, "id\ttext\n1\t" + "word " * 10_000 + "\n2\tshort\n", "a.tsv")
    assert wide.kinds[0] is L
    assert wide.blocks[-1].text.endswith("| 2 | short |")


async def test_records(tmp_path: Path) -> None:
    lines = '{"id": 1, "title": "One", "tags": ["a", "b"]}\n\nnot json\n{"id": 2, "deep": {"x": [1]}}\n'
    document = await read_text(tmp_path, lines, "a.jsonl")
    assert document.kinds == [L, C, C]
    assert document.blocks[0].text == "- id: 1\n- title: One\n- tags: a, b"
    assert document.parsed.warnings == ("not strict JSON, as it stands: line 3",)
    whole = await read_text(tmp_path, '{"title": "Settings", "rules": {"a": 1}, "n": 3}', "a.json")
    assert whole.parsed.title == "Settings"
    assert [block.text for block in whole.blocks] == ["- title: Settings", '{\n  "rules": {\n    "a": 1\n  }\n}', "- n: 3"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"price": "10 EUR", "price": "20 EUR"}', "JSON with a name twice in one object; it is shown as it stands"),
        ("[" * 100_000 + "]" * 100_000, "JSON that is nested too deeply; it is shown as it stands"),
    ],
)
@pytest.mark.parametrize("name", ["a.json", "data"])
async def test_json_that_would_lose_something_is_shown_as_it_stands(tmp_path: Path, text: str, said: str, name: str) -> None:
    document = await read_text(tmp_path, text, name)
    assert "".join(block.text for block in document.blocks) == text
    assert document.parsed.warnings == (said,)


async def test_a_line_with_a_name_twice_is_kept_as_it_is(tmp_path: Path) -> None:
    document = await read_text(tmp_path, '{"a": 1, "a": 2}\n{"a": 3}\n', "a.jsonl")
    assert [block.text for block in document.blocks] == ['{"a": 1, "a": 2}', "- a: 3"]
    assert document.parsed.warnings == ("not strict JSON, as it stands: line 1",)


async def test_what_is_called_json_and_is_not_quite(tmp_path: Path) -> None:
    settings = '{\n  // comments are for people\n  "strict": true,\n}'
    document = await read_text(tmp_path, settings, "tsconfig.json")
    assert [(block.kind, block.text, block.language) for block in document.blocks] == [(C, settings, "json")]
    assert document.parsed.warnings == ("not strict JSON; it is shown as it stands",)


async def test_an_array_of_numbers_is_one_list(tmp_path: Path) -> None:
    document = await read_text(tmp_path, "[1, 2.5, null, true]", "a.json")
    assert [(block.kind, block.text) for block in document.blocks] == [(L, "- 1\n- 2.5\n- null\n- true")]


async def test_source_code(tmp_path: Path) -> None:
    function = "def f():\n    return 1\n\n\n"
    document = await read_text(tmp_path, function * 2_000, "a.py")
    assert {block.language for block in document.blocks} == {"python"}
    assert all(block.text.startswith("def f():") for block in document.blocks)
    assert "\n```python\n" not in document.blocks[0].text
    fenced = await read_text(tmp_path, 'DOC = """\n```\ncode\n```\n"""\n', "b.py")
    assert fenced.text.startswith("````python\n")
    assert fenced.text.endswith("\n````")


async def test_mail(tmp_path: Path) -> None:
    mail = """From: =?utf-8?q?J=C3=BCrgen?= <j@example.com>
To: b@example.com
Subject: =?utf-8?b?R3LDvMOfZQ==?=
Date: Mon, 1 Jan 2024 10:00:00 +0000
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/html; charset=utf-8

<p>Hello <b>you</b></p>
--inner--
--outer
Content-Type: application/pdf; name=plan.pdf
Content-Disposition: attachment; filename=plan.pdf

JVBERi0=
--outer
Content-Type: message/rfc822

Subject: inner

hidden
--outer--
"""
    document = await read_text(tmp_path, mail, "a.eml")
    assert document.parsed.title == "Grüße"
    assert document.kinds == [H, L, P]
    assert document.blocks[1].text.startswith("- From: Jürgen <j@example.com>\n- To: b@example.com\n- Date: Mon")
    assert document.blocks[2].text == "Hello you"
    assert document.parsed.warnings == ("attachment not read: plan.pdf", "attachment not read: message/rfc822")
    broken = await read_text(
        tmp_path, "Subject: =?x-none?q?a?=\nFrom: a\nTo: b\nContent-Type: text/plain; charset=none\n\nbody\n", "a.eml"
    )
    assert broken.blocks[-1].text == "body"


async def test_what_a_document_is_called_is_known_with_its_first_block(tmp_path: Path) -> None:
    path = tmp_path / "document"
    for content, name, title in (
        ("<html><head><title>A page</title></head><body><p>text</p></body></html>", "a.html", "A page"),
        ("---\ntitle: The handbook\n---\n\ntext\n", "a.md", "The handbook"),
        ("text\n\n# Late\n", "a.md", None),
    ):
        path.write_text(content)
        async with PARSER.open(path, name=name) as reading:
            assert reading.title is None
            await anext(aiter(reading))
            assert reading.title == title


async def test_html(tmp_path: Path) -> None:
    page = """<html><head><title>A page</title><style>p {}</style></head><body>
<header>site</header><nav><a href="/">Home</a></nav>
<h1>Head<br>ing</h1>loose <b>text</b> and <code>code</code>
<p>one<br>two <a href="https://e.com/a b">link</a> <a href="#x">here</a></p>
<ol><li>first<ul><li>nested</li></ul></li><li><p>second</p></li></ol>
<dl><dt>term</dt><dd>meaning</dd></dl>
<blockquote><p>said</p></blockquote>
<pre><code class="language-js">let x;
  y;</code></pre>
<table><caption>Cap</caption><tr><th>a</th><th colspan=2>b</th></tr>
<tr><td rowspan=2>1</td><td>2</td><td>3|4</td></tr><tr><td>5</td><td></td></tr></table>
<table><tr><td><p>layout</p></td></tr></table>
<div class="sidebar"><a href="/a">x</a> <a href="/b">y</a></div>
<div hidden>unseen</div><script>unseen()</script><footer>site</footer></body></html>"""
    document = await read_text(tmp_path, page, "a.html")
    assert document.parsed.title == "A page"
    assert document.kinds == [H, P, P, L, L, Q, C, P, T, P]
    assert [block.text for block in document.blocks] == [
        "Head ing",
        "loose text and `code`",
        "one\ntwo [link](https://e.com/a%20b) here",
        "1. first\n    - nested\n2. second",
        "- term: meaning",
        "> said",
        "let x;\n  y;",
        "Cap",
        "| a | b | b |\n| --- | --- | --- |\n| 1 | 2 | 3\\|4 |\n| 1 | 5 |  |",
        "layout",
    ]
    assert document.blocks[6].language == "js"


async def test_encodings_of_pages(tmp_path: Path) -> None:
    words = "Привет, как дела? Ещё немного слов."
    for encoding, declared in (
        ("utf-8", ""),
        ("utf-8", "koi8-r"),
        ("utf-16", ""),
        ("koi8-r", "koi8-r"),
        ("cp1251", "windows-1251"),
    ):
        page = f'<html><head><meta charset="{declared}"></head><body><p>{words}</p></body></html>'
        document = await read_text(tmp_path, page.encode(encoding), "a.html")
        assert document.text == words
    book = made.zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="o/p.opf"/></rootfiles></container>',
            "o/p.opf": '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="a" href="a%20b.xhtml" '
            'media-type="application/xhtml+xml"/><item id="b" href="gone.xhtml" media-type="text/html"/></manifest>'
            '<spine><itemref idref="a"/><itemref idref="b"/><itemref idref="none"/></spine></package>',
            "o/a b.xhtml": f'<html xmlns="http://www.w3.org/1999/xhtml"><body><p>{words}</p></body></html>',
        }
    )
    document = await read_text(tmp_path, book, "a.epub")
    assert document.text == words
    assert document.parsed.warnings == ("a chapter is missing: o/gone.xhtml",)


async def test_names_of_any_kind_are_only_hints(tmp_path: Path) -> None:
    for name in ("../../etc/passwd", "a\x00b.md", "C:\\docs\\a.py", "x" * 5_000, "\udcff.txt"):
        assert (await read_text(tmp_path, "words", name)).blocks[0].text == "words"


def test_hints_are_alike_where_they_choose_the_same() -> None:
    alike = (
        {("a.md", None), ("b.MARKDOWN", "text/csv"), (None, "text/markdown; charset=utf-8"), ("picture.png", "text/markdown")},
        {("a.csv", None), ("C:\\b.tab", None), (None, "Text/CSV"), (None, "text/tab-separated-values")},
        {("a.tsv", None), ("b.tsv", "text/csv")},
        {("a.txt", None), ("notes.log", "text/html"), (None, "text/plain")},
        {("a.py", None), ("b.pyi", "text/plain")},
        {("Makefile", None), ("docs/makefile", None), ("a.mk", None)},
        {(None, None), ("a", None), ("a.pdf", "application/pdf"), ("", "")},
    )
    hints = [{hint(*one) for one in some} for some in alike]
    assert [len(some) for some in hints] == [1] * len(alike)
    assert len(set.union(*hints)) == len(alike)
    assert hint("a.md", None) == "markdown"
    assert hint(None, None) == ""
