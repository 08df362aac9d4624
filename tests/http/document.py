"""The OpenAPI document, without starting anything."""

from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from pydantic import JsonValue, TypeAdapter

from memoryd.http.app import create_app
from memoryd.services import Services


def document() -> dict[str, JsonValue]:
    """What ``/openapi.json`` answers."""
    return application().openapi()


def application() -> FastAPI:
    """The routes, without services behind them."""
    return create_app(_unopened, max_body_bytes=1, request_timeout_s=1)


def operations() -> set[str]:
    """``GET /v1/memories`` and so on: all that the document has."""
    methods = TypeAdapter(dict[str, dict[str, JsonValue]]).validate_python(document()["paths"])
    return {f"{method.upper()} {path}" for path, some in methods.items() for method in some}


def _unopened() -> AbstractAsyncContextManager[Services]:
    raise AssertionError("the document needs no services")
