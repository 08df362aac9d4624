"""What the OpenAPI document has."""

from pydantic import JsonValue, TypeAdapter

from memoryd.http.openapi import application, document

__all__ = ["application", "document", "operations", "schemas"]


def operations() -> set[str]:
    """``GET /v1/memories`` and so on: all that the document has."""
    methods = TypeAdapter(dict[str, dict[str, JsonValue]]).validate_python(document()["paths"])
    return {f"{method.upper()} {path}" for path, some in methods.items() for method in some}


def schemas() -> set[str]:
    """Names of all schemas."""
    parts = TypeAdapter(dict[str, dict[str, JsonValue]]).validate_python(document()["components"])
    return set(parts["schemas"])
