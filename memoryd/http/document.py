"""The OpenAPI document: FastAPI's, with what it cannot derive from the routes: the media type of problems, and headers."""

from typing import Any

from fastapi import FastAPI

_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_ALWAYS = ("X-Request-ID",)
_BY_STATUS = {"401": ("WWW-Authenticate",), "429": ("Retry-After",), "503": ("Retry-After",), "504": ("Retry-After",)}
_HEADERS = {
    "ETag": {
        "description": "The revision, for `If-Match`",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9]+"$'},
        "example": '"3"',
    },
    "Retry-After": {
        "description": "Seconds after which the same request may succeed; missing when it will not",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "How to authenticate", "required": True, "schema": {"const": "Bearer"}},
    "X-Request-ID": {
        "description": "Yours if you sent one that is valid, else a new one; the log has it too",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
}

# Pydantic writes a bound behind a validator of ours in its own words, which mean nothing in a JSON schema.
_BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}

# ``responses=`` of a route that answers with a revision.
VERSIONED: dict[int | str, dict[str, Any]] = {200: {"headers": {"ETag": {"$ref": "#/components/headers/ETag"}}}}


class Documented(FastAPI):
    """FastAPI with a true document."""

    def openapi(self) -> dict[str, Any]:
        """The whole document, completed in place; FastAPI keeps it."""
        document = super().openapi()
        document["components"]["headers"] = _HEADERS
        for schema in document["components"]["schemas"].values():
            _bound(schema)
        for operations in document["paths"].values():
            for operation in operations.values():
                for status, response in operation["responses"].items():
                    _complete(str(status), response)
        return document


def _complete(status: str, response: dict[str, Any]) -> None:
    if any(media.get("schema") == _PROBLEM for media in response.get("content", {}).values()):
        response["content"] = {"application/problem+json": {"schema": _PROBLEM}}
    headers = response.setdefault("headers", {})
    for name in (*_ALWAYS, *_BY_STATUS.get(status, ())):
        headers[name] = {"$ref": f"#/components/headers/{name}"}


def _bound(schema: Any) -> None:
    """Bounds by the names that they have in JSON schemas, in this one and in all within it."""
    if isinstance(schema, list):
        for one in schema:
            _bound(one)
    elif isinstance(schema, dict):
        _bound(list(schema.get("properties", {}).values()))
        for word, name in _BOUNDS.items():
            if isinstance(schema.get(word), int | float):
                schema[name] = schema.pop(word)
        for word in ("anyOf", "oneOf", "allOf", "items", "additionalProperties", "prefixItems"):
            _bound(schema.get(word))
