"""Office formats: what each kind of block becomes."""

from pathlib import Path

from ingestion.document import BlockKind
from tests.ingestion.parse import made
from tests.ingestion.parse.reading import read_text

H, P, L, T, C, Q = (
    BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.LIST, BlockKind.TABLE, BlockKind.CODE, BlockKind.QUOTE,
)  # fmt: skip


async def test_word(tmp_path: Path) -> None:
    outline = '<w:p><w:pPr><w:outlineLvl w:val="1"/></w:pPr><w:r><w:t>Second level</w:t></w:r></w:p>'
    item = '<w:p><w:pPr><w:numPr><w:ilvl w:val="{}"/><w:numId w:val="1"/></w:numPr></w:pPr><w:r><w:t>{}</w:t></w:r></w:p>'
    code = '<w:p><w:r><w:rPr><w:rFonts w:ascii="Courier New"/></w:rPr><w:t xml:space="preserve">{}</w:t></w:r></w:p>'
    changed = (
        "<w:p><w:r><w:t>kept</w:t></w:r><w:ins><w:r><w:t> added</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText> gone</w:delText></w:r></w:del></w:p>"
    )
    table = (
        '<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val="2"/></w:tcPr><w:p><w:r><w:t>wide</w:t></w:r></w:p></w:tc></w:tr>'
        '<w:tr><w:tc><w:tcPr><w:vMerge w:val="restart"/></w:tcPr><w:p><w:r><w:t>tall</w:t></w:r></w:p></w:tc>'
        "<w:tc><w:p><w:r><w:t>1</w:t></w:r></w:p></w:tc></w:tr>"
        "<w:tr><w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc><w:tc><w:p><w:r><w:t>2</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    )
    control = f"<w:sdt><w:sdtContent>{made.paragraph('controlled')}</w:sdtContent></w:sdt>"
    body = [
        outline,
        item.format(0, "a"),
        item.format(1, "b"),
        changed,
        table,
        code.format("if x:"),
        code.format("  y()"),
        control,
    ]
    document = await read_text(tmp_path, made.docx("".join(body)), "a.docx")
    assert document.kinds == [H, L, P, T, C, P]
    assert document.blocks[0].level == 2
    assert [block.text for block in document.blocks[1:]] == [
        "- a\n    - b",
        "kept added",
        "| wide | wide |\n| --- | --- |\n| tall | 1 |\n| tall | 2 |",
        "if x:\n  y()",
        "controlled",
    ]


async def test_a_long_word_document(tmp_path: Path) -> None:
    document = await read_text(tmp_path, made.docx(made.paragraph("words of a paragraph") * 3_000), "a.docx")
    assert len(document.blocks) == 3_000


async def test_sheets(tmp_path: Path) -> None:
    text = '<c r="{}" t="inlineStr"><is><t>{}</t></is></c>'
    rows = (
        f'<row r="1">{text.format("A1", "name")}{text.format("B1", "sum")}'
        f"{text.format('D1', 'beside')}{text.format('E1', 'it')}</row>"
        f'<row r="2">{text.format("A2", "x")}<c r="B2"><v>1.5</v></c>{text.format("D2", "y")}<c r="E2"><v>2</v></c></row>'
        f'<row r="4">{text.format("A4", "below")}{text.format("B4", "z")}</row>'
    )
    document = await read_text(tmp_path, made.xlsx(rows), "a.xlsx")
    assert [block.text for block in document.blocks] == [
        "One",
        "| name | sum |\n| --- | --- |\n| x | 1.5 |",
        "| beside | it |\n| --- | --- |\n| y | 2 |",
        "| below | z |\n| --- | --- |",
    ]
    assert document.parsed.pages == 1
    assert {block.page for block in document.blocks} == {1}


async def test_open_document(tmp_path: Path) -> None:
    body = (
        '<text:h text:outline-level="3">Head</text:h><text:p>a<text:s text:c="2"/>b<text:line-break/>c'
        '<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>foot</text:p></text:note-body></text:note></text:p>'
        "<text:list><text:list-item><text:p>one</text:p><text:list><text:list-item><text:p>two</text:p></text:list-item></text:list>"
        "</text:list-item></text:list><text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"
        '<table:table><table:table-row><table:table-cell table:number-columns-spanned="2"><text:p>x</text:p></table:table-cell>'
        "<table:covered-table-cell/></table:table-row></table:table>"
    )  # fmt: skip
    document = await read_text(tmp_path, made.odt(body), "a.odt")
    assert document.kinds == [H, P, P, L, T]
    assert [block.text for block in document.blocks] == [
        "Head", "a  b\nc[^1]", "[^1]: foot", "- one\n    - two", "| x | x |\n| --- | --- |",
    ]  # fmt: skip
    assert document.blocks[0].level == 3


async def test_pdf_pages(tmp_path: Path) -> None:
    document = await read_text(tmp_path, made.pdf(*(f"Page of words number {number}" for number in range(30))), "a.pdf")
    assert document.parsed.pages == 30
    assert [block.page for block in document.blocks] == list(range(1, 31))
