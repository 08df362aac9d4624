"""Pages as they are written: nested too deeply, closed badly or not at all, with lists, terms and tables of every kind."""

import re
import time
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.document import BlockKind
from ingestion.parse.hypertext import parse_html, pieces_of
from tests.ingestion.parse.reading import read_text

_INLINE = st.sampled_from(
    ["w", "<b>w</b>", "<br>", "w<br>w", "<a href='https://e.com'>w</a>", "<code>w</code>", "<span>w<b>w</b></span>"]
)
_WRAPPED = [
    "<div>{}</div>",
    "<p>w</p>{}w",
    "<blockquote>{}</blockquote>",
    "<details><summary>w</summary>{}</details>",
    "<b>{}</b>",
]
_LISTS = ["<ul><li>{}</ul>", "<ol><li>w</li><li>{}</li>w</ol>", "<ul>w{}<li>w</ul>", "<ul><li>{}</li><ol><li>w</ol></ul>"]
_TERMS = [
    "<dl><dt>w<dd>{}</dl>",
    "<dl><div><dt>w</dt><dt>{}</dt></div><dd>w</dd></dl>",
    "<dl>w<dd>w</dd>{}</dl>",
    "<dl><dt>w<dt>w<dd>{}<dd>w</dl>",
]
_NESTED = st.recursive(
    _INLINE,
    lambda inner: st.tuples(
        st.sampled_from([*_WRAPPED, *_LISTS, *_TERMS]), st.lists(inner, min_size=1, max_size=3).map(" ".join)
    ).map(lambda pair: pair[0].format(pair[1])),
    max_leaves=12,
)


async def test_elements_that_nobody_closes(tmp_path: Path) -> None:
    """Each <font> stays open, so that every paragraph stands deeper than the one before."""
    said = [f"Paragraph {number} says something." for number in range(1_500)]
    document = await read_text(tmp_path, "<h1>Old page</h1>" + "".join(f"<p><font>{one}" for one in said), "a.html")
    assert [block.text for block in document.blocks] == ["Old page", *said]


async def test_what_is_too_deep_stands_side_by_side(tmp_path: Path) -> None:
    page = "<div>" * 700 + "<h2>Deep</h2><p>in <b>it</b></p>" + "</div>" * 700 + "<h2>After</h2><p>it</p>"
    document = await read_text(tmp_path, page, "a.html")
    assert [(block.kind, block.text) for block in document.blocks] == [
        (BlockKind.HEADING, "Deep"),
        (BlockKind.PARAGRAPH, "in"),
        (BlockKind.PARAGRAPH, "it"),
        (BlockKind.HEADING, "After"),
        (BlockKind.PARAGRAPH, "it"),
    ]


async def test_names_and_characters_that_no_tree_takes(tmp_path: Path) -> None:
    page = (
        """<html xmlns:o="urn:o" "><div @click="x" :class="{a}" 1='2' class=a&#1;>a<o:p>b\x01c</o:p>&#1;d\x0ce&#0;&#xfffe;</div>
<x1:y/><a:b:c><p id="\x02">f</p><\x01>g<é>h</é><-a>i<a\x02b>j</a\x02b><p>"""
        + "END " * 200
    )
    document = await read_text(tmp_path, page, "a.html")
    assert document.blocks[0].text.startswith("abcd e")
    assert document.blocks[-1].text.endswith("END")


async def test_a_body_within_frames(tmp_path: Path) -> None:
    document = await read_text(tmp_path, "<frameset><body>a<p>b</frameset>c", "a.html")
    assert "".join(document.text.split()) == "abc"


@pytest.mark.parametrize(
    "huge", ["<p>" + "word " * 2_100_000, "<img src='data:image/png;base64," + "A" * 10_500_000 + "'>"], ids=["text", "attribute"]
)
async def test_what_follows_something_huge_is_read(tmp_path: Path, huge: str) -> None:
    document = await read_text(tmp_path, f"<p>before</p>{huge}<p>after</p>", "a.html")
    assert (document.blocks[0].text, document.blocks[-1].text) == ("before", "after")


async def test_pages_go_on_after_their_end(tmp_path: Path) -> None:
    page = "<html><head><title>One</title></head><body><p>a</p></body></html>"
    document = await read_text(tmp_path, page + "<p>b</p>" + page.replace("One", "Two") + "c", "a.html")
    assert document.text == "a\n\nb\n\na\n\nc"
    assert document.parsed.title == "One"


