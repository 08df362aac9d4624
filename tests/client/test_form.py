"""Forms go over the wire a piece at a time."""

import io
from pathlib import Path

import pytest

from memoryd.client.form import Form, Unread
from memoryd.client.steps import Part


def test_pieces_of_a_large_file_are_small_and_whole(tmp_path: Path) -> None:
    large = tmp_path / "large"
    content = bytes(range(256)) * 12_000
    large.write_bytes(content)
    form = Form([Part(lambda: large.open("rb")), Part(lambda: io.BytesIO(b"small"))])
    pieces = list(form.pieces())
    assert max(map(len, pieces)) <= 2**18
    boundary = b"--" + form.content_type.partition("boundary=")[2].encode()
    first, second = b"".join(pieces).split(boundary)[1:3]
    assert first.partition(b"\r\n\r\n")[2] == content + b"\r\n"
    assert second.partition(b"\r\n\r\n")[2] == b"small\r\n"
    # Sent again it is the same.
    assert list(form.pieces()) == pieces


def test_a_file_that_cannot_be_read_says_which(tmp_path: Path) -> None:
    form = Form([Part(lambda: io.BytesIO(b"")), Part(lambda: (tmp_path / "nowhere").open("rb"))])
    with pytest.raises(Unread, match="nowhere") as caught:
        list(form.pieces())
    assert caught.value.part == 1
