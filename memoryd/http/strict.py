"""Routes that take nothing silently: no query parameter that they do not know, and no JSON that could be read in two ways."""

import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, get_args, get_origin
from urllib.parse import unquote_to_bytes

import jiter
from fastapi import HTTPException, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import JsonValue

from memoryd.errors import InvalidRequest
from memoryd.threads import BULK, QUICK

OPEN_QUERY = "x-open-query"
"""In ``openapi_extra``: a prefix of query parameters that the route reads by itself."""

_LONGEST_NAME = 100
INLINE_BYTES = 100_000
"""What is parsed on the event loop, in half a millisecond; more goes to a thread, which gives way whenever an object is made."""
_QUICK_BYTES = 1_000_000


class StrictRequest(Request):
    """Reads its JSON by RFC 8259 and I-JSON: UTF-8, no NaN, no name twice in one object."""

    async def json(self) -> JsonValue:
        """The body. Raises ``HTTPException`` 400, and 415 for one that is encoded."""
        if not hasattr(self, "_strict"):
            coding = self.headers.get("content-encoding", "identity").strip().lower()
            if coding not in ("identity", ""):
                raise HTTPException(
                    415, f"the body is sent as {coding[:_LONGEST_NAME]}: send it as it is, without Content-Encoding"
                )
            body = await self.body()
            if len(body) <= INLINE_BYTES:
                self._strict = parsed(body)
            else:
                self._strict = await (QUICK if len(body) <= _QUICK_BYTES else BULK).run(parsed, body)
        return self._strict


class StrictRoute(APIRoute):
    """A route that answers 422 to unknown or doubled query parameters, and 400 to doubtful JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's, behind the checks."""
        handle = super().get_route_handler()
        names = dict(_query_names(self.dependant))
        prefix = (self.openapi_extra or {}).get(OPEN_QUERY)

        async def strict(request: Request) -> Response:
            _check_query(request, names, prefix)
            return await handle(StrictRequest(request.scope, request.receive))

        return strict


def _check_query(request: Request, names: dict[str, bool], prefix: str | None) -> None:
    """``names``: the parameters, and whether each may be repeated."""
    seen: set[str] = set()
    given = request.query_params.multi_items()
    if any("\ufffd" in name or "\ufffd" in value for name, value in given):
        # What is not UTF-8 is read as U+FFFD, and many names would be one.
        try:
            unquote_to_bytes(request.scope["query_string"]).decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest("the query is not UTF-8, percent-encoded") from error
    for name, _ in given:
        if prefix is not None and name.startswith(prefix):
            continue
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise InvalidRequest(f"{name[:_LONGEST_NAME]}: not a query parameter of this route; it takes: {known}")
        if name in seen and not names[name]:
            raise InvalidRequest(f"{name}: is given twice, and can have one value only")
        seen.add(name)


def _query_names(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    for field in dependant.query_params:
        yield field.alias, _many(field.field_info.annotation)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


def _many(annotation: object) -> bool:
    return get_origin(annotation) is list or any(_many(one) for one in get_args(annotation))


def parsed(body: bytes) -> JsonValue:
    """JSON that can be read in one way. Raises ``HTTPException`` 400."""
    if len(body) > INLINE_BYTES:
        return _looked_at(body)
    try:
        value: JsonValue = jiter.from_json(body, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError:
        return _looked_at(body)
    return value


def _looked_at(body: bytes) -> JsonValue:
    """By Python's own parser, three times as slow. In a thread it lets others in whenever an object is made, and the other holds
    them all up to its end. It says what is wrong, and takes what the other does not: a half of a
    surrogate pair, which fields refuse by their names, and more than 200 levels."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _malformed(f"it is not UTF-8 (byte {error.start})") from error
    if text.startswith("\ufeff"):
        raise _malformed("it begins with a BOM (line 1, column 1)")
    try:
        value: JsonValue = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} (line {error.lineno}, column {error.colno})") from error
    except RecursionError as error:
        raise _malformed("it is nested too deeply") from error
    except ValueError as error:
        # Ours are short; Python's own is about numbers with thousands of digits.
        raise _malformed(str(error) if isinstance(error, _Doubtful) else "a number has too many digits") from error
    return value


class _Doubtful(ValueError):
    """JSON that parsers read in different ways."""


def _constant(name: str) -> JsonValue:
    raise _Doubtful(f"{name} is not a JSON number")


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # A dict of what comes behind keeps the last: the first that differs from it stands twice.
        last = {name: at for at, (name, _) in enumerate(pairs)}
        twice = next(name for at, (name, _) in enumerate(pairs) if last[name] != at)
        raise _Doubtful(f"{json.dumps(twice[:_LONGEST_NAME])} stands twice in one object")
    return found


# Made once: ``json.loads`` would make one for each body.
_DECODER = json.JSONDecoder(parse_constant=_constant, object_pairs_hook=_object)


def _malformed(why: str) -> HTTPException:
    return HTTPException(400, f"the body is not JSON that can be read in one way: {why}")
