"""What every operation is made of: one request with its retries, pages, and paths."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, JsonValue, ValidationError

from memoryd.client.errors import PartUnreadable, UnexpectedAnswer, Unreachable, problem
from memoryd.client.retries import Retries, retry_after, still_running
from memoryd.client.steps import Answer, Flow, Give, Lost, Query, Request, Sleep, Steps, opened, sent

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item")

_KEY = "Idempotency-Key"


def path(*segments: str) -> str:
    """Segments as a path below ``/v1``. A slash within one stays a slash, for ids that have them; dots alone are no steps up."""
    return "/v1/" + "/".join(_encoded(part) for part in "/".join(segments).split("/"))


def _encoded(segment: str) -> str:
    return segment.replace(".", "%2E") if segment in {".", ".."} else quote(segment, safe="")


def writing(
    method: str,
    where: str,
    body: JsonValue = None,
    *,
    key: str | None = None,
    query: Query | None = None,
    match: int | None = None,
) -> Request:
    """A request that changes something; under a key of its own unless the caller has one, so that it happens once. ``match``:
    the version that is to be changed, and no other."""
    headers = {_KEY: key or str(uuid4())} | ({} if match is None else {"If-Match": f'"{match}"'})
    return Request(method, where, query=query or {}, body=body, headers=headers)


def answered(request: Request, retries: Retries) -> Steps[Answer]:
    """The good answer. Raises :class:`MemorydProblem`, :class:`Unreachable`, :class:`UnexpectedAnswer`."""
    attempt, waited_s = 1, 0.0
    while True:
        reply = yield from sent(request)
        running = waited_s < retries.running_s and still_running(reply)
        pause = retries.pause(1 if running else attempt, reply)
        if pause is None:
            return good(reply)
        yield Sleep(pause)
        if running:
            # Of a service that asks for no pause there is an end too.
            waited_s += max(pause, 1.0)
        else:
            attempt += 1


def erased(request: Request, retries: Retries) -> Steps[None]:
    """As :func:`answered`, of what is taken away without a key: it is not there any more for who asks again because the answer
    was lost."""
    attempt, lost = 1, False
    while True:
        reply = yield from sent(request)
        pause = retries.pause(attempt, reply)
        if pause is None:
            break
        lost = lost or isinstance(reply, Lost)
        yield Sleep(pause)
        attempt += 1
    if not (lost and isinstance(reply, Answer) and reply.status == HTTPStatus.NOT_FOUND):
        good(reply)


def streamed(request: Request, retries: Retries) -> Steps[Answer]:
    """As :func:`answered`; the body is left to be read."""
    attempt = 1
    while True:
        reply = yield from opened(request)
        pause = retries.pause(attempt, reply)
        if pause is None:
            return good(reply)
        yield Sleep(pause)
        attempt += 1


def good(reply: Answer | Lost) -> Answer:
    """The answer, if it is one and a good one. Raises what it is otherwise."""
    if isinstance(reply, Lost) and reply.part is not None:
        raise PartUnreadable(reply.part, str(reply.cause)) from reply.cause
    if isinstance(reply, Lost):
        words = str(reply.cause) or type(reply.cause).__name__
        raise Unreachable(f"no answer: {words}") from reply.cause
    if reply.status >= HTTPStatus.BAD_REQUEST:
        raise problem(reply.status, reply.content, retry_after(reply.headers))
    if reply.status >= HTTPStatus.MULTIPLE_CHOICES:
        raise UnexpectedAnswer(f"HTTP {reply.status}: the address leads elsewhere; give that one")
    return reply


def parsed(kind: type[Model], content: bytes | str) -> Model:
    """Raises :class:`UnexpectedAnswer`."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise UnexpectedAnswer(f"the answer is not a {kind.__name__}: is the service much newer or older?") from error


def asked(kind: type[Model], request: Request, retries: Retries) -> Steps[Model]:
    """The answer as a model."""
    answer = yield from answered(request, retries)
    return parsed(kind, answer.content)


def paged(
    kind: type[Model],
    where: str,
    query: Query,
    retries: Retries,
    items: Callable[[Model], tuple[list[Item], str | None]],
    pinned: Callable[[Model], Query] = lambda _: {},
) -> Flow[Item]:
    """Every item of every page; ``items`` are those of one page, and the cursor of the next; ``pinned`` is what the first page
    makes of the query."""
    request = Request("GET", where, query={**query, "limit": 200})
    while True:
        page = yield from asked(kind, request, retries)
        found, cursor = items(page)
        for item in found:
            yield Give(item)
        if cursor is None:
            return
        request = replace(request, query={**request.query, **pinned(page), "cursor": cursor})


def present(values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Without what is ``None``."""
    return {name: value for name, value in values.items() if value is not None}
