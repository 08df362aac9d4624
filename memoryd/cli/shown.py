"""How answers look: tables for people, lines of JSON for programs."""

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

import click
from pydantic import BaseModel
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

# Where nobody sees how wide it is, a row is a line.
_WIDE = 1_000
# Control characters, surrogates, and what changes the direction of the text behind it.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Those of them that JSON lets stand in a string.
_UNESCAPED = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

as_json = click.option("--json", "as_json", is_flag=True, help="For pipes: one object a line.")
unasked = click.option("--yes", is_flag=True, help="Do not ask.")


def confirmed(question: str, yes: bool) -> None:
    """Ask on standard error, unless ``--yes`` was given. Raises ``click.Abort``."""
    if not yes:
        click.confirm(question, abort=True, err=True)


def line(model: BaseModel) -> None:
    """A line of JSON."""
    document(model.model_dump_json())


def document(text: str) -> None:
    """A JSON document; in its strings, what a terminal might obey is escaped."""
    click.echo(_UNESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def table(names: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = (), error: bool = False) -> None:
    """Rows under their names; ``right``: the columns of numbers. Nothing in a cell is markup or moves the cursor. ``error``: on
    standard error."""
    shown = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for name in names:
        shown.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(plain(cell)) for cell in row))
    _printed(shown, error=error)


def fields(pairs: Iterable[tuple[str, object]]) -> None:
    """A thing with its fields, one a line."""
    shown = Table(box=None, pad_edge=False, show_edge=False, show_header=False)
    shown.add_column(style="bold")
    shown.add_column(overflow="fold")
    for name, value in pairs:
        shown.add_row(name, Text(plain(value)))
    _printed(shown)


def _printed(shown: Table, *, error: bool = False) -> None:
    out = _errors() if error else console(sys.stdout.isatty())
    if out.is_terminal:
        out.print(shown)
        return
    with out.capture() as capture:
        out.print(shown)
    # The last column is filled with blanks, which who reads lines would have to take off.
    for one in capture.get().splitlines():
        click.echo(one.rstrip(), err=error)


def console(terminal: bool) -> Console:
    """On standard output."""
    return Console(file=sys.stdout, width=None if terminal else _WIDE, highlight=False, markup=False)


def note(words: str, *, style: str = "dim") -> None:
    """A line for people beside the answer, on standard error; none where that is no terminal, unless it warns."""
    if sys.stderr.isatty() or style != "dim":
        _errors().print(Text(plain(words), style=style))


def _errors() -> Console:
    return Console(stderr=True, width=None if sys.stderr.isatty() else _WIDE, highlight=False, markup=False)


def prose(text: str) -> str:
    """A text of several lines, without what a terminal might obey."""
    return "\n".join(plain(one.replace("\t", "    ")) for one in text.splitlines())


def indented(text: str, by: int = 4) -> None:
    """A text of several lines on standard output, to the right; on a terminal each line is folded there."""
    if sys.stdout.isatty():
        console(True).print(Padding(Text(prose(text)), (0, 0, 0, by), expand=False))
        return
    for one in prose(text).splitlines():
        click.echo(f"{'':{by}}{one}")


def plain(value: object) -> str:
    """What is shown of a value; a character that a terminal might obey is not."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return _OBEYED.sub("�", str(value))


def shortened(text: str, most: int) -> str:
    """Its first characters."""
    return text if len(text) <= most else text[:most].rstrip() + " …"


def seconds(value: float) -> str:
    """As people say it: ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def day(value: datetime | None) -> str | None:
    """Of this machine's calendar."""
    return None if value is None else f"{_here(value):%Y-%m-%d}"


def minute(value: datetime | None) -> str | None:
    """On this machine's clock."""
    return None if value is None else f"{_here(value):%Y-%m-%d %H:%M}"


def second(value: datetime | None) -> str | None:
    """On this machine's clock."""
    return None if value is None else f"{_here(value):%Y-%m-%d %H:%M:%S}"


def _here(value: datetime) -> datetime:
    """In this machine's time; as it was said where that would be before the first year, or after the last."""
    try:
        return value.astimezone()
    except OverflowError:
        return value