async def test_long_tables_are_whole(tmp_path: Path) -> None:
    rows = "".join(f"<tr><th colspan=3>{number}</th></tr><tr>" + "<td>x</td>" * 12 + "</tr>" for number in range(20_000))
    document = await read_text(tmp_path, f"<table><tr><td>a</td><td>b</td></tr>{rows}</table><p>after</p>", "a.html")
    lines = document.text.split("\n")
    assert lines[-1] == "after"
    assert sum(line.startswith("| x |") for line in lines) == 20_000
    assert "| 19999 | 19999 | 19999 |" in document.text


async def test_a_table_of_spans_is_read_to_its_end(tmp_path: Path) -> None:
    cells = "<tr>" + "<td rowspan=50 colspan=50>x</td>" * 20 + "</tr>"
    document = await read_text(tmp_path, f"<table>{cells * 30}<tr><td>the end</td></tr></table>", "a.html")
    assert "the end" in document.text


async def test_words_and_cells_outside_of_rows_are_read(tmp_path: Path) -> None:
    page = """<table>Prices <b>of 2026</b><select><option>no</option></select><td>name<td>price
<tr><td>basic</td>each<td>3</td></tr><tr><font><td>more</td></font><script>no</script></tr></table><p>after</p>"""
    document = await read_text(tmp_path, page, "a.html")
    assert [block.text for block in document.blocks] == [
        "Prices of 2026 each", "| name | price |\n| --- | --- |\n| basic | 3 |\n| more |  |", "after",
    ]  # fmt: skip


@pytest.mark.parametrize("tag", ["form", "font", "b"])
async def test_cells_in_a_form_or_font_stay_in_their_row(tmp_path: Path, tag: str) -> None:
    page = f"""<table><{tag}><tr><td>name<td>price<td>tax</tr></{tag}><tr><{tag}><td>a</td><td>1</td></{tag}><td>2</td></tr>
<tr><td>b</td><{tag}><td>3</td><td>4</td></tr></{tag}><{tag}><td>c</td></{tag}><{tag}><td>5</td></{tag}><td>6</td>
<tbody><td>d</td></tbody></table>"""
    document = await read_text(tmp_path, page, "a.html")
    assert document.text.split("\n") == [
        "| name | price | tax |", "| --- | --- | --- |", "| a | 1 | 2 |", "| b | 3 | 4 |", "| c | 5 | 6 |", "| d |  |  |",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "table",
    [
        "<table><caption>Prices</caption>{}</table>",
        "<table><tbody><caption>Prices</caption>{}</tbody></table>",
        "<table>{}<caption>Prices</caption></table>",
        "<table><tbody>{}</tbody><font><caption>Prices</caption></font></table>",
    ],
)
@pytest.mark.parametrize("row", ["<tr><td>basic</td><td>3</td></tr>", "<tr><td>basic</td><td>3</td>"])
async def test_captions_are_read_once_wherever_they_stand(tmp_path: Path, table: str, row: str) -> None:
    document = await read_text(tmp_path, table.format(row), "a.html")
    assert [block.text for block in document.blocks] == ["Prices", "| basic | 3 |\n| --- | --- |"]


async def test_rows_that_stand_in_cells_or_captions_are_read_once(tmp_path: Path) -> None:
    page = """<table><tr><td>a<td><font color=red>b<tr><td>c<td><font>d<tr>each<td>e<td>f</table>
<table><caption><font>g<tr><td>h<td>i</table>"""
    document = await read_text(tmp_path, page, "a.html")
    assert [block.text for block in document.blocks] == [
        "| a | b |\n| --- | --- |\n| c | d each |\n| e | f |", "g", "| h | i |\n| --- | --- |",
    ]  # fmt: skip
    page = "<table>" + "".join(f"<tr><td>a{number}<td><font color=red>b{number}" for number in range(1_000)) + "</table>"
    text = (await read_text(tmp_path, page, "a.html")).text
    assert len(text) < len(page)
    assert {f"{cell}{number}" for cell in "ab" for number in range(1_000)} <= set(text.split())


async def test_tables_within_tables(tmp_path: Path) -> None:
    """Each level is looked at once: 300 of them took a minute."""
    page = "<table><caption>c</caption><tr><td>x<td>y" * 300 + "END"
    text = (await read_text(tmp_path, page, "a.html")).text
    assert text.endswith("END")
    assert text.count("c\n") == 300


