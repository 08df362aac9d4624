"""Readers of bytes that others packed: their faults get one name, and their reads a bound."""

import io
from typing import Protocol

from ingestion.sources.errors import Reason, SourceRefused

_PIECE_BYTES = 1 << 16
# What one entry's headers may take: long names, attributes, maps of holes.
_HEADER_BYTES = 1 << 20


class Source(Protocol):
    """Bytes that come in order."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""

    def close(self) -> None:
        """Let go of what is behind it."""


class Guarded:
    """Reads ``source``; what it raises of ``broken`` becomes ``SourceRefused(CORRUPT)``."""

    def __init__(self, source: Source, broken: tuple[type[Exception], ...]) -> None:
        self._source = source
        self._broken = broken

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes."""
        try:
            return self._source.read(size)
        except self._broken as error:
            raise SourceRefused(Reason.CORRUPT, "the packed bytes are broken") from error

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class Forward(io.BufferedIOBase):
    """A packed stream that is read forward only, as ``tarfile`` sees it: ``most`` bytes in all, and 1 MiB of headers an entry.

    A step back of one byte is allowed, since ``tarfile`` takes one to see whether a file is cut off; the packed source
    would begin anew for it.
    """

    def __init__(self, source: Source, most: int, broken: tuple[type[Exception], ...]) -> None:
        super().__init__()
        self._source = source
        self._most = most
        self._broken = broken
        self._headers: int | None = 0
        self._at = 0
        self._last = b""
        self._again = b""

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, fewer only at the end: ``tarfile`` takes a short read for a full one."""
        size = _HEADER_BYTES + 1 if size is None or size < 0 else size
        if self._headers is not None:
            self._headers += size
            if self._headers > _HEADER_BYTES:
                raise SourceRefused(Reason.BOMB, "the headers of an entry are too large")
        return self._read(size)

    def begin_headers(self) -> None:
        """What is read from now on are the headers of one entry."""
        self._headers = 0

    def begin_data(self) -> None:
        """What is read from now on is an entry's data, in pieces."""
        self._headers = None

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Forward by reading, or back by one byte."""
        if whence == io.SEEK_SET and offset == self._at - 1 and self._last:
            self._again, self._at = self._last, offset
        while whence == io.SEEK_SET and self._at < offset and self._read(min(_PIECE_BYTES, offset - self._at)):
            pass
        if whence != io.SEEK_SET or self._at > offset:
            raise SourceRefused(Reason.CORRUPT, "the archive's entries are not in order")
        return self._at

    def _read(self, size: int) -> bytes:
        data, self._again = self._again[:size], self._again[size:]
        try:
            while len(data) < size and (more := self._source.read(size - len(data))):
                data += more
        except self._broken as error:
            raise SourceRefused(Reason.CORRUPT, "the packed bytes are broken") from error
        self._at += len(data)
        self._last = data[-1:] or self._last
        if self._at > self._most:
            raise SourceRefused(Reason.TOO_LARGE, f"the archive unpacks to more than {self._most} bytes")
        return data

    def tell(self) -> int:
        """How far it was read."""
        return self._at

    def close(self) -> None:
        """Close the source as well."""
        self._source.close()
        super().close()
