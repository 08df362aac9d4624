"""JSON and JSON lines: flat records as lists of their fields, everything else as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ingestion.document import BlockKind
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.pieces import Facts, Piece, batches, code, one_line
from ingestion.parse.source import Source

# A larger file is shown as it stands, in parts.
_WHOLE = 32 * 1024 * 1024
# Of one record.
_MAX_RECORD = 4 * 1024 * 1024
_NUMBERS = (int, float, bool, type(None))
_FLAT = (str, *_NUMBERS)


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """One JSON document: an array by its elements, an object by its members."""
    if source.size > _WHOLE:
        facts.warn("the JSON is too large to be understood as a whole; it is shown as it stands")
        yield from _as_it_stands(source)
        return
    try:
        value = _loaded(source.text().read())
    except ValueError as error:
        facts.warn(f"{error}; it is shown as it stands")
        yield from _as_it_stands(source)
        return
    if isinstance(value, list) and all(isinstance(one, _NUMBERS) for one in value):
        yield Piece(BlockKind.LIST, "\n".join(f"- {_shown(one)}" for one in value))
    elif isinstance(value, list):
        yield from (record(one) for one in value)
    elif isinstance(value, dict) and not _is_flat(value):
        facts.name(value.get("title") if isinstance(value.get("title"), str) else None)
        yield from (record({name: one}) for name, one in value.items())
    else:
        yield record(value)


def _as_it_stands(source: Source) -> Iterator[Piece]:
    return (code(text, "json") for text in batches(source.lines()))


def read_lines(source: Source, facts: Facts) -> Iterator[Piece]:
    """Streams one record a line; a line that is no JSON is kept as it is, with a warning."""
    wrong: list[int] = []
    for number, line in enumerate(source.rows(_MAX_RECORD), 1):
        if not line.strip():
            continue
        try:
            yield record(_loaded(line))
        except ValueError:
            wrong = [*wrong[:10], number]
            yield code(line, "json")
    if wrong:
        facts.warn(f"not strict JSON, as it stands: line {', '.join(map(str, wrong[:10]))}{', …' if len(wrong) > 10 else ''}")


def _loaded(text: str) -> object:
    """Raises ``ValueError`` with what to say of a text that can only be shown as it stands: its values would not be all."""
    try:
        return json.loads(text, object_pairs_hook=_members)
    except json.JSONDecodeError as error:
        # Settings with comments are often called so.
        raise ValueError("not strict JSON") from error
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("JSON with a name twice in one object")
    return made


def record(value: object) -> Piece:
    """A flat object as a list of its fields, which reads and searches like text; anything else as indented JSON."""
    if isinstance(value, dict) and value and _is_flat(value):
        return Piece(BlockKind.LIST, "\n".join(f"- {one_line(str(name))}: {_shown(one)}" for name, one in value.items()))
    if isinstance(value, str):
        return Piece(BlockKind.PARAGRAPH, value)
    try:
        return code(json.dumps(value, ensure_ascii=False, indent=2), "json")
    except RecursionError as error:
        raise ParseFailed(FailureReason.TOO_LARGE, "JSON that is nested too deeply") from error


def _is_flat(value: dict[str, object]) -> bool:
    return all(
        isinstance(one, _FLAT) or (isinstance(one, list) and all(isinstance(item, str) for item in one)) for one in value.values()
    )


def _shown(value: object) -> str:
    if isinstance(value, str):
        # Lines of a value stay within its item.
        return value.strip().replace("\r\n", "\n").replace("\n", "\n  ")
    if isinstance(value, list):
        return ", ".join(one_line(item) for item in value)
    return json.dumps(value, ensure_ascii=False)
