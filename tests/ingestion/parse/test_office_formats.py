"""Office formats: what each kind of block becomes."""

from pathlib import Path

from ingestion.document import BlockKind
from tests.ingestion.parse import made
from tests.ingestion.parse.reading import read_text

H, P, L, T, C, Q = (
    BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.LIST, BlockKind.TABLE, BlockKind.CODE, BlockKind.QUOTE,
)  # fmt: skip

_COMPATIBLE = 'xmlns:m="http://schemas.openxmlformats.org/markup-compatibility/2006"'


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


async def test_notes_of_word(tmp_path: Path) -> None:
    parts, targets = {}, {}
    for number, kind in enumerate(("endnote", "footnote")):
        notes = f'<w:{kind} w:id="2">{made.paragraph(f"In the {kind}:")}{made.paragraph("a clause.")}</w:{kind}>'
        parts[f"word/{kind}s.xml"] = f'<w:{kind}s xmlns:w="{made.W}">{notes}</w:{kind}s>'
        targets[f"rId{number}"] = (f"{kind}s", f"{kind}s.xml")
    marks = "".join(f'<w:r><w:{kind}Reference w:id="2"/></w:r>' for kind in ("footnote", "endnote"))
    xml = f'<w:document xmlns:w="{made.W}"><w:body><w:p><w:r><w:t>See</w:t></w:r>{marks}</w:p></w:body></w:document>'
    parts |= {"word/document.xml": xml, "word/_rels/document.xml.rels": made.relations(targets)}
    document = await read_text(tmp_path, made.office("word/document.xml", "wordprocessingml.document", parts), "a.docx")
    assert [block.text for block in document.blocks] == [
        "See[^2][^e2]", "[^2]: In the footnote: a clause.", "[^e2]: In the endnote: a clause.",
    ]  # fmt: skip


def _boxed(text: str, content: str) -> str:
    """A paragraph with a text box, as Word writes it: once more for older readers."""
    box = f"<w:pict><w:txbxContent>{content}</w:txbxContent></w:pict>"
    boxes = f"<m:AlternateContent {_COMPATIBLE}><m:Choice>{box}</m:Choice><m:Fallback>{box}</m:Fallback></m:AlternateContent>"
    return f"<w:p><w:r><w:t>{text}</w:t></w:r><w:r>{boxes}</w:r></w:p>"


async def test_a_text_box_in_a_note_is_read_once(tmp_path: Path) -> None:
    note = f'<w:footnote w:id="2">{_boxed("Outside and ", made.paragraph("in a box"))}</w:footnote>'
    parts = {
        "word/footnotes.xml": f'<w:footnotes xmlns:w="{made.W}">{note}</w:footnotes>',
        "word/document.xml": f'<w:document xmlns:w="{made.W}"><w:body>{made.paragraph("See")}</w:body></w:document>',
        "word/_rels/document.xml.rels": made.relations({"rId1": ("footnotes", "footnotes.xml")}),
    }
    document = await read_text(tmp_path, made.office("word/document.xml", "wordprocessingml.document", parts), "a.docx")
    assert [block.text for block in document.blocks] == ["See", "[^2]: Outside and in a box"]


async def test_text_boxes_in_text_boxes_are_read_once(tmp_path: Path) -> None:
    body = made.paragraph("end")
    for level in range(16):
        body = f"<w:p><w:r><w:t>level {level}</w:t><w:pict><w:txbxContent>{body}</w:txbxContent></w:pict></w:r></w:p>"
    document = await read_text(tmp_path, made.docx(body), "a.docx")
    assert [block.text for block in document.blocks] == [*(f"level {level}" for level in reversed(range(16))), "end"]


async def test_text_boxes_around_and_in_cells_are_read_once(tmp_path: Path) -> None:
    cells = [_boxed("in a cell", made.paragraph("in its box")), made.paragraph("beside")]
    row = "".join(f"<w:tc>{cell}</w:tc>" for cell in cells)
    body = _boxed("before", f"<w:tbl><w:tr>{row}</w:tr></w:tbl>")
    document = await read_text(tmp_path, made.docx(body), "a.docx")
    assert [block.text for block in document.blocks] == ["before", "| in a cell in its box | beside |\n| --- | --- |"]


async def test_a_diagram_on_a_slide(tmp_path: Path) -> None:
    main = "http://schemas.openxmlformats.org/{}/2006/{}"
    a, p, d = main.format("drawingml", "main"), main.format("presentationml", "main"), main.format("drawingml", "diagram")
    r = made.KIND
    show = f'<p:presentation xmlns:p="{p}" xmlns:r="{r}"><p:sldIdLst><p:sldId r:id="rId1"/></p:sldIdLst></p:presentation>'
    frame = f'<p:graphicFrame><a:graphic><a:graphicData><d:relIds xmlns:d="{d}" r:dm="rId1"/></a:graphicData></a:graphic>'
    slide = (
        f'<p:sld xmlns:p="{p}" xmlns:a="{a}" xmlns:r="{r}"><p:cSld><p:spTree>{frame}</p:graphicFrame></p:spTree></p:cSld></p:sld>'
    )
    points = "".join(f"<d:pt><d:t><a:p><a:r><a:t>{text}</a:t></a:r></a:p></d:t></d:pt>" for text in ("Plan", "", "Build", "Run"))
    parts = {
        "ppt/presentation.xml": show,
        "ppt/_rels/presentation.xml.rels": made.relations({"rId1": ("slide", "slides/slide1.xml")}),
        "ppt/slides/slide1.xml": slide,
        "ppt/slides/_rels/slide1.xml.rels": made.relations({"rId1": ("diagramData", "../diagrams/data1.xml")}),
        "ppt/diagrams/data1.xml": f'<d:dataModel xmlns:d="{d}" xmlns:a="{a}"><d:ptLst>{points}</d:ptLst></d:dataModel>',
    }
    document = await read_text(tmp_path, made.office("ppt/presentation.xml", "presentationml.presentation", parts), "a.pptx")
    assert [(block.kind, block.text, block.page) for block in document.blocks] == [(L, "- Plan\n- Build\n- Run", 1)]


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
    odd = await read_text(tmp_path, made.odt('<text:h text:outline-level="x">Head</text:h><text:p>text</text:p>'), "a.odt")
    assert odd.kinds == [H, P]


async def test_pdf_pages(tmp_path: Path) -> None:
    document = await read_text(tmp_path, made.pdf(*(f"Page of words number {number}" for number in range(30))), "a.pdf")
    assert document.parsed.pages == 30
    assert [block.page for block in document.blocks] == list(range(1, 31))
