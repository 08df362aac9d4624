"""Tables of any shape: nothing that is in a cell gets lost, and nothing is said again and again."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.document import BlockKind
from ingestion.parse.pieces import MAX_BLOCK, finish
from ingestion.parse.tables import pipe_table

_SIZES = st.sampled_from([0, 0, 1, 1, 1, 3, 40, 700, 1_500, 2_600])
_ROWS = st.lists(st.lists(_SIZES, max_size=6), max_size=8)


def words(number: int, seen: "count[int]") -> str:
    return " ".join(f"word{next(seen)}" for _ in range(number))


@given(_ROWS, st.sampled_from([1, 1, 60]))
def test_every_word_of_a_table_is_read(sizes: list[list[int]], times: int) -> None:
    seen = count()
    rows = [[words(size, seen) for size in row] for row in [*sizes, *(sizes[-1:] * (times - 1))]]
    pieces = list(finish(pipe_table(rows)))
    said = " ".join(piece.text for piece in pieces).split()
    assert {word for row in rows for cell in row for word in cell.split()} <= set(said)
    given = sum(len(cell) for row in rows for cell in row)
    rules = 4 * (len(rows) + 2 * len(pieces)) * max(map(len, rows), default=0)
    assert sum(len(piece.text) for piece in pieces) <= 2 * given + rules + MAX_BLOCK // 4


def test_a_page_in_a_table_whose_first_row_is_long_keeps_it() -> None:
    text = words(2_500, count())
    first, *rest = finish(pipe_table([[text, "Menu"], ["", "Imprint"], ["left", "foot"]]))
    assert first.kind is BlockKind.LIST
    assert [piece.kind for piece in rest] == [BlockKind.LIST, BlockKind.TABLE]
    assert f"{first.text}\n{rest[0].text}".replace("\n", " ").split() == f"- {text} - Menu".split()
    lines = rest[1].text.splitlines()
    assert lines[0].startswith("| word0 word1 ")
    assert lines[0].endswith("… | Menu |")
    assert lines[2:] == ["|  | Imprint |", "| left | foot |"]


@pytest.mark.parametrize("columns", [150, 3_000])
def test_every_name_of_a_wide_table_is_read(columns: int) -> None:
    names = [f"name{number}{'x' * 100}" for number in range(columns)]
    said = " ".join(piece.text for piece in finish(pipe_table([names, ["1", "2"]])))
    assert all(name in said for name in names)
    assert "| 1 | 2 |" in said


def test_a_header_of_ordinary_length_is_repeated() -> None:
    rows = [["Name", "Text"], *([f"n{number}", "word " * 500] for number in range(20))]
    pieces = list(finish(pipe_table(rows)))
    assert len(pieces) > 2
    assert all(piece.text.startswith("| Name | Text |\n") for piece in pieces)


def test_a_row_too_long_for_a_table_is_a_list_of_its_named_cells() -> None:
    (piece, *more) = finish(pipe_table([["Name", "Text"], ["n", words(3_000, count())]]))
    assert piece.text.startswith("- Name: n\n- Text: word0 ")
    assert all(one.kind is BlockKind.LIST for one in [piece, *more])
