"""What routes need to know of the caller and of conditional requests."""

import hashlib
import re
from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.datastructures import Headers

from memoryd.errors import InvalidRequest
from memoryd.http.middleware import require_operator
from memoryd.memory.model import Idempotency
from memoryd.services import Services
from retrieval.scope import Scope

_BEARER = HTTPBearer(auto_error=False, description="An API key: `Authorization: Bearer mdk_…`")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key, for clients without Bearer")
_OPERATOR = HTTPBearer(auto_error=False, scheme_name="OperatorKey", description="The operator's key")
_ETAG = re.compile(r'(?:W/)?"?(\d{1,9})"?')


def services(request: Request) -> Services:
    """The use cases of this process."""
    found: Services = request.app.state.services
    return found


def caller(request: Request, _bearer: object = Security(_BEARER), _header: object = Security(_HEADER)) -> Scope:
    """The authenticated scope, put there by the middleware before the body was read."""
    scope: Scope = request.state.scope
    return scope


def operator(request: Request, _bearer: object = Security(_OPERATOR)) -> None:
    """Raises ``Unauthenticated`` unless the operator's key was sent."""
    require_operator(services(request).operator_key, Headers(scope=request.scope))


async def idempotency(
    request: Request,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=255, description="The same key never writes twice (kept 24 h)")
    ] = None,
) -> Idempotency | None:
    """The key with a digest of the whole request, or ``None``."""
    if idempotency_key is None:
        return None
    if not idempotency_key.isprintable():
        raise InvalidRequest("Idempotency-Key: must be printable")
    digest = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    digest.update(await request.body())
    return Idempotency(idempotency_key, digest.digest())


def if_match(
    if_match: Annotated[str | None, Header(max_length=64, description='The revision, as in `ETag`: `"3"`')] = None,
) -> int | None:
    """The revision that the caller has seen; ``None`` for any."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise InvalidRequest('If-Match: must be a revision such as "3"')
    return int(found[1])


Caller = Annotated[Scope, Depends(caller)]
Uses = Annotated[Services, Depends(services)]
Once = Annotated[Idempotency | None, Depends(idempotency)]
IfMatch = Annotated[int | None, Depends(if_match)]
