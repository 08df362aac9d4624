"""Every reason is explained, and a hostile line is none of ours."""

import re
from pathlib import Path

import pytest

from ingestion.document import BlockKind
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.pieces import Facts, Piece, finish
from ingestion.parse.wire import Done, Titled, done_line, failed_line, piece_line, read_line, title_line

GUIDE = Path(__file__).parents[3] / "docs/ingestion.md"


def test_every_reason_is_in_the_guide() -> None:
    table = GUIDE.read_text().partition("## Why a document fails")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [reason.value for reason in FailureReason]


def test_lines_arrive_as_they_were_sent() -> None:
    for piece in (
        Piece(BlockKind.HEADING, "Grüße 你好", 3, page=4),
        Piece(BlockKind.CODE, "x = '\\n'\n\ty", language="python"),
        Piece(BlockKind.TABLE, "| a |\n| --- |"),
    ):
        assert read_line(piece_line(piece)) == piece
    done = read_line(done_line("text/plain", Facts("A title", 3, ["careful"])))
    assert done == Done("text/plain", "A title", 3, ("careful",))
    assert read_line(title_line("A title")) == Titled("A title")
    failure = read_line(failed_line(ParseFailed(FailureReason.CORRUPT, "cut off")))
    assert isinstance(failure, ParseFailed)
    assert (failure.reason, failure.detail) == (FailureReason.CORRUPT, "cut off")


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{}", b"[]", b"null", b"[" * 50_000, b'["block"]', b'["block","paragraph","",0,null,null]',
        b'["block","poem","a",0,null,null]', b'["block","heading","a",0,null,null]', b'["block","heading","a",7,null,null]',
        b'["block","paragraph","a",1,null,null]', b'["block","paragraph","a\\u0000",0,null,null]',
        b'["block","paragraph","\\ud800",0,null,null]', b'["block","paragraph","a",0,-1,null]',
        b'["block","paragraph","a",0,"1",null]',
        b'["block","paragraph","a",0,true,null]', b'["block","code","a",0,null,5]', b'["done","a",1,null,[]]',
        b'["done","a",null,null,[1]]', b'["title",""]', b'["title",null]', b'["title","' + b"a" * 2_000 + b'"]',
        b'["failed","because","a"]', b'["block","paragraph","' + b"a" * 16_385 + b'",0,null,null]', b"\xff",
    ],
)  # fmt: skip
def test_nothing_else_is_believed(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what json and we say differs
        read_line(line)


def test_pieces_are_clean_and_bounded() -> None:
    pieces = [
        Piece(BlockKind.PARAGRAPH, " \x00\x0b\ud800 "),
        Piece(BlockKind.PARAGRAPH, "a\x00b\ufeffc\ud83d"),
        Piece(BlockKind.HEADING, "long " * 1_000, 2),
        Piece(BlockKind.PARAGRAPH, "word " * 10_000),
        Piece(BlockKind.CODE, "x" * 40_000, language="py thon\n`"),
    ]
    finished = list(finish(pieces))
    assert finished[0].text == "abc"
    assert finished[1].kind is BlockKind.PARAGRAPH
    assert all(len(piece.text) <= 16_384 for piece in finished)
    assert "".join(piece.text for piece in finished if piece.kind is BlockKind.CODE) == "x" * 40_000
    assert {piece.language for piece in finished if piece.kind is BlockKind.CODE} == {"python"}
    assert all(piece.text.endswith("word") for piece in finished[2:5])
