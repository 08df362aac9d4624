"""The documents of a folder on this machine, in a stable order."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ingestion.sources.globs import Globs
from ingestion.sources.model import Found, Skipped, SkipReason

_READ_BYTES = 1 << 20


def walk_folder(root: Path, globs: Globs | None = None) -> Iterator[Found | Skipped]:
    """The files below ``root`` by path, those that are wanted. Blocks; raises ``OSError`` when ``root`` cannot be read.

    Hidden files and folders and symbolic links are left out. What is excluded, a folder with all that is in it, is not
    included again.
    """
    yield from _walk(root, "", globs or Globs())


def content_hash(path: Path) -> str:
    """The SHA-256 of a file, as a hexadecimal digest. Blocks."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while data := file.read(_READ_BYTES):
            digest.update(data)
    return digest.hexdigest()


def _walk(folder: Path, prefix: str, globs: Globs) -> Iterator[Found | Skipped]:
    with os.scandir(folder) as scan:
        # A folder's contents come where its name with a slash sorts, so that the whole walk is in the order of paths.
        entries = sorted(scan, key=lambda entry: entry.name + "/" * entry.is_dir(follow_symlinks=False))
    for entry in entries:
        name = prefix + entry.name
        # Asked first: who excludes what is hidden anyway has named something that is there.
        if globs.excludes(name) or entry.name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            try:
                yield from _walk(Path(entry.path), name + "/", globs)
            except OSError:
                yield Skipped(_shown(name), SkipReason.UNREADABLE)
        elif globs.includes(name):
            yield _found(entry, name)


def _found(entry: os.DirEntry[str], name: str) -> Found | Skipped:
    if not entry.is_file(follow_symlinks=False):
        return Skipped(_shown(name), SkipReason.NOT_A_FILE)
    if _shown(name) != name:  # bytes that are no UTF-8 make no document id
        return Skipped(_shown(name), SkipReason.UNSAFE_NAME)
    try:
        size = entry.stat(follow_symlinks=False).st_size
    except OSError:
        return Skipped(name, SkipReason.UNREADABLE)
    return Found(name, Path(entry.path), size) if os.access(entry.path, os.R_OK) else Skipped(name, SkipReason.UNREADABLE)


def _shown(name: str) -> str:
    return name.encode(errors="replace").decode()
