"""Zip archives (OOXML, OpenDocument, EPUB), checked before they are read and bounded while they are."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.limits import ParseLimits
from ingestion.parse.source import Source

_ENCRYPTED = 0x1
# Below this many bytes nothing is called a bomb: a short file of zeros compresses a thousandfold.
_HARMLESS = 8 * 1024 * 1024


class Readable(Protocol):
    """Bytes in order."""

    def read(self, size: int = -1, /) -> bytes:
        """The next ``size`` bytes or fewer; none at the end."""
        ...


class Archive:
    """An archive whose directory has been checked. Members are found by their exact name, once."""

    def __init__(self, opened: zipfile.ZipFile, limits: ParseLimits) -> None:
        self._zip = opened
        self._limits = limits
        self._read = 0
        self.names = frozenset(opened.namelist())

    @contextmanager
    def member(self, name: str) -> Iterator[Readable]:
        """The member's bytes as a stream that stops a lie about their size. Raises ``corrupt`` when it is missing."""
        if name not in self.names:
            raise ParseFailed(FailureReason.CORRUPT, f"the archive lacks its part {name[:100]!r}")
        with self._zip.open(name) as opened:
            yield _Counted(opened, self)

    def read(self, name: str, most: int) -> bytes:
        """A member of at most ``most`` bytes, whole."""
        with self.member(name) as stream:
            content = stream.read(most + 1)
        if len(content) > most:
            raise ParseFailed(FailureReason.TOO_LARGE, f"a part of the archive has more than {most} bytes")
        return content

    def count(self, size: int) -> None:
        """Adds to what was read; raises ``archive_bomb`` beyond the limit."""
        self._read += size
        # Parts may be read twice (once to check them), never often.
        if self._read > 4 * self._limits.archive_bytes:
            raise ParseFailed(FailureReason.ARCHIVE_BOMB, "the archive unpacks to more than it says")


class _Counted:
    def __init__(self, inner: IO[bytes], archive: Archive) -> None:
        self._inner, self._archive = inner, archive

    def read(self, size: int = -1, /) -> bytes:
        content = self._inner.read(size)
        self._archive.count(len(content))
        return content


@contextmanager
def opened(source: Source) -> Iterator[Archive]:
    """The archive, once its directory is harmless. Raises ``corrupt``, ``encrypted`` or ``archive_bomb``."""
    source.stream.seek(0)
    try:
        with zipfile.ZipFile(source.stream) as archive:
            _check(archive, source)
            yield Archive(archive, source.limits)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OverflowError, ValueError) as error:
        raise ParseFailed(FailureReason.CORRUPT, f"the archive cannot be read: {type(error).__name__}") from error


def _check(archive: zipfile.ZipFile, source: Source) -> None:
    entries, limits = archive.infolist(), source.limits
    if len(entries) > limits.archive_entries:
        raise ParseFailed(FailureReason.ARCHIVE_BOMB, f"{len(entries)} entries, of at most {limits.archive_entries}")
    if len({entry.filename for entry in entries}) != len(entries):
        raise ParseFailed(FailureReason.CORRUPT, "the archive names a part twice")
    total = sum(entry.file_size for entry in entries)
    if total > limits.archive_bytes:
        raise ParseFailed(FailureReason.ARCHIVE_BOMB, f"unpacks to {total} bytes, of at most {limits.archive_bytes}")
    worst = max((entry.file_size / max(entry.compress_size, 1) for entry in entries if entry.file_size > _HARMLESS), default=0)
    # Overlapping entries each look harmless: the sum over the file's own size does not.
    if worst > limits.archive_ratio or total > max(_HARMLESS, limits.archive_ratio * source.size):
        raise ParseFailed(FailureReason.ARCHIVE_BOMB, f"unpacks to more than {limits.archive_ratio} times its size")
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise ParseFailed(FailureReason.ENCRYPTED, "the archive's parts are encrypted")
