"""How values of Python are said in a request."""

import json
from collections.abc import Mapping
from datetime import datetime

from pydantic import JsonValue

from memoryd.client.errors import Unsayable


def moment(name: str, value: datetime | None) -> str | None:
    """RFC 3339. Raises ``Unsayable`` for a time without an offset: whose midnight it means is not ours to guess."""
    if value is None:
        return None
    if value.tzinfo is None or value.utcoffset() is None:
        raise Unsayable(f"{name}: {value.isoformat()} has no offset; give the time a tzinfo")
    return value.isoformat()


def as_json(value: JsonValue) -> str:
    """RFC 8259. Raises ``Unsayable`` for a number that it does not know."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise Unsayable("NaN and infinity are no numbers of JSON") from error


def as_bytes(value: JsonValue) -> bytes:
    """:func:`as_json` in UTF-8. Raises ``Unsayable`` for half a surrogate pair too."""
    try:
        return as_json(value).encode()
    except UnicodeEncodeError as error:
        raise Unsayable("a text has half a surrogate pair, which is no character") from error


def segment(name: str, value: str) -> str:
    """A part of a path that must stay one part. Raises ``Unsayable``."""
    if not value.strip(". ") or "/" in value:
        raise Unsayable(f"{name}: {value!r} is empty, only dots, or has a slash")
    return value


def filled(values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Without what says nothing: ``None``, and empty lists and objects."""
    return {name: value for name, value in values.items() if value is not None and value not in ([], {})}
