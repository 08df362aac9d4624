"""JSON schemas as Markdown: types in words, limits, tables of fields."""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_NAMES = {"date-time": "time", "uuid": "UUID", "binary": "file"}
_LIMITS = {
    "minimum": "≥ {}",
    "maximum": "≤ {}",
    "exclusiveMinimum": "> {}",
    "minLength": "{} characters at least",
    "maxLength": "{} characters at most",
    "minItems": "{} items at least",
    "maxItems": "{} items at most",
    "pattern": "matches `{}`",
}
ANCHORS = "schemas.md"


def typed(schema: Schema) -> str:
    """Its type in a few words; schemas that have a name are links."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "any JSON" if name == "JsonValue" else f"[{name}]({ANCHORS}#{name.lower()})"
    if variants := _variants(schema):
        return " or ".join(dict.fromkeys(typed(one) for one in variants))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        return f"list of {typed(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {typed(schema['additionalProperties'])}"
    return _NAMES.get(schema.get("format", ""), kind or "any JSON")


def limits(schema: Schema) -> Iterator[str]:
    """What a value must keep to, and what it is when it is missing."""
    for one in (schema, *_variants(schema)):
        for name, words in _LIMITS.items():
            if name in one:
                yield words.format(one[name] if name == "pattern" else f"{one[name]:,.10g}")
    if schema.get("default") not in (None, [], {}):
        yield f"default `{schema['default']}`"


def told(schema: Schema) -> str:
    """Description and limits, in one cell of a table."""
    words = [schema.get("description", ""), "; ".join(limits(schema))]
    return cell(". ".join(one.rstrip(".") for one in words if one))


def cell(text: str) -> str:
    """``text`` as it can stand in a table; a bar within code needs nothing."""
    parts = " ".join(text.split()).split("`")
    return "`".join(part.replace("|", "\\|") if number % 2 == 0 else part for number, part in enumerate(parts))


def table(schema: Schema) -> str:
    """The fields of an object, the needed ones marked; an enumeration or a union in a line."""
    fields = schema.get("properties")
    if not fields:
        return f"{typed(schema)}\n"
    needed = schema.get("required", ())
    rows = [
        f"| `{name}`{' (needed)' if name in needed else ''} | {cell(typed(field))} | {told(field)} |"
        for name, field in fields.items()
    ]
    return "\n".join(["| field | type | |", "| --- | --- | --- |", *rows, ""])


def _variants(schema: Schema) -> list[Schema]:
    given = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf") or []
    return [one for one in given if one.get("type") != "null"]
