"""Cursors: opaque texts for positions in lists. What is not one that this service gave out is an ``InvalidRequest``."""

import base64
import binascii
from uuid import UUID

from memoryd.errors import InvalidRequest

_FOREIGN = "cursor: not one that this service gave out"


def to_cursor(position: str) -> str:
    """An opaque text for a position in a list."""
    return base64.urlsafe_b64encode(position.encode()).rstrip(b"=").decode()


def from_cursor(cursor: str) -> str:
    """The position; never with a NUL, which no text of ours has and PostgreSQL does not take. Raises ``InvalidRequest``."""
    try:
        position = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise InvalidRequest(_FOREIGN) from error
    if "\0" in position:
        raise InvalidRequest(_FOREIGN)
    return position


def after_id(cursor: str | None) -> UUID | None:
    """The id that a page begins behind; ``None`` for the first page. Raises ``InvalidRequest``."""
    if cursor is None:
        return None
    try:
        return UUID(from_cursor(cursor))
    except ValueError as error:
        raise InvalidRequest(_FOREIGN) from error


def whole(cursor: str | None) -> int | None:
    """The number that a page begins next to; ``None`` for the first page. Raises ``InvalidRequest``."""
    if cursor is None:
        return None
    text = from_cursor(cursor)
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidRequest(_FOREIGN)
    return int(text)
