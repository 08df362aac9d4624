"""A stream of server-sent events that is taken up again where it broke off."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from memoryd.client.core import good, streamed
from memoryd.client.errors import NotFound, UnexpectedAnswer
from memoryd.client.retries import Retries
from memoryd.client.sse import Event, Events
from memoryd.client.steps import Flow, Give, Lost, Request, Sleep, read

Item = TypeVar("Item")

# The service sends a heartbeat after at most a quarter of that.
_SILENCE_S = 60.0
_EVENTS = "text/event-stream"


def listening(where: str) -> Request:
    """A request for a stream."""
    return Request("GET", where, headers={"Accept": _EVENTS}, answer_s=_SILENCE_S)


def followed(
    request: Request,
    after: str | None,
    retries: Retries,
    make: Callable[[Event], Item | None],
    last: Callable[[Item], bool],
    *,
    gone: Item | None = None,
) -> Flow[Item]:
    """What ``make`` makes of the events behind the id ``after``, up to one that is the ``last``; ``None`` is passed over.

    ``gone``: what ends it where there is nothing to take up any more, because it went between two connections.
    Raises as any request does when the stream cannot be taken up, and ``UnexpectedAnswer`` for what is no stream of events.
    """
    events, failures, begun = Events(after), 0, False
    while True:
        resumed = {} if events.last_id is None else {"Last-Event-ID": events.last_id}
        try:
            answer = yield from streamed(replace(request, headers={**request.headers, **resumed}), retries)
        except NotFound:
            if not begun or gone is None:
                raise
            yield Give(gone)
            return
        begun = True
        if not answer.headers.get("content-type", "").startswith(_EVENTS):
            # Else a page that ends well would be asked for again and again.
            raise UnexpectedAnswer("no stream of events: is this memoryd's address?")
        # What was cut off in the middle of an event is sent again.
        events = Events(events.last_id, events.retry_s)
        while True:
            piece = yield from read()
            if not isinstance(piece, bytes):
                break
            for event in events.feed(piece):
                failures = 0
                item = make(event)
                if item is None:
                    continue
                yield Give(item)
                if last(item):
                    return
            if events.beaten:
                failures = 0
        if isinstance(piece, Lost):
            # One that opens and breaks at once, again and again, is not worth waiting for.
            failures += 1
            if retries.pause(failures, piece) is None:
                good(piece)
        yield Sleep(events.retry_s)
