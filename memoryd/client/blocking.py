"""Performs the steps of operations as ordinary calls."""

import time
from collections.abc import Generator
from contextlib import closing
from types import TracebackType
from typing import Self, TypeVar

import httpx

from memoryd.client.form import Form, Unread
from memoryd.client.http import DIRECT, Settings, answer, head, keywords
from memoryd.client.steps import Answer, Do, Flow, Give, Lost, Open, Read, Request, Send, Sleep, Step, Steps

T = TypeVar("T")
Item = TypeVar("Item")


class Blocking:
    """One pool of connections; safe to share between threads."""

    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None) -> None:
        self.settings = settings
        self._http = httpx.Client(
            base_url=settings.url,
            headers=settings.headers,
            verify=settings.verify,
            transport=transport,
            mounts=DIRECT,
            trust_env=settings.trust_env,
            timeout=settings.timeout,
        )

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def run(self, steps: Steps[T]) -> T:
        """What an operation returns."""
        with closing(steps), _Performer(self._http) as performer:
            reply: object = None
            while True:
                try:
                    step = steps.send(reply)
                except StopIteration as end:
                    found: T = end.value
                    return found
                reply = performer.perform(step)

    def iterate(self, flow: Flow[Item]) -> Generator[Item, None, None]:
        """The items of a flow, each when it is asked for."""
        with closing(flow), _Performer(self._http) as performer:
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
                    reply = performer.perform(step)


class _Performer:
    """Performs steps; what they opened is closed at the end."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._stream: httpx.Response | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def perform(self, step: Step) -> object:
        match step:
            case Send(request):
                return self._sent(request)
            case Open(request):
                return self._opened(request)
            case Read():
                return self._read()
            case Sleep(seconds):
                time.sleep(seconds)
                return None
            case Do(work):
                return work()

    def _sent(self, request: Request) -> Answer | Lost:
        try:
            return answer(self._http.send(self._built(request)))
        except (httpx.TransportError, httpx.DecodingError) as error:
            return Lost(error)
        except Unread as error:
            return Lost(error.cause, error.part)

    def _opened(self, request: Request) -> Answer | Lost:
        self._end()
        try:
            response = self._http.send(self._built(request), stream=True)
            if response.is_success:
                self._stream, self._pieces = response, response.iter_bytes()
                return head(response)
            try:
                response.read()
            finally:
                response.close()
            return answer(response)
        except (httpx.TransportError, httpx.DecodingError) as error:
            return Lost(error)

    def _end(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _read(self) -> bytes | Lost | None:
        try:
            return next(self._pieces, None)
        except (httpx.TransportError, httpx.DecodingError) as error:
            return Lost(error)

    def _built(self, request: Request) -> httpx.Request:
        if not request.parts:
            return self._http.build_request(**keywords(request))
        form = Form(request.parts)
        return self._http.build_request(**keywords(request, form, form.pieces()))
