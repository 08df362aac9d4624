"""Text without the files that are embedded in it: of ``data:`` addresses, only the media type is left."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# What is shorter is an example that somebody may read.
_LEAST = 100
_DATA = rb"[\w!#$%&*+,./:;=?@^~-]"
_ADDRESS = re.compile(rb"(\bdata:[\w.+-]{1,60}/[\w.+-]{1,60})(?:;[\w.+=-]{1,60}){0,3}," + _DATA + b"{%d,}" % _LEAST)
_REST = re.compile(_DATA + b"*")
# Longer than what the pattern needs to see.
_WINDOW = 512
_CHUNK = 65_536


def unembedded(stream: BinaryIO) -> BinaryIO:
    """The stream from its beginning. Reads it once, in bounded parts, and not again but from the beginning."""
    return io.BufferedReader(_Unembedded(stream), _CHUNK)


class _Unembedded(io.RawIOBase):
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if offset or whence == os.SEEK_END:
            raise io.UnsupportedOperation("only to the beginning")
        if whence == os.SEEK_SET:
            self._stream.seek(0)
            self._ready, self._seen, self._within, self._at = b"", b"", False, 0
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        room = memoryview(buffer)
        while not self._ready:
            chunk = self._stream.read(_CHUNK)
            self._ready = self._shown(chunk)
            if not chunk:
                break
        part, self._ready = self._ready[: len(room)], self._ready[len(room) :]
        room[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _shown(self, chunk: bytes) -> bytes:
        """What is left of what was kept and the chunk, but for its end, where an address may begin; of no chunk, all."""
        if self._within:
            rest = _REST.match(chunk)
            chunk = chunk[rest.end() :] if rest else chunk
            self._within = not chunk
        text = self._seen + chunk
        shown: list[bytes] = []
        at = 0
        for found in _ADDRESS.finditer(text) if b"data:" in text else ():
            shown += (text[at : found.start()], found[1])
            at = found.end()
            self._within = at == len(text)
        keep = max(at, len(text) - _WINDOW) if chunk else len(text)
        self._seen = text[keep:]
        return b"".join((*shown, text[at:keep]))
