"""RFC 9457 problems: the one place where errors become answers."""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.exceptions import HTTPException
from starlette.routing import Match

from ingestion.sources.errors import SourceRefused
from memoryd.errors import GateFailed, ServiceError, VersionConflict, WrongState
from retrieval.errors import (
    BatchTooLarge,
    BudgetTooSmall,
    InferenceError,
    InferenceOverloaded,
    InferenceTimeout,
    MemorydError,
    PackingError,
    UnknownTokenizer,
)

BASE = "https://memoryd.dev/errors/"
MEDIA_TYPE = "application/problem+json"

# Of a field's path in an answer: a caller may have sent names of any length.
_LONGEST_NAME, _DEEPEST = 100, 12
# Of what is said about a value, which may quote it.
_LONGEST_MESSAGE, _LONGEST_DETAIL = 300, 1_000
# These say when to come back, unless waiting does not help; after so long where the error itself does not know.
_LATER, _LATER_S = (429, 503, 504), 30.0

log = logging.getLogger(__name__)

# Errors of the inner rings have no status; everything else carries its own.
_INNER = {
    InferenceOverloaded: (429, "Inference overloaded"),
    InferenceTimeout: (504, "Inference timed out"),
    BatchTooLarge: (413, "Batch too large"),
    InferenceError: (503, "Inference unavailable"),
    BudgetTooSmall: (422, "Budget too small"),
    UnknownTokenizer: (422, "Unknown tokenizer"),
    PackingError: (422, "Packing failed"),
    SourceRefused: (422, "Source refused"),
}

# Of what is found wrong before any of ours looks at it.
_CODES = {
    400: "malformed_body",
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    415: "unsupported_media_type",
}


# pydantic puts the kind that it tried into a place where several may stand.
_KIND = re.compile(r"(?:list|dict|tuple|set|union|tagged-union|nullable|function-\w+|json-or-python)\[")


class FieldError(BaseModel):
    """One field that is wrong."""

    field: str = Field(description="Path in the body, query or header", examples=["memories.0.text"])
    message: str


class Problem(BaseModel):
    """An RFC 9457 problem."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": BASE + "not_found",
                    "title": "Not found",
                    "status": 404,
                    "code": "not_found",
                    "detail": "no such memory",
                    "request_id": "0198c1d2-6f0e-7c9b-8d7e-2f4f1f6f9a10",
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    code: str = Field(description="Stable; see docs/errors.md")
    detail: str
    request_id: str
    errors: list[FieldError] | None = None
    current_version: int | None = Field(None, description="With `version_conflict`; 0: there is no such key")
    state: str | None = Field(None, description="With `wrong_state`: the job's, or the generation's")
    report: dict[str, JsonValue] | None = Field(None, description="With `gate_failed`: of the last verification")


def problem_response(
    request_id: str,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    retry_after_s: float | None = None,
    passes: bool = True,
    errors: list[FieldError] | None = None,
    current_version: int | None = None,
    state: str | None = None,
    report: Mapping[str, object] | None = None,
) -> JSONResponse:
    """The answer for one problem. ``passes``: waiting may help, so that who asks is told to come back."""
    problem = Problem(
        type=BASE + code,
        title=title,
        status=status,
        code=code,
        detail=_short(detail, _LONGEST_DETAIL),
        request_id=request_id,
        errors=errors,
        current_version=current_version,
        state=state,
        report=None if report is None else cast("dict[str, JsonValue]", dict(report)),
    )
    headers = {}
    if (status in _LATER and passes) or retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(_LATER_S if retry_after_s is None else retry_after_s)))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(problem.model_dump(exclude_none=True), status, headers, media_type=MEDIA_TYPE)


def error_response(request_id: str, error: MemorydError) -> JSONResponse:
    """The answer for one of our errors."""
    status, title = 500, "Internal error"
    if isinstance(error, ServiceError):
        status, title = error.status, error.title
    else:
        for kind, known in _INNER.items():
            if isinstance(error, kind):
                status, title = known
                break
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request %s failed: %s: %s", request_id, error.code, _short(str(error), _LONGEST_DETAIL))
    return problem_response(
        request_id,
        status=status,
        code=error.code,
        title=title,
        detail=str(error) or title,
        retry_after_s=error.retry_after_s,
        passes=error.retryable,
        current_version=error.current_version if isinstance(error, VersionConflict) else None,
        state=error.state if isinstance(error, WrongState) else None,
        report=error.report if isinstance(error, GateFailed) else None,
    )


def install(app: FastAPI) -> None:
    """Register the handlers."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, MemorydError)  # noqa: S101 - registered for it
        return error_response(_id(request), error)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
        # What was sent stays out of the answer: it may be large, or secret.
        errors = [
            FieldError(field=_path(one["loc"], error.body), message=_short(_message(one, error.body), _LONGEST_MESSAGE))
            for one in error.errors()[:20]
        ]
        return problem_response(
            _id(request),
            status=422,
            code="invalid_request",
            title="Invalid request",
            detail="; ".join(f"{one.field}: {one.message}" for one in errors[:3]),
            errors=errors,
        )

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": ", ".join(_allowed(app, request))})
        phrase = HTTPStatus(error.status_code).phrase
        code = _CODES.get(error.status_code, "http_" + str(error.status_code))
        response = problem_response(_id(request), status=error.status_code, code=code, title=phrase, detail=str(error.detail))
        response.headers.update(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["Allow"] = ", ".join(_allowed(app, request))
        return response

    app.add_exception_handler(MemorydError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def documented(*statuses: int) -> dict[int | str, dict[str, object]]:
    """``responses=`` of a route: these, and what any route can answer."""
    always = (400, 401, 403, 413, 422, 429, 500, 503, 504)
    return {status: {"description": HTTPStatus(status).phrase, "model": Problem} for status in sorted({*always, *statuses})}


def _allowed(app: FastAPI, request: Request) -> list[str]:
    """The methods of this path in all its routes; the framework names only those of the first (RFC 9110, 15.5.6)."""
    found = [
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in app.router.routes)
    ]
    # The envelope answers HEAD by GET, and OPTIONS is answered with this.
    return [*found[:1], "HEAD", *found[1:], "OPTIONS"] if "GET" in found else [*found, "OPTIONS"]


def _id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", "-"))


def _short(text: str, most: int) -> str:
    return sendable(text if len(text) <= most else text[: most - 1] + "…")


def sendable(text: str) -> str:
    """A caller may send half a surrogate, as JSON; it cannot be sent back."""
    return text.encode(errors="replace").decode()


def _message(fault: Mapping[str, object], body: object) -> str:
    """What is wrong. A body that was not said to be JSON comes as bytes."""
    if tuple(cast("tuple[int | str, ...]", fault["loc"])) == ("body",) and isinstance(body, bytes):
        return "send it as JSON, with Content-Type: application/json"
    return str(fault["msg"])


def _within(value: object, part: int | str) -> object:
    if isinstance(value, dict):
        return value.get(part)
    return value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else None


def _path(location: tuple[int | str, ...], body: object) -> str:
    """Where it is in the part of the request that ``location`` begins with."""
    parts: list[str] = []
    for part in location[1:]:
        there = isinstance(body, dict) and part in body
        if there or not _KIND.match(str(part)):
            parts.append(sendable(str(part)[:_LONGEST_NAME]))
            body = _within(body, part)
    return ".".join(parts[:_DEEPEST]) or str(location[0] if location else "request")
