"""Pages of PDFs that have no text of their own."""

from pathlib import Path

import pytest

from ingestion.parse.failures import FailureReason
from tests.ingestion.parse import made
from tests.ingestion.parse.reading import read_text, reason_of

_BATES = [f"SMITH-{number:06}" for number in range(1, 31)]


@pytest.mark.parametrize(
    "stamps",
    [
        _BATES,
        ["Scanned with CamScanner"] * 5,
        ["Downloaded from the archive of a library"] * 5,
        [""] * 2,
        ["12"] * 2,
        ["", *["Downloaded from the archive of a library"] * 5],
        ["12345", *["Downloaded from the archive of a library"] * 5],
    ],
    ids=lambda some: some[0],
)
async def test_the_stamps_of_scans_are_no_text(tmp_path: Path, stamps: list[str]) -> None:
    assert await reason_of(tmp_path, made.pdf(*stamps, pictured=0.9), "a.pdf") is FailureReason.NO_TEXT_LAYER


async def test_a_stamped_page_among_pages_of_text_is_named(tmp_path: Path) -> None:
    words = ("Where the river bends", "stands an old mill", "whose wheel turns no more", "and nobody knows why")
    document = await read_text(tmp_path, made.pdf(*_BATES[:4], *words, pictured=0.9), "a.pdf")
    assert [(block.text, block.page) for block in document.blocks] == list(zip([*_BATES[:4], *words], range(1, 9), strict=True))
    assert document.parsed.warnings == ("no text layer on pages 1, 2, 3, 4",)


@pytest.mark.parametrize(
    "pages",
    [
        [f"Voucher No. {number}, value {number}0 EUR" for number in range(1001, 1006)],
        [f"Revenue in {year}: {year * 3} million EUR" for year in range(2021, 2024)],
        ["Where the river bends", "stands an old mill", *(f"Quarter {number}: {number * 7} sold" for number in range(1, 5))],
    ],
)
async def test_pages_that_differ_only_in_numbers_keep_them(tmp_path: Path, pages: list[str]) -> None:
    document = await read_text(tmp_path, made.pdf(*pages, pictured=1), "a.pdf")
    assert [block.text for block in document.blocks] == pages


async def test_what_repeats_beside_a_small_picture_or_none_is_text(tmp_path: Path) -> None:
    for pictured in (0, 0.2):
        document = await read_text(tmp_path, made.pdf(*_BATES[:4], pictured=pictured), "a.pdf")
        assert [block.text for block in document.blocks] == _BATES[:4]
        assert document.parsed.warnings == ()
