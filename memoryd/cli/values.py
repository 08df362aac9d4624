"""What options and arguments may be: times, pairs, texts from standard input."""

import json
import re
import sys
from collections.abc import Sequence
from datetime import date, datetime

import click

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
        return key, _scalar(text)


def _scalar(text: str) -> Scalar:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if found is None or isinstance(found, str | bool | int | float) else text


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
