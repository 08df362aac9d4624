"""What options and arguments may be: times, pairs, texts from standard input."""

import json
import math
import re
import sys
from collections.abc import Sequence
from datetime import date, datetime

import click
from pydantic import JsonValue

from memoryd.client.questions import Scalar

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class Moment(click.ParamType[datetime]):
    """A time with an offset; without one it is this machine's, and a day is its beginning."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Fails for what is no time."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            if _DAY.fullmatch(text):
                return datetime.combine(date.fromisoformat(text), datetime.min.time()).astimezone()
            found = datetime.fromisoformat(text)
            return found if found.tzinfo is not None else found.astimezone()
        except (ValueError, OverflowError, OSError):
            self.fail(f"{text!r} is no time; it looks like 2025-05-08, 2025-05-08T13:56 or 2025-05-08T13:56:00Z", param, ctx)


def base_and_version(name: str, version: str | None) -> tuple[str, str]:
    """Of a knowledge base that is named as agents name it, ``name@version``, or with a version apart; else what is live."""
    base, at, pinned = name.partition("@")
    if at and (version is not None or not pinned):
        raise click.UsageError(f"{name}: give NAME@VERSION, or NAME and --version")
    return base, pinned or version or "live"


class Pair(click.ParamType[tuple[str, Scalar]]):
    """``KEY=VALUE``; a number, ``true``, ``false``, ``null`` and a quoted string are read as JSON, all else is text."""

    name = "key=value"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Scalar]:
        """Fails without an equals sign."""
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        found = json_or_text(text)
        return key, text if isinstance(found, list | dict) else found


def json_or_text(text: str) -> JsonValue:
    """What it says as JSON (RFC 8259, which knows no NaN, and numbers that this machine has), or else the text itself."""
    try:
        found: JsonValue = json.loads(text, parse_constant=_refused, parse_float=_finite)
    except (ValueError, RecursionError):
        return text
    return found


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(number: str) -> float:
    found = float(number)
    if not math.isfinite(found):
        raise ValueError(f"{number} is too large")
    return found


def words(given: Sequence[str]) -> str:
    """Arguments as one text; ``-`` alone is standard input. Raises ``click.UsageError`` for what says nothing."""
    text = (standard_input() if list(given) == ["-"] else " ".join(given)).strip()
    if not text:
        raise click.UsageError("there is no text")
    return text


def standard_input() -> str:
    """All of it. Raises ``click.UsageError`` when it is no UTF-8."""
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"standard input is not UTF-8: {error}") from error
