"""The documents of a zip or tar archive, one after the other, each in a temporary file.

Nothing that an archive says about itself is believed: what is written is counted. Names are never used as paths.
Whoever walks goes on behind an entry that is passed over; an archive that is a bomb ends the walk.
"""

import re
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from ingestion.sources.errors import Reason, SourceRefused
from ingestion.sources.model import Found, Skipped, SkipReason
from ingestion.sources.reading import Source
from ingestion.sources.tars import tar_entries
from ingestion.sources.zips import zip_entries

MAX_NAME_CHARS = 500
_READ_BYTES = 1 << 16
# Below that, text that repeats itself may be packed as well as a bomb.
_RATIO_FROM_BYTES = 8 << 20
_NESTED_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")
# Office documents are zip archives too: of those only the names tell.
_NESTED_ZIPS = frozenset({".zip", ".jar", ".war", ".ear", ".whl", ".apk"})
# Control characters, and bytes that are no text.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """``ratio``: of unpacked to packed bytes, of the whole archive, once that is more than 8 MiB."""

    entries: int = 10_000
    entry_bytes: int = 100 * 1024 * 1024
    total_bytes: int = 2 * 1024 * 1024 * 1024
    ratio: int = 200


class Entry(Protocol):
    """One member of an archive."""

    @property
    def name(self) -> str:
        """As it is written there."""

    @property
    def is_folder(self) -> bool:
        """True for what only says that there is a folder."""

    @property
    def skip(self) -> SkipReason | None:
        """Why it cannot be read, as far as its header tells."""

    def open(self) -> Source:
        """Its bytes. Raises ``SourceRefused``."""


def walk_archive(archive: Path, limits: ArchiveLimits, folder: Path) -> Generator[Found | Skipped, None, None]:
    """The files of ``archive`` in its order. Each lies in ``folder`` until the next is asked for. Blocks.

    Folders and hidden files are left out in silence. Raises ``SourceRefused``: not an archive, too many entries, too
    large, a bomb, or broken; what was given before is good.
    """
    walk = _Walk(limits, archive.stat().st_size, folder)
    seen: set[str] = set()
    with archive.open("rb") as file, _entries(file, limits) as entries:
        for number, entry in enumerate(entries, 1):
            if number > limits.entries:
                raise SourceRefused(Reason.TOO_MANY_ENTRIES, f"the archive has more than {limits.entries} entries")
            if entry.is_folder:
                continue
            name = safe_name(entry.name)
            if name is None:
                yield Skipped(_printable(entry.name), SkipReason.UNSAFE_NAME)
            elif not _is_hidden(name):
                reason = entry.skip or (SkipReason.DUPLICATE_NAME if name in seen else None)
                seen.add(name)
                if reason:
                    yield Skipped(name, reason)
                else:
                    yield from walk.unpacked(name, entry)


class _Walk:
    """What was unpacked so far."""

    def __init__(self, limits: ArchiveLimits, packed: int, folder: Path) -> None:
        self._limits = limits
        self._packed = packed
        self._folder = folder
        self._total = 0

    def unpacked(self, name: str, entry: Entry) -> Iterator[Found | Skipped]:
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix="entry-") as target:
            size = self._copy(entry, target)
            target.flush()
            if isinstance(size, SkipReason):
                yield Skipped(name, size)
            elif _is_archive(name, Path(target.name)):
                yield Skipped(name, SkipReason.NESTED_ARCHIVE)
            else:
                yield Found(name, Path(target.name), size)

    def _copy(self, entry: Entry, target: IO[bytes]) -> int | SkipReason:
        size = 0
        try:
            with closing(entry.open()) as source:
                while data := source.read(_READ_BYTES):
                    size += len(data)
                    self._count(len(data))
                    if size > self._limits.entry_bytes:
                        return SkipReason.TOO_LARGE
                    target.write(data)
        except SourceRefused as error:
            if error.reason is not Reason.CORRUPT:
                raise
            return SkipReason.CORRUPT
        return size

    def _count(self, more: int) -> None:
        self._total += more
        if self._total > self._limits.total_bytes:
            raise SourceRefused(Reason.TOO_LARGE, f"the archive unpacks to more than {self._limits.total_bytes} bytes")
        if self._total > max(_RATIO_FROM_BYTES, self._limits.ratio * self._packed):
            raise SourceRefused(Reason.BOMB, f"the archive unpacks to more than {self._limits.ratio} times its size")


@contextmanager
def _entries(file: IO[bytes], limits: ArchiveLimits) -> Iterator[Iterator[Entry]]:
    head = file.read(4)
    file.seek(0)
    if head in (b"PK\x03\x04", b"PK\x05\x06"):
        with zip_entries(file, limits.entries) as entries:
            yield entries
    else:
        with tar_entries(file, limits.total_bytes) as entries:
            yield entries


def safe_name(name: str) -> str | None:
    """A relative POSIX path of a file, or ``None`` for a name that leads elsewhere or cannot be one."""
    parts = name.replace("\\", "/").split("/")
    if not name or not parts[0] or ".." in parts or re.match(r"[A-Za-z]:", name):
        return None
    path = "/".join(part for part in parts if part not in ("", "."))
    if not path or len(path) > MAX_NAME_CHARS or _UNPRINTABLE.search(path):
        return None
    return path


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _printable(name: str) -> str:
    return _UNPRINTABLE.sub("?", name[:MAX_NAME_CHARS])


def _is_archive(name: str, path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(262)
    if head.startswith(b"PK\x03\x04"):
        return Path(name).suffix.lower() in _NESTED_ZIPS
    return head.startswith(_NESTED_MAGIC) or head[257:262] == b"ustar"
