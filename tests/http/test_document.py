"""The OpenAPI document: valid, and a program can make a client of it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from openapi_spec_validator import validate
from pydantic import TypeAdapter

from tests.http.document import document

Json = dict[str, Any]


def test_the_document_is_valid() -> None:
    validate(TypeAdapter(Json).validate_python(document()))


def test_bounds_are_those_of_json_schemas() -> None:
    schemas = TypeAdapter(Json).validate_python(document())["components"]["schemas"]
    words = {word for schema in schemas.values() for word in _words(schema)}
    assert not words & {"ge", "le", "gt", "lt", "multiple_of", "min_length", "max_length"}
    assert schemas["AppendIn"]["properties"]["ttl_s"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 10,
        "maximum": 2_592_000,
        "description": "Seconds; each use of the session begins them anew",
    }


def test_the_document_is_printed_without_a_server() -> None:
    done = subprocess.run([sys.executable, "-m", "memoryd.http"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == document()


def _words(schema: Any) -> Iterator[str]:
    """The words that it and the schemas within it are written in; names of properties are none."""
    if isinstance(schema, list):
        for one in schema:
            yield from _words(one)
    elif isinstance(schema, dict):
        yield from schema
        for word, inner in schema.items():
            yield from _words(list(inner.values()) if word == "properties" else inner)
