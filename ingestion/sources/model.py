"""What sources give."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class SkipReason(StrEnum):
    """Why one entry of an archive or a folder is passed over, while the others go on."""

    UNSAFE_NAME = "unsafe_name"
    DUPLICATE_NAME = "duplicate_name"
    NOT_A_FILE = "not_a_file"
    NESTED_ARCHIVE = "nested_archive"
    ENCRYPTED = "encrypted"
    UNSUPPORTED = "unsupported"
    CORRUPT = "corrupt"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Found:
    """A file to ingest: ``name`` is its relative POSIX path and the document's id, ``size`` is in bytes."""

    name: str
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was passed over, by name as far as it can be shown."""

    name: str
    reason: SkipReason
