"""Tar archives, plain or packed with gzip, bzip2 or xz, entry by entry."""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from ingestion.sources.errors import Reason, SourceRefused
from ingestion.sources.model import SkipReason
from ingestion.sources.reading import Forward, Guarded, Source

_BROKEN = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, OSError)
# An xz stream may ask for gigabytes to be unpacked with.
_XZ_MEMORY_BYTES = 128 * 1024 * 1024
_PACKED_BYTES = 1 << 16
# Attributes for all entries that follow, which are kept.
_GLOBAL_CHARS = 1 << 16


class _Tar(tarfile.TarFile):
    """Its entries so far can be forgotten."""

    members: list[tarfile.TarInfo]


@dataclass(frozen=True, slots=True)
class _TarEntry:
    archive: tarfile.TarFile
    info: tarfile.TarInfo

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def is_folder(self) -> bool:
        return self.info.isdir()

    @property
    def skip(self) -> SkipReason | None:
        if not self.info.isreg():
            return SkipReason.NOT_A_FILE
        return SkipReason.UNSUPPORTED if self.info.issparse() else None

    def open(self) -> Source:
        source = self.archive.extractfile(self.info)
        if source is None:
            raise SourceRefused(Reason.CORRUPT, "the entry cannot be read")
        return Guarded(source, _BROKEN)


class _Xz:
    """An xz stream, unpacked within a bound of memory."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._stream = lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)

    def read(self, size: int, /) -> bytes:
        while size and not self._stream.eof:
            data = self._packed.read(_PACKED_BYTES) if self._stream.needs_input else b""
            if self._stream.needs_input and not data:
                raise EOFError
            if unpacked := self._stream.decompress(data, size):
                return unpacked
        return b""

    def close(self) -> None:
        self._packed.close()


@contextmanager
def tar_entries(file: IO[bytes], most: int) -> Iterator[Iterator[_TarEntry]]:
    """The entries as they come. ``most`` bytes are unpacked. Raises ``SourceRefused``."""
    stream = Forward(_unpacked(file), most, _BROKEN)
    try:
        archive = _Tar(fileobj=stream, errors="surrogateescape")
    except RecursionError as error:
        raise _chained() from error
    except _BROKEN as error:
        raise SourceRefused(Reason.NOT_AN_ARCHIVE, "this is neither a zip nor a tar archive") from error
    with archive, stream:
        yield _walk(archive, stream)


def _chained() -> SourceRefused:
    return SourceRefused(Reason.BOMB, "the headers of an entry go on and on")


def _walk(archive: _Tar, stream: Forward) -> Iterator[_TarEntry]:
    while True:
        stream.begin_headers()
        try:
            info = archive.next()
        except RecursionError as error:
            raise _chained() from error
        except _BROKEN as error:
            raise SourceRefused(Reason.CORRUPT, "the archive is broken off or not in order") from error
        if info is None:
            return
        if sum(len(name) + len(str(value)) for name, value in archive.pax_headers.items()) > _GLOBAL_CHARS:
            raise SourceRefused(Reason.BOMB, "the global headers of the archive are too large")
        archive.members.clear()  # it would keep each
        stream.begin_data()
        yield _TarEntry(archive, info)


def _unpacked(file: IO[bytes]) -> Source:
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if head == b"\xfd7zXZ\x00":
        return _Xz(file)
    return file
