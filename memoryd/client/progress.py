"""How far reading and uploading are."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal, TypeAlias, cast

from memoryd.client.sources import Hashed


@dataclass(frozen=True, slots=True)
class Progress:
    """``read``: files and bytes of the source so far, how many there will be is not known; ``upload``: of those that are sent."""

    phase: Literal["read", "upload"]
    files: int
    bytes: int
    total_files: int | None = None
    total_bytes: int | None = None


Report: TypeAlias = Callable[[Progress], None]


class Meter:
    """Counts the bytes of an upload. A file that is sent again counts from its beginning."""

    def __init__(self, report: Report | None, files: Sequence[Hashed]) -> None:
        self._report = report
        self._files = len(files)
        self._bytes = sum(one.size for one in files)
        self._done_files = self._done_bytes = 0
        self._sending: dict[str, int] = {}

    def counted(self, file: Hashed) -> Hashed:
        """The same file; who reads it is counted."""
        name, open_ = file.local.document_id, file.local.open

        def counting() -> BinaryIO:
            self._sending[name] = 0
            return cast(BinaryIO, _Counted(open_(), lambda size: self._add(name, size)))

        return replace(file, local=replace(file.local, open=counting))

    def ended(self, batch: Sequence[Hashed]) -> None:
        """These are through, whatever became of them."""
        self._done_files += len(batch)
        self._done_bytes += sum(one.size for one in batch)
        self._sending.clear()
        self._tell()

    def _add(self, name: str, size: int) -> None:
        self._sending[name] += size
        self._tell()

    def _tell(self) -> None:
        if self._report is not None:
            seen = min(self._bytes, self._done_bytes + sum(self._sending.values()))
            self._report(Progress("upload", self._done_files, seen, self._files, self._bytes))


class _Counted(io.RawIOBase):
    def __init__(self, file: BinaryIO, add: Callable[[int], None]) -> None:
        super().__init__()
        self._file = file
        self._add = add

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        piece = self._file.read(size)
        self._add(len(piece))
        return piece

    def close(self) -> None:
        self._file.close()
        super().close()
