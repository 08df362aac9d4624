"""Performs the steps of operations in an event loop; files are read and written in threads."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import closing
from types import TracebackType
from typing import Self, TypeVar

import httpx

from memoryd.client.form import Form, Unread
from memoryd.client.http import DIRECT, Settings, answer, head, keywords
from memoryd.client.steps import Answer, Do, Flow, Give, Lost, Open, Read, Request, Send, Sleep, Step, Steps

T = TypeVar("T")
Item = TypeVar("Item")


class Awaiting:
    """One pool of connections, for one event loop."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None) -> None:
        self.settings = settings
        self._http = httpx.AsyncClient(
            base_url=settings.url,
            headers=settings.headers,
            verify=settings.verify,
            transport=transport,
            mounts=DIRECT,
            trust_env=settings.trust_env,
            timeout=settings.timeout,
        )

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def run(self, steps: Steps[T]) -> T:
        """What an operation returns."""
        with closing(steps):
            async with _Performer(self._http) as performer:
                reply: object = None
                while True:
                    try:
                        step = steps.send(reply)
                    except StopIteration as end:
                        found: T = end.value
                        return found
                    reply = await performer.perform(step)

    async def iterate(self, flow: Flow[Item]) -> AsyncGenerator[Item, None]:
        """The items of a flow, each when it is asked for. Close it (``contextlib.aclosing``) where it is not read to its end."""
        with closing(flow):
            async with _Performer(self._http) as performer:
                reply: object = None
                while True:
                    try:
                        step = flow.send(reply)
                    except StopIteration:
                        return
                    if isinstance(step, Give):
                        yield step.item
                        reply = None
                    else:
                        reply = await performer.perform(step)


class _Performer:
    """Performs steps; what they opened is closed at the end."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._stream: httpx.Response | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._end()

    async def perform(self, step: Step) -> object:
        match step:
            case Send(request):
                return await self._sent(request)
            case Open(request):
                return await self._opened(request)
            case Read():
                return await self._read()
            case Sleep(seconds):
                await asyncio.sleep(seconds)
                return None
            case Do(work):
                return await asyncio.to_thread(work)

    async def _sent(self, request: Request) -> Answer | Lost:
        try:
            return answer(await self._http.send(self._built(request)))
        except (httpx.TransportError, httpx.DecodingError) as error:
            return Lost(error)
        except Unread as error:
            return Lost(error.cause, error.part)

    async def _opened(self, request: Request) -> Answer | Lost:
        await self._end()
        try:
            response = await self._http.send(self._built(request), stream=True)
            if response.is_success:
                self._stream, self._pieces = response, response.aiter_bytes()
                return head(response)
            try:
                await response.aread()
            finally:
                await response.aclose()
            return answer(response)
        except (httpx.TransportError, httpx.DecodingError) as error:
            return Lost(error)

    async def _end(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()
            self._stream = None

    async def _read(self) -> bytes | Lost | None:
        try:
            return await anext(self._pieces, None)
        except (httpx.TransportError, httpx.DecodingError) as error:
            return Lost(error)

    def _built(self, request: Request) -> httpx.Request:
        if not request.parts:
            return self._http.build_request(**keywords(request))
        form = Form(request.parts)
        return self._http.build_request(**keywords(request, form, _in_threads(form)))


async def _in_threads(form: Form) -> AsyncIterator[bytes]:
    pieces = form.pieces()
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
