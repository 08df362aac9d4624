"""Cursors: opaque texts for positions in lists. What is not one that this service gave out is an ``InvalidRequest``."""

import base64
import binascii
from uuid import UUID

from memoryd.errors import InvalidRequest

_FOREIGN = "cursor: not one that this service gave out"
# No document's id has it.
_OF_VERSION = "\x1f"


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
    return number(from_cursor(cursor))


def number(position: str) -> int:
    """A position that is a number. Raises ``InvalidRequest``."""
    if not position.isascii() or not position.isdigit() or len(position) > 18:
        raise InvalidRequest(_FOREIGN)
    return int(position)


def to_version_cursor(seq: int, position: str) -> str:
    """For a position in a list of one version: the next page is of the same, whichever is live by then."""
    return to_cursor(f"{seq}{_OF_VERSION}{position}")


def from_version_cursor(version: str, cursor: str | None) -> tuple[str, str | None]:
    """The version that a page is of, and the position that it begins behind; ``version``, and ``None`` for the first page.

    Raises ``InvalidRequest``, also for a cursor of another version than the one that is asked for by its number.
    """
    if cursor is None:
        return version, None
    seq, between, position = from_cursor(cursor).partition(_OF_VERSION)
    if not between:
        raise InvalidRequest(_FOREIGN)
    return str(_same(seq, version)), position


def to_diff_cursor(before: int, after: int, position: str) -> str:
    """For a position in what differs between two versions, as :func:`to_version_cursor`."""
    return to_cursor(_OF_VERSION.join((str(before), str(after), position)))


def from_diff_cursor(before: str | None, after: str, cursor: str | None) -> tuple[int, int, str] | None:
    """The versions that a page is of, and the position that it begins behind; ``None`` for the first page. Raises as
    :func:`from_version_cursor`."""
    if cursor is None:
        return None
    match from_cursor(cursor).split(_OF_VERSION):
        case [first, last, position]:
            return _same(first, before), _same(last, after), position
    raise InvalidRequest(_FOREIGN)


def _same(seq: str, selector: str | None) -> int:
    """The version of a cursor, where ``selector`` does not name another by its number."""
    if selector is not None and selector.isdigit() and int(selector) != number(seq):
        raise InvalidRequest(f"cursor: of version {seq}, not {selector}")
    return number(seq)
