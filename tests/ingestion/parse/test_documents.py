"""Real files, where they are."""

from pathlib import Path

import pytest

from evals.datasets import DEFAULT_ROOT
from ingestion.document import BlockKind
from ingestion.parse.failures import FailureReason
from tests.ingestion.parse.reading import Document, read, reason

DOCUMENTS = (Path(__file__).parents[3] / DEFAULT_ROOT / "documents").resolve()
FAILING = {"ocr_test.pdf": FailureReason.NO_TEXT_LAYER, "2206.01062_pg3.pdf": FailureReason.ENCRYPTED}
FILES = sorted(path for path in DOCUMENTS.iterdir() if path.is_file()) if DOCUMENTS.is_dir() else []

_READ: dict[Path, Document] = {}

pytestmark = pytest.mark.skipif(not FILES, reason="the folder of real documents is not beside this checkout")


async def document(name: str) -> Document:
    """The file of that name, read once for all tests."""
    path = DOCUMENTS / name
    if path not in _READ:
        _READ[path] = await read(path)
    return _READ[path]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
async def test_every_file_is_read_or_fails_for_the_right_reason(path: Path) -> None:
    if path.name in FAILING:
        assert await reason(path) is FAILING[path.name]
    else:
        assert (await document(path.name)).blocks


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("multi_page.pdf", "- Wang Laboratories: In the 1970s, Wang introduced dedicated word processing machines."),
        ("word_tables.docx", "| Cell 1.0 | Merged Cell 1.1 1.2 | Merged Cell 1.1 1.2 |"),
        ("powerpoint_sample.pptx", "| R4 | True | False | True | False | True | False |"),
        ("pptx_chart.pptx", "| 2019 | 120 | 80 |"),
        ("xlsx_05_table_with_title.xlsx", "| 2024 | 180 |"),
        ("csv-semicolon.csv", "| 2 | 1Ef7b82A4CAAD10 | Preston | Lozano | Vega-Gentry |"),
        ("text_document_01.odt", "    - bullet list 2.1"),
        ("eml_simple.eml", "- From: Alice Example <alice@example.com>"),
        ("epub_purvis_poetry.epub", "## The Grave of the Slave"),
        ("html_code_snippets.html", "```\nfrom docling.document_converter import DocumentConverter"),
        ("right_to_left_01.pdf", "الإنتاجية"),
    ],
)
async def test_what_a_reader_looks_for_is_there(name: str, shown: str) -> None:
    assert shown in (await document(name)).text


async def test_pages_are_kept() -> None:
    paged = await document("multi_page.pdf")
    assert paged.parsed.pages == 5
    assert [block.page for block in paged.blocks] == sorted(block.page or 0 for block in paged.blocks)
    assert {block.page for block in paged.blocks} == {1, 2, 3, 4, 5}
    slides = await document("powerpoint_sample.pptx")
    assert {block.page for block in slides.blocks} == {1, 2, 3}


async def test_headings_of_a_pdf() -> None:
    headings = [block for block in (await document("multi_page.pdf")).blocks if block.kind is BlockKind.HEADING]
    assert "Pre-Digital Era (19th - Early 20th Century)" in [heading.text for heading in headings]
    assert all(len(heading.text) < 80 for heading in headings)


async def test_a_page_of_the_web_without_its_navigation() -> None:
    text = (await document("wiki_duck.html")).text
    assert "Toggle the table of contents" not in text
    assert "Afrikaans" not in text
    assert "vector-feature" not in text
    assert "## Etymology" in text
