"""Zip archives, entry by entry."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from ingestion.sources.errors import Reason, SourceRefused
from ingestion.sources.model import SkipReason
from ingestion.sources.reading import Guarded, Source

_ENCRYPTED = 0x1
# The others unpack in steps of any size; hardly anything writes them.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, struct.error)
# Bytes an entry takes in the directory, at most: the rest is no honest name.
_DIRECTORY_BYTES = 1024
_END, _END_64, _LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_END_BYTES, _LOCATOR_BYTES, _COMMENT_BYTES = 22, 20, 1 << 16


@dataclass(frozen=True, slots=True)
class _ZipEntry:
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    @property
    def name(self) -> str:
        return self.info.filename

    @property
    def is_folder(self) -> bool:
        return self.info.is_dir()

    @property
    def skip(self) -> SkipReason | None:
        kind = self.info.external_attr >> 28
        if kind not in (0, 0o10):  # neither unsaid nor a regular file in the upper half, which is Unix's mode
            return SkipReason.NOT_A_FILE
        if self.info.flag_bits & _ENCRYPTED:
            return SkipReason.ENCRYPTED
        return None if self.info.compress_type in _METHODS else SkipReason.UNSUPPORTED

    def open(self) -> Source:
        try:
            return Guarded(self.archive.open(self.info), _BROKEN)
        except _BROKEN as error:
            raise SourceRefused(Reason.CORRUPT, "the entry cannot be read") from error


@contextmanager
def zip_entries(file: IO[bytes], most: int) -> Iterator[Iterator[_ZipEntry]]:
    """The entries in the directory's order. Raises ``SourceRefused``."""
    if _directory_bytes(file) > most * _DIRECTORY_BYTES:
        raise SourceRefused(Reason.TOO_MANY_ENTRIES, f"the archive has more than {most} entries")
    try:
        archive = zipfile.ZipFile(file)
    except (*_BROKEN, OSError) as error:
        raise SourceRefused(Reason.CORRUPT, "the archive's directory cannot be read") from error
    with archive:
        yield (_ZipEntry(archive, info) for info in archive.infolist())


def _directory_bytes(file: IO[bytes]) -> int:
    """How large the directory says to be, which ``zipfile`` reads whole: the size in the end record, or in that of zip64."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _COMMENT_BYTES - _END_BYTES - _LOCATOR_BYTES))
    tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or end + _END_BYTES > len(tail):
        raise SourceRefused(Reason.CORRUPT, "the archive's end is missing")
    stated = int.from_bytes(tail[end + 12 : end + 16], "little")
    locator = tail[max(0, end - _LOCATOR_BYTES) : end]
    if locator.startswith(_LOCATOR_64):
        file.seek(min(size, int.from_bytes(locator[8:16], "little")))
        record = file.read(56)
        if record.startswith(_END_64):
            stated = max(stated if stated < 0xFFFF_FFFF else 0, int.from_bytes(record[40:48], "little"))
    file.seek(0)
    return min(stated, size)
