"""Why a document could not be parsed."""

from __future__ import annotations

from enum import StrEnum


class FailureReason(StrEnum):
    """Stable codes; each is explained in docs/ingestion.md."""

    UNSUPPORTED_FORMAT = "unsupported_format"
    NOT_TEXT = "not_text"
    EMPTY = "empty"
    NO_TEXT_LAYER = "no_text_layer"
    ENCRYPTED = "encrypted"
    CORRUPT = "corrupt"
    UNSAFE_XML = "unsafe_xml"
    ARCHIVE_BOMB = "archive_bomb"
    TOO_LARGE = "too_large"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"

    @property
    def worth_a_retry(self) -> bool:
        """Whether the same bytes may fare better on a machine with more room; all else lies in the document."""
        return self in (FailureReason.TIMED_OUT, FailureReason.OUT_OF_MEMORY, FailureReason.CRASHED)


class ParseFailed(Exception):
    """The document cannot be read. ``detail`` says in a sentence what was found, and quotes nothing of the content."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
