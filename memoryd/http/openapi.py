"""The OpenAPI document without a server: for the documentation, and for generators of clients."""

from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from pydantic import JsonValue

from memoryd.http.app import create_app
from memoryd.services import Services


def application() -> FastAPI:
    """The routes, without services behind them; it cannot be started."""
    return create_app(_unopened, max_body_bytes=1, request_timeout_s=1)


def document() -> dict[str, JsonValue]:
    """What ``/openapi.json`` answers."""
    return application().openapi()


def _unopened() -> AbstractAsyncContextManager[Services]:
    raise AssertionError("the document needs no services")
