"""Answers in pieces, and among them server-sent events."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import aclosing
from typing import TypeVar

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

Event = TypeVar("Event")

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Streamed(StreamingResponse):
    """``pieces`` of ``source``, which is closed when the answer ends, however that comes.

    The framework leaves it to the garbage collector. Of an answer that is cut off while a slow caller takes it, or before it
    began, that can take for ever, and so long it would keep what it holds: a place among the streams, a connection.
    """

    def __init__(
        self,
        pieces: AsyncIterable[str | bytes],
        source: AsyncGenerator[object, None],
        *,
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(pieces, media_type=media_type, headers=headers)
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._source):
            await super().__call__(scope, receive, send)


def event_stream(events: AsyncGenerator[Event, None], written: Callable[[Event], str]) -> Streamed:
    """Server-sent events."""
    return Streamed(_sent(events, written), events, media_type="text/event-stream", headers=_HEADERS)


async def _sent(events: AsyncGenerator[Event, None], written: Callable[[Event], str]) -> AsyncGenerator[str, None]:
    yield "retry: 1000\n\n"
    async for event in events:
        yield written(event)
