"""Documents on this machine: what they are called, and how they are read."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

_PIECE_BYTES = 2**20

NOT_A_FILE = "not_a_file"
"""The reason of what is passed over without being a failure: a link, a socket, a device."""


@dataclass(frozen=True, slots=True)
class Local:
    """A document to ingest. ``open`` gives its bytes, from the beginning, each time it is called; it may raise ``OSError``.
    ``source``: what it was found in, for people."""

    document_id: str
    file_name: str
    open: Callable[[], BinaryIO]
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Hashed:
    """One that was read: its SHA-256 and how many bytes it has."""

    local: Local
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Refused:
    """One that did not even become an item of a job. ``reason`` is a stable code, ``detail`` words for people."""

    document_id: str
    reason: str
    detail: str


def hashed(local: Local) -> Hashed | Refused:
    """Read it once, a piece at a time."""
    digest, size = hashlib.sha256(), 0
    try:
        with local.open() as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        return Refused(local.document_id, "unreadable", str(error))
    return Hashed(local, digest.hexdigest(), size)
