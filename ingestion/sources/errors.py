"""Why a source gives no document. A reason is a stable name; a message never holds what the source said::

MemorydError
└── SourceRefused
"""

from enum import StrEnum

from retrieval.errors import MemorydError


class Reason(StrEnum):
    """Of a whole source: an address, or an archive."""

    BAD_URL = "bad_url"
    NOT_HTTP = "not_http"
    CREDENTIALS_IN_URL = "credentials_in_url"
    BLOCKED_PORT = "blocked_port"
    BLOCKED_ADDRESS = "blocked_address"
    DNS_FAILED = "dns_failed"
    CONNECTION_FAILED = "connection_failed"
    TIMED_OUT = "timed_out"
    BAD_STATUS = "bad_status"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    BAD_ENCODING = "bad_encoding"
    TOO_LARGE = "too_large"
    NOT_AN_ARCHIVE = "not_an_archive"
    CORRUPT = "corrupt"
    TOO_MANY_ENTRIES = "too_many_entries"
    BOMB = "bomb"


class SourceRefused(MemorydError):
    """A source cannot or must not be read; ``reason`` says why."""

    code = "source_refused"

    def __init__(self, reason: Reason, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable
