"""Answers in pieces that are cut off."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from uuid import uuid4

import pytest
from starlette.types import Message, Receive, Scope, Send

from memoryd.http.middleware import Bounds, Envelope
from memoryd.http.streams import event_stream
from memoryd.sessions.events import Places

REQUEST = {"type": "http", "method": "GET", "path": "/", "headers": [], "asgi": {"spec_version": "2.3"}}


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
async def test_a_stream_that_its_listener_does_not_take_gives_its_place_back_at_once(taken: int) -> None:
    """Not when the garbage is collected: in a process that lasts, that may be never."""
    places, tenant, left = Places(1), uuid4(), taken

    async def events() -> AsyncGenerator[str, None]:
        with places.one(tenant):
            while True:
                yield "event"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        opened = events()
        await anext(opened)
        await event_stream(opened, lambda event: f"data: {event}\n\n")(scope, receive, send)

    async def send(message: Message) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            await asyncio.Event().wait()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    gc.disable()
    try:
        async with asyncio.timeout(5):
            await Envelope(app, Bounds(0, 0.1, 0, 0.1))({**REQUEST}, receive, send)
        with places.one(tenant):
            pass
    finally:
        gc.enable()
