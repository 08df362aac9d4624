"""The field types of requests: what they allow, and how they say what they do not."""

import json
import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, JsonValue, SkipValidation, StringConstraints

from memoryd.http.closed import at_most

MAX_TEXT = 200_000
MAX_METADATA_BYTES = 16_384
MAX_METADATA_DEPTH = 8
_MOST_WANTED = 16

_NUL = "\\u0000"  # as JSON
_RFC_3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}([.]\d{1,9})?)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain the NUL character")
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _number(value: object) -> object:
    # Unlike a strict integer this takes 1.0, which JSON Schema calls an integer too.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ValueError("must be a number")


def _rfc_3339(value: object) -> object:
    # Left to itself, pydantic takes numbers for seconds or milliseconds since 1970, whichever seems likelier.
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        return value
    raise ValueError("must be an RFC 3339 time with an offset, such as 2023-05-08T13:56:00Z")


def _in_utc(value: datetime) -> datetime:
    try:
        moment = value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is out of range") from error
    if not 1 <= moment.year <= 9998:
        raise ValueError("is out of range")
    return moment


def _in_range(value: datetime) -> datetime:
    _in_utc(value)
    return value


def _metadata(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if _depth(value) > MAX_METADATA_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_METADATA_DEPTH} levels")
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode") from error
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"is larger than {MAX_METADATA_BYTES} bytes as JSON")
    # Behind another backslash it is these six characters and no NUL.
    if _NUL in text and _NUL in text.replace("\\\\", ""):
        raise ValueError("must not contain the NUL character")
    if "NaN" in text or "Infinity" in text:
        _finite(value)
    return value


def _depth(value: dict[str, JsonValue]) -> int:
    level: list[dict[str, JsonValue] | list[JsonValue]] = [value]
    depth = 0
    while level and depth <= MAX_METADATA_DEPTH:
        depth += 1
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, (dict, list))  # a union is slower, and there may be a million
        ]
    return depth


def _finite(value: JsonValue) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise ValueError("numbers must be finite") from error


_Clean = AfterValidator(_no_nul)

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT), _Clean, AfterValidator(_not_blank)]
Query = Annotated[str, StringConstraints(min_length=1, max_length=8_000), _Clean, AfterValidator(_not_blank)]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=256), _Clean]
IdempotencyKey = Annotated[str, StringConstraints(min_length=1, max_length=255), _Clean]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,127}$")]
Topic = Annotated[str, StringConstraints(min_length=1, max_length=128), _Clean]
Uri = Annotated[str, StringConstraints(min_length=1, max_length=2_048), _Clean]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=1_000), _Clean]
Time = Annotated[AwareDatetime, BeforeValidator(_rfc_3339), AfterValidator(_in_utc)]
# With its offset: whose days the question means by "yesterday".
LocalTime = Annotated[AwareDatetime, BeforeValidator(_rfc_3339), AfterValidator(_in_range)]
# What was parsed is JSON; a look at each value would take a microsecond, a million times in the largest body.
Metadata = Annotated[dict[str, SkipValidation[JsonValue]], AfterValidator(_metadata)]
Wanted = Annotated[
    dict[Identifier, str | bool | int | float | None],
    BeforeValidator(at_most(_MOST_WANTED)),
    Field(max_length=_MOST_WANTED, description="Equality of top-level scalars"),
    AfterValidator(_metadata),
]
Confidence = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Whole = Annotated[int, BeforeValidator(_number)]