async def test_questions_alerts_and_asides_are_read(tmp_path: Path) -> None:
    page = """<h2><button>How many days?</button></h2><p>30 <button>Copy</button></p><details>
<summary><button>More</button></summary>x<button>no</button></details>
<dl><dt><button>Term</button><button hidden>no</button></dt><dd>meaning</dd></dl>
<div role="alert"><p>Never restore here.</p></div><div role="complementary">Note</div><div role="search">no</div>"""
    document = await read_text(tmp_path, page, "a.html")
    assert [block.text for block in document.blocks] == [
        "How many days?", "30", "More", "x", "- Term: meaning", "Never restore here.", "Note",
    ]  # fmt: skip


async def test_buttons_beside_a_name_are_left_out(tmp_path: Path) -> None:
    page = """<h1>Module <span>prelude</span><button>Copy item path</button></h1>
<h2><button>How many days?<svg></svg></button><a href="#days">#</a><span aria-hidden="true">plus</span></h2>
<dl><dt>fee <button>Edit</button></dt><dd>3</dd><dt><span><button>limit</button></span></dt><dd>4</dd></dl>
<details><summary>Log <button>Copy</button></summary>x</details>"""
    document = await read_text(tmp_path, page, "a.html")
    assert [block.text for block in document.blocks] == [
        "Module prelude", "How many days?#", "- fee: 3\n- limit: 4", "Log", "x",
    ]  # fmt: skip


def test_many_buttons_in_a_name_take_no_long() -> None:
    began = time.process_time()
    root = parse_html("<h1>" + "<button></button>" * 30_000 + "<button>Which?</button></h1>")
    assert root is not None
    assert [piece.text for piece in pieces_of(root)] == ["Which?"]
    assert time.process_time() - began < 5


def test_parsing_begins_anew_with_each_page() -> None:
    """What was open in one page, or whether it had an element, is nothing to the next."""
    for page, text in (("<div>" * 600 + "a", "a"), ("", None), ("<!-- -->", None), ("<p>b", "b"), ("</p></div>c", "c")):
        root = parse_html(page)
        assert (text is None) == (root is None)
        assert root is None or "".join(root.itertext()) == text


async def test_lines_of_code_that_are_elements(tmp_path: Path) -> None:
    page = "<pre>a<br>b</pre><pre><div><b>c</b></div><div>d\n</div>e<button>Copy</button></pre>"
    document = await read_text(tmp_path, page, "a.html")
    assert [block.text for block in document.blocks] == ["a\nb", "c\nd\ne"]


@pytest.mark.parametrize("tag", ["script", "STYLE", "textarea", "iframe"])
async def test_code_that_nobody_escaped_takes_nothing_with_it(tmp_path: Path, tag: str) -> None:
    page = f"""<body><script>"<pre>"</script><!-- <pre> --><{tag}>no</{tag}><pre>
a <b>bold</b> <{tag} src="x"> opens
</pre><p>after</p><pre>a<{tag}>no</{tag}>b<!-- <{tag}> --></pre><{tag}>no</{tag}>end</body>"""
    document = await read_text(tmp_path, page, "a.html")
    assert [block.text for block in document.blocks] == [f'a bold <{tag} src="x"> opens', "after", "ab", "end"]


@pytest.mark.parametrize(
    ("page", "texts"),
    [
        (
            '<div title="<pre>">a</div><script>document.write("<pre>" + x + "</pre>")</script><p>after</p><script>no</script>',
            ["a", "after"],
        ),
        ('<pre>never closed<p>a</p><script>var x = "</pre>"; secret()</script>', ["never closeda"]),
        ("<pre>a <style> b</pre><p>shown</p><pre>c </style> d</pre>", ["a <style> b", "shown", "c  d"]),
    ],
)
async def test_a_script_may_speak_of_the_end_of_code(tmp_path: Path, page: str, texts: list[str]) -> None:
    document = await read_text(tmp_path, page, "a.html")
    assert [block.text for block in document.blocks] == texts


def test_code_that_nobody_escaped_is_looked_through_once() -> None:
    began = time.process_time()
    root = parse_html("<pre>" + "a <script> " * 20_000 + "</pre>" + "words " * 200_000 + "<script>no</script>")
    assert root is not None
    assert [len(piece.text.split()) for piece in pieces_of(root)] == [40_000, 200_000]
    assert time.process_time() - began < 5


