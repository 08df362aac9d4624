"""Multipart forms as they go over the wire (RFC 7578), a piece at a time: a file is never whole in memory.

Nothing announces a length: a file may grow while it is being sent.
"""

from collections.abc import Iterator, Sequence
from uuid import uuid4

from memoryd.client.steps import Part

_PIECE_BYTES = 2**18


class Unread(Exception):
    """A file cannot be read; which, and its ``OSError`` as the cause."""

    def __init__(self, part: int, cause: OSError) -> None:
        super().__init__(str(cause))
        self.part = part
        self.cause = cause


class Form:
    """Files named ``file``, each with a number for its name: what they are called is said elsewhere."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._boundary = uuid4().hex

    @property
    def content_type(self) -> str:
        """For the header."""
        return f"multipart/form-data; boundary={self._boundary}"

    def pieces(self) -> Iterator[bytes]:
        """The body. Opens each file in its turn and closes it again. Raises :class:`Unread`."""
        for number, part in enumerate(self._parts):
            yield (
                f'--{self._boundary}\r\nContent-Disposition: form-data; name="file"; filename="{number}"\r\n'
                "Content-Type: application/octet-stream\r\n\r\n"
            ).encode()
            yield from _read(part, number)
            yield b"\r\n"
        yield f"--{self._boundary}--\r\n".encode()


def _read(part: Part, number: int) -> Iterator[bytes]:
    try:
        with part.open() as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece
    except OSError as error:
        raise Unread(number, error) from error
