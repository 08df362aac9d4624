"""A stand-in for the API child: a real uvicorn on the inherited socket."""

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping

import uvicorn

from memoryd.embedded.readiness import inherited_listener, signal_ready

Message = MutableMapping[str, object]


async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
    """Answers every request with this process's id."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.startup":
                signal_ready()
            else:
                return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


if __name__ == "__main__":
    listener = inherited_listener()
    assert listener is not None
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