async def test_formulas(tmp_path: Path) -> None:
    tex = '<math><semantics><mi>x</mi><annotation encoding="application/x-tex">x^2</annotation></semantics></math>'
    page = f'<p>If {tex} or <math alttext="\\pi r"><mi>p</mi></math> or <math><mi>a</mi><mo>=</mo><mn>2</mn></math>.</p>'
    assert (await read_text(tmp_path, page, "a.html")).text == "If x^2 or \\pi r or a = 2."
    noted = """<p><math><semantics><mi>y</mi><annotation encoding="{}">{}</annotation>
<annotation-xml encoding="MathML-Content"><ci>y</ci></annotation-xml></semantics></math></p>"""
    pages = (
        noted.format("TeX", "y_1") + noted.format("StarMath 5.0", "y sub") + "<ul><li><math><mi>a</mi><ul><li>b</ul></math></ul>"
    )
    assert (await read_text(tmp_path, pages, "a.html")).text == "y_1\n\ny\n\n- a b"


@given(_NESTED)
def test_every_word_of_lists_is_read_once(markup: str) -> None:
    numbers = count()
    page = re.sub(r"(?<![a-z/])w(?![a-z])", lambda _: f"w{next(numbers)};", markup)
    root = parse_html(f"<div>{page}</div>")
    assert root is not None
    read = " ".join(piece.text for piece in pieces_of(root))
    assert sorted(re.findall(r"w\d+;", read)) == sorted(re.findall(r"w\d+;", page))


async def test_items_keep_their_words_beside_their_lists(tmp_path: Path) -> None:
    page = """<ul><li><div><p>Install the agent first.</p><ul><li>Linux</li><li>Windows</li></ul><p>Then restart.</p></div></li>
<li><details><summary>More</summary><ol><li>one</li></ol></details></li></ul>"""
    document = await read_text(tmp_path, page, "a.html")
    assert document.text == "- Install the agent first. Then restart.\n    - Linux\n    - Windows\n- More\n    1. one"


async def test_terms_and_their_meanings(tmp_path: Path) -> None:
    page = """<dl><dt>--verbose</dt><dt>-v</dt><dd>More output.</dd><div><dt>-q</dt><dd>Less.</dd></div>
<dt>class A</dt><dd><p>About A.</p><pre>a = A()
a.run()</pre><dl><dt>run()</dt><dd>Runs.<table><tr><td>a</td><td>b</td></tr></table></dd></dl></dd><dt>end</dt></dl>"""
    document = await read_text(tmp_path, page, "a.html")
    assert [block.text for block in document.blocks] == [
        "- --verbose, -v: More output.\n- -q: Less.\n- class A",
        "About A.",
        "a = A()\na.run()",
        "- run()",
        "Runs.",
        "| a | b |\n| --- | --- |",
        "- end",
    ]


async def test_a_count_beside_the_button_of_a_question_is_no_name_of_its_own(tmp_path: Path) -> None:
    page = """<h3>1. <button>How many days?</button></h3><p>30</p><h3><button>And nights?</button> <small>(2)</small></h3>
<p>31</p><h3>2.1. <button>And hours?</button></h3><dl><dt>12) <button>fee</button></dt><dd>3</dd></dl>"""
    document = await read_text(tmp_path, page, "a.html")
    assert [block.text for block in document.blocks] == [
        "1. How many days?", "30", "And nights? (2)", "31", "2.1. And hours?", "- 12) fee: 3",
    ]  # fmt: skip


async def test_a_number_may_be_all_of_a_name(tmp_path: Path) -> None:
    page = """<h2>2.1.0 <button>Copy link</button></h2><h3>404 <button>Permalink</button></h3>
<dl><dt>8080 <button>Copy</button></dt><dd>port</dd></dl><h2>2024-01-05 <button>Share</button></h2>"""
    document = await read_text(tmp_path, page, "a.html")
    assert [block.text for block in document.blocks] == ["2.1.0", "404", "- 8080: port", "2024-01-05"]


async def test_a_question_stands_beside_any_number(tmp_path: Path) -> None:
    names = {
        "<span>01</span><button>How many days?</button>": "01 How many days?",
        "1 <button>And nights? <span>+</span></button>": "1 And nights? +",
        "#1 <button>何日？</button>": "#1 何日？",
        "1: <button>Days of leave</button>": "1: Days of leave",
        "§ 3 <button>Who decides it</button>": "§ 3 Who decides it",
        "2.1.0 <button>Copy link<svg>a b c</svg></button>": "2.1.0",
    }
    document = await read_text(tmp_path, "".join(f"<h3>{name}</h3>" for name in names), "a.html")
    assert [block.text for block in document.blocks] == list(names.values())
