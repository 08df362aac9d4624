"""How likeness to a reference is told."""

from pathlib import Path

import pytest

from evals.parsing import measure, plain, similarity, words_f1


def test_decoration_is_not_compared() -> None:
    table = "| a | b |\n| - | :-: |\n| *1* | [two](https://example.com) |"
    assert plain(table) == "a b 1 two"
    assert plain("Notes . . . . . . . . vii") == plain("Notes … vii") == "Notes vii"
    assert plain("# A\n\n<!-- image -->\n\n- item") == "# A - item"


def test_likeness() -> None:
    assert similarity("one two", "one two") == words_f1("one two", "one two") == 1.0
    assert words_f1("one two", "two one") == 1.0 > similarity("one two", "two one")
    assert words_f1("one one", "one") == pytest.approx(2 / 3)
    assert similarity("abcd", "ab") == pytest.approx(1 - 2 / 6)
    assert similarity("", "") == words_f1("", "") == 1.0


async def test_files_that_fail_or_have_no_reference_have_no_figure(tmp_path: Path) -> None:
    (tmp_path / "expected").mkdir()
    (tmp_path / "a.txt").write_text("one two")
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    (table,), hashes = await measure(tmp_path)
    outcomes = {row["file"]: (row["outcome"], row["similarity"]) for row in table.records()}
    assert outcomes["a.txt"] == ("text/plain", None)
    assert outcomes["b.png"] == ("unsupported_format", None)
    assert hashes.keys() == {"documents/a.txt", "documents/b.png"}
