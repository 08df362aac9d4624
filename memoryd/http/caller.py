"""What routes need to know of the caller and of conditional requests.

All are coroutines, also those that wait for nothing: the framework runs plain functions in a thread for each request.
"""

import hashlib
import re
from functools import partial
from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from memoryd.access.model import Operation
from memoryd.errors import InvalidRequest
from memoryd.http.middleware import presented, require_operator
from memoryd.memory.model import Idempotency
from memoryd.services import Services
from memoryd.sessions.events import Still
from retrieval.scope import Scope

BEARER = HTTPBearer(auto_error=False, description="An API key: `Authorization: Bearer mdk_…`")
API_KEY_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key, for clients without Bearer")
_OPERATOR = HTTPBearer(auto_error=False, scheme_name="OperatorKey", description="The operator's key")
_ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_REVISION = re.compile(r"\d{1,9}", re.ASCII)


async def services(request: Request) -> Services:
    """The use cases of this process."""
    found: Services = request.app.state.services
    return found


async def caller(request: Request, _bearer: object = Security(BEARER), _header: object = Security(API_KEY_HEADER)) -> Scope:
    """The authenticated scope, put there by the middleware before the body was read."""
    scope: Scope = request.state.scope
    return scope


async def still(request: Request, use: Annotated[Services, Depends(services)]) -> Still:
    """Asks for the caller's credential again."""
    return partial(use.authenticator.scope, presented(request.scope) or "", request.state.request_id)


async def operator(request: Request, _bearer: object = Security(_OPERATOR)) -> None:
    """Raises ``Unauthenticated`` unless the operator's key was sent."""
    require_operator((await services(request)).operator_key, request.scope)


async def idempotency(
    request: Request,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=255, description="The same key never writes twice (kept 24 h)")
    ] = None,
) -> Idempotency | None:
    """The key with a digest of the whole request, or ``None``. Raises ``InvalidRequest``."""
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise InvalidRequest("Idempotency-Key: is given twice")
    return None if idempotency_key is None else once_of(request, idempotency_key, await request.body())


def once_of(request: Request, key: str, body: bytes) -> Idempotency:
    """The key with a digest of the whole request. Raises ``InvalidRequest``."""
    if not key.isprintable():
        raise InvalidRequest("Idempotency-Key: must be printable")
    # From the request line alone: the framework's URL begins with what the Host header says, whatever that is.
    target = f"{request.scope['path']}?{request.scope['query_string'].decode('latin-1')}"
    digest = hashlib.sha256(f"{request.method} {target}\n".encode())
    digest.update(body)
    return Idempotency(key, digest.digest())


async def if_match(
    request: Request,
    if_match: Annotated[
        str | None, Header(max_length=1_000, description='Revisions as in `ETag`: `"3"`, a list of them, or `*`')
    ] = None,
) -> frozenset[int] | None:
    """The revisions that the caller has seen; ``None`` for any. A tag that cannot be ours matches nothing, nor does a weak one.

    RFC 9110, 8.8.3 and 13.1.1. ``*`` asks for something to be there, which every route does anyway.
    """
    if if_match is None:
        return None
    value = ",".join(request.headers.getlist("if-match"))
    if value.strip(" \t") == "*":
        return None
    if not _ETAG.search(value) or _ETAG.sub("", value).strip(" \t,"):
        raise InvalidRequest('If-Match: must be *, or entity tags such as "3"')
    return frozenset(int(tag) for weak, tag in _ETAG.findall(value) if not weak and _REVISION.fullmatch(tag))


async def operation(
    request: Request, use: Annotated[Services, Depends(services)], once: Annotated[Idempotency | None, Depends(idempotency)]
) -> Operation:
    """This request of the operator."""
    return use.tenants.operation(request.state.request_id, once)


Caller = Annotated[Scope, Depends(caller)]
Uses = Annotated[Services, Depends(services)]
Again = Annotated[Still, Depends(still)]
Operating = Annotated[Operation, Depends(operation)]
Once = Annotated[Idempotency | None, Depends(idempotency)]
IfMatch = Annotated[frozenset[int] | None, Depends(if_match)]
