"""The query parameters that select memories: a recall's filters and time axes, for reads without a recall."""

import json
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from memoryd.errors import InvalidRequest
from memoryd.http.fields import Identifier, Time, Topic, Wanted
from memoryd.memory.model import Kind
from memoryd.memory.ports import Moment
from retrieval.filters import Filters, Scalar

_METADATA = "metadata."
_WANTED: TypeAdapter[dict[str, Scalar]] = TypeAdapter(Wanted)

AsOf = Annotated[Time | None, Query(description="What was true in the world then")]
KnownAt = Annotated[Time | None, Query(description="What this service knew then")]
Topics = Annotated[list[Topic] | None, Query(max_length=32)]
IdentifierQuery = Annotated[Identifier | None, Query()]
TimeQuery = Annotated[Time | None, Query()]


async def moment(as_of: AsOf = None, known_at: KnownAt = None) -> Moment:
    """When to look."""
    return Moment(as_of, known_at)


async def wanted_metadata(request: Request) -> tuple[tuple[str, Scalar], ...]:
    """``metadata.<key>=<value>``: a number, ``true``, ``false``, ``null`` and a quoted string as in JSON, else a string."""
    given = [(name, value) for name, value in request.query_params.multi_items() if name.startswith(_METADATA)]
    wanted = {name.removeprefix(_METADATA): _scalar(value) for name, value in given}
    if len(wanted) < len(given):
        raise InvalidRequest("metadata: a key is given twice, and cannot have two values")
    try:
        return tuple(_WANTED.validate_python(wanted).items())
    except ValidationError as error:
        raise RequestValidationError(
            [one | {"loc": ("query", "metadata", *one["loc"])} for one in error.errors(include_url=False)]
        ) from error


def _scalar(text: str) -> Scalar:
    try:
        value = text if text[:1] in "[{" else json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text
    return value if value is None or isinstance(value, str | int | float) else text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


async def filters(
    metadata: Annotated[tuple[tuple[str, Scalar], ...], Depends(wanted_metadata)],
    at: Annotated[Moment, Depends(moment)],
    user_id: IdentifierQuery = None,
    agent_id: IdentifierQuery = None,
    session_id: IdentifierQuery = None,
    kind: Annotated[list[Kind] | None, Query(max_length=4, description="One of these; repeat it for more")] = None,
    source_type: Annotated[list[Identifier] | None, Query(max_length=32, description="One of these")] = None,
    topics_any: Topics = None,
    topics_all: Topics = None,
    min_confidence: Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)] = None,
    event_after: TimeQuery = None,
    event_before: TimeQuery = None,
    created_after: TimeQuery = None,
    created_before: TimeQuery = None,
) -> Filters:
    """As a recall's ``filters``; what can have several values is repeated."""
    return Filters(
        user_id=user_id,
        agent_id=agent_id,
        session_id=session_id,
        kinds=tuple(kind or ()),
        source_types=tuple(source_type or ()),
        topics_any=tuple(topics_any or ()),
        topics_all=tuple(topics_all or ()),
        metadata=metadata,
        min_confidence=min_confidence,
        event_after=event_after,
        event_before=event_before,
        created_after=created_after,
        created_before=created_before,
        as_of=at.as_of,
        known_at=at.known_at,
    )


Selected = Annotated[Filters, Depends(filters)]
At = Annotated[Moment, Depends(moment)]
