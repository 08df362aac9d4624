"""Quotes in tables: which enclose a cell, and which are its text."""

from pathlib import Path
from time import monotonic

import pytest

from tests.ingestion.parse.reading import read_text

_NEVER = "a quote that is never closed is read as text"


async def rows(folder: Path, content: str, name: str) -> tuple[list[list[str]], tuple[str, ...]]:
    """The cells below the header, and the warnings."""
    document = await read_text(folder, content, name)
    lines = [line for block in document.blocks for line in block.text.split("\n")[2:]]
    return [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines], document.parsed.warnings


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize(
    ("content", "read"),
    [
        ('1,"Heroes" live,1977', ["1", '"Heroes" live', "1977"]),
        ('1,the "Heroes",1977', ["1", 'the "Heroes"', "1977"]),
        ('1,"""Heroes"" live",1977', ["1", '"Heroes" live', "1977"]),
        ('"1","Low, live","1977"', ["1", "Low, live", "1977"]),
        ('1,"two\nlines",1977', ["1", "two lines", "1977"]),
        ('"1","two\n\n""lines""","19\n77"', ["1", 'two "lines"', "19 77"]),
        ('1,"",1977', ["1", "", "1977"]),
        ('1,"Low, live" ,1977', ["1", "Low, live", "1977"]),
        ('1,"two\nlines"  ,"1977" ', ["1", "two lines", "1977"]),
        ('"1\n2","3\n4","5\n6"', ["1 2", "3 4", "5 6"]),
        ('1,5" disk,3" disk', ["1", '5" disk', '3" disk']),
    ],
)
async def test_quotes_that_enclose_a_cell_are_none_of_its_text(tmp_path: Path, name: str, content: str, read: list[str]) -> None:
    text = f"id,title,year\n{content}\n2,Low,1977\n"
    separated = text.replace("Low, live", "Low; live").replace(",", "\t") if name == "a.tsv" else text
    expected = [cell.replace("Low, live", "Low; live") for cell in read] if name == "a.tsv" else read
    assert await rows(tmp_path, separated, name) == ([expected, ["2", "Low", "1977"]], ())


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("after", ["", '9,"Heroes" live,1977\n', '9,"Low, live",1977\n', "9,plain,1977\n" * 1_500])
async def test_a_quote_that_is_never_closed_takes_no_rows_with_it(tmp_path: Path, name: str, after: str) -> None:
    text = f'id,title,year\n1,"Unclosed title,1980\n3,Third,1981\n4,Fourth,1982\n{after}'
    read, warnings = await rows(tmp_path, text.replace(",", "\t") if name == "a.tsv" else text, name)
    assert read[:3] == [["1", '"Unclosed title', "1980"], ["3", "Third", "1981"], ["4", "Fourth", "1982"]]
    assert len([row for row in read if row[0].isdigit()]) == 3 + after.count("\n")
    assert warnings == (() if name == "a.tsv" else (_NEVER,))


async def test_ditto_marks_between_tabs_are_cells(tmp_path: Path) -> None:
    read, _ = await rows(tmp_path, 'id\tcity\tyear\n1\tBonn\t1977\n2\t"\t1978\n3\t"\t1979\n', "a.tsv")
    assert read == [["1", "Bonn", "1977"], ["2", '"', "1978"], ["3", '"', "1979"]]


async def test_a_cell_of_lines_and_tabs_shifts_no_other_row(tmp_path: Path) -> None:
    read, _ = await rows(tmp_path, 'id\tcity\n"1\t2\n3"\tBonn\n4\tKöln\n', "a.tsv")
    assert read == [['"1', "2"], ['3"', "Bonn"], ["4", "Köln"]]


async def test_each_cell_of_a_row_is_read_once(tmp_path: Path) -> None:
    # Reading the row again for each of them took minutes.
    started = monotonic()
    document = await read_text(tmp_path, 'id,city\n"1\n' + '","\n' * 20_000 + '2"\n3,Bonn\n', "a.csv")
    assert monotonic() - started < 10
    assert document.parsed.warnings == ()
    assert "| 3 | Bonn |" in document.text


async def test_a_row_ends_where_it_is_longer_than_any_cell(tmp_path: Path) -> None:
    lines = '{0}","{0}\n'.format("word " * 1_000) * 150
    document = await read_text(tmp_path, f'id,city\n"{lines}2"\n3,Bonn\n', "a.csv")
    assert document.parsed.warnings == (_NEVER,)
    assert document.text.count("word") == 300_000
    assert "| 3 | Bonn |" in document.text
