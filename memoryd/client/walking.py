"""Files, folders and archives of this machine as documents."""

import os
import re
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ingestion.sources import ArchiveLimits, Found, Globs, Skipped, SourceRefused, walk_archive, walk_folder
from memoryd.client.errors import SourceUnreadable
from memoryd.client.sources import NOT_A_FILE, Local, Refused

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
"""By their names: office documents are zip archives too."""

_MOST_ID_CHARS = 500
# Control characters, and bytes that are no text.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Which:
    """``prefix`` comes in front of every document's id. Globs as in :class:`ingestion.sources.Globs`.

    Raises ``ValueError`` for a glob that is not understood.
    """

    prefix: str = ""
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def __post_init__(self) -> None:
        Globs(self.include, self.exclude)


_DEFAULT = Which()


class Walk(AbstractContextManager["Walk"]):
    """The documents of several sources, one after the other. What archives hold lies in a temporary folder until it is left.

    Of the last walk, ``empty``: those folders and archives of which there was nothing to read, and nothing that could not be;
    ``idle``: ``include`` or ``exclude``, and the glob, of each that matched nothing.
    """

    def __init__(self, sources: Sequence[Path | str], which: Which = _DEFAULT) -> None:
        self._sources = [Path(one) for one in sources]
        self._which = which
        self._globs = Globs(which.include, which.exclude)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._walk: Generator[Local | Refused, None, None] | None = None
        self._kept = 0
        self.empty: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._walk is not None:
            with suppress(ValueError):  # a thread that was given up is still in it
                self._walk.close()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def idle(self) -> list[tuple[str, str]]:
        """See the class."""
        return self._globs.idle

    def __iter__(self) -> Iterator[Local | Refused]:
        """Blocks. Raises ``SourceUnreadable``."""
        # Kept, so that it ends before what it has open is removed.
        self._walk = self._documents()
        return self._walk

    def _documents(self) -> Generator[Local | Refused, None, None]:
        self.empty, self._globs = [], Globs(self._which.include, self._which.exclude)
        for source in self._sources:
            holds = False
            try:
                for found in self._found(source):
                    document = self._document(source, found)
                    holds = holds or isinstance(document, Local) or document.reason != NOT_A_FILE
                    yield document
            except (OSError, SourceRefused) as error:
                raise SourceUnreadable(f"{source}: {error}") from error
            if not holds and (source.is_dir() or _is_archive(source)):
                self.empty.append(source)

    def _found(self, source: Path) -> Iterator[Found | Skipped]:
        if source.is_dir():
            yield from walk_folder(source, self._globs)
        elif _is_archive(source):
            yield from self._unpacked(source)
        elif self._globs.wanted(source.name):
            yield Found(source.name, source, source.stat().st_size)

    def _unpacked(self, archive: Path) -> Iterator[Found | Skipped]:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="memoryd-archive-")
        folder = Path(self._folder.name)
        with closing(walk_archive(archive, ArchiveLimits(), folder)) as walk:
            for found in walk:
                if not self._globs.wanted(found.name):
                    continue
                if isinstance(found, Found):
                    # The walk takes its own name of the file away when it goes on.
                    self._kept += 1
                    kept = folder / str(self._kept)
                    os.link(found.path, kept)
                    yield Found(found.name, kept, found.size)
                else:
                    yield found

    def _document(self, source: Path, found: Found | Skipped) -> Local | Refused:
        document_id = self._which.prefix + found.name
        if isinstance(found, Skipped):
            return Refused(document_id, found.reason.value, _WORDS[found.reason.value])
        if len(document_id) > _MOST_ID_CHARS or _UNPRINTABLE.search(document_id):
            shown = _UNPRINTABLE.sub("?", document_id[:_MOST_ID_CHARS])
            return Refused(shown, "unsafe_name", _WORDS["unsafe_name"])
        path = found.path
        return Local(document_id, path_name(found.name), lambda: path.open("rb"), str(source))


def _is_archive(source: Path) -> bool:
    return source.name.lower().endswith(ARCHIVES)


def path_name(name: str) -> str:
    """The last part of a path, as much of it as the service takes: its end, which tells formats apart."""
    return name.rpartition("/")[2][-256:]


_WORDS = {
    "unsafe_name": "its name is no document id: longer than 500 characters, not text, or leading elsewhere",
    "duplicate_name": "the archive has it twice; the first was taken",
    "not_a_file": "neither a file nor a folder",
    "nested_archive": "an archive in an archive: unpack it first",
    "encrypted": "encrypted in the archive",
    "unsupported": "packed in a way that is not supported",
    "corrupt": "broken in the archive",
    "too_large": "larger than what is unpacked: unpack the archive and give the folder",
    "unreadable": "this user may not read it",
}
