"""One inference server: its connections, its breaker, and its answers as our errors."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx

from retrieval.errors import BatchTooLarge, InferenceError, InferenceOverloaded, InferenceUnavailable, ModelMismatch
from retrieval.filters import JsonValue
from retrieval.inference.remote.breaker import Breaker
from retrieval.inference.wire import DEADLINE

log = logging.getLogger(__name__)

_CONNECT_S: Final = 2.0
_CONNECTIONS: Final = 32
_LONGEST_ANSWER: Final = 256 * 2**20
"""A server of the wrong kind may answer anything."""
_DEFAULT_REST_S: Final = 1.0
_UNWELL: Final = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.FAILED_DEPENDENCY,
    HTTPStatus.TOO_EARLY,
)
"""Beside 5xx: not the request is to blame, and another server may answer. A token that is not taken is the installation's fault;
424 is what text-embeddings-inference says when its backend failed, the others are a proxy's."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request: ``body`` is sent as JSON; without one it is a GET.

    ``expected_s``: a server that has not answered after so long, when the caller gives up, counts as one that failed.
    """

    path: str
    body: Mapping[str, JsonValue] | None = None
    headers: Mapping[str, str] | None = None
    expected_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, with status 200."""

    headers: httpx.Headers
    body: bytes

    def json(self) -> JsonValue:
        """Raises ``ValueError``."""
        value: JsonValue = httpx.Response(200, content=self.body).json()
        return value


class Endpoint:
    """``url`` is the base, such as ``http://gpu-1:7078`` or ``https://api.example.com/v1``. ``token`` is sent to it alone."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        breaker: Breaker | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        # Without what a URL may carry of a credential: it is named in errors and in the log.
        self.name = urlsplit(url)._replace(query="", fragment="").geturl().rpartition("@")[2]
        self.breaker = breaker or Breaker()
        self.verified_at: float | None = None
        """When, of ``time.monotonic``, its model was last found to be the right one; ``None``: not since it last failed."""
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            transport=transport,
        )

    async def ask(self, call: Call, *, timeout_s: float) -> Answer:
        """The answer, within ``timeout_s`` in all.

        Raises:
            InferenceUnavailable: no answer, or one that says that it cannot be had; the breaker counts it.
            InferenceOverloaded: 429, with the server's ``Retry-After``.
            BatchTooLarge: 413.
            ModelMismatch: 404: it has no such model, or is another kind of server.
            InferenceError: any other refusal. Sent again, or to another server, it would be refused again.
        """
        answer: Answer | None = None
        started = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._sent(call, timeout_s)
        except (httpx.HTTPError, TimeoutError) as error:
            self._failed(0.0)
            raise InferenceUnavailable(f"{self.name} does not answer ({type(error).__name__}).") from error
        except _Unwell as error:
            self._failed(error.rest_s)
            raise InferenceUnavailable(f"{self.name} answered {error.status}.") from error
        except InferenceError:
            self.breaker.succeeded()
            raise
        except asyncio.CancelledError:
            # Callers that give up before the timeout does would keep asking a server that hangs.
            if time.monotonic() - started >= call.expected_s:
                self._failed(0.0)
            raise
        else:
            self.breaker.succeeded()
            return answer
        finally:
            if answer is None:
                self.breaker.abandoned()

    def refuse(self) -> None:
        """Leave it alone for a while: it answers, and not as it should."""
        self.verified_at = None
        self.breaker.trip()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _failed(self, rest_s: float) -> None:
        self.verified_at = None
        self.breaker.failed(rest_s=rest_s)

    async def _sent(self, call: Call, timeout_s: float) -> Answer:
        request = self._client.build_request(
            "GET" if call.body is None else "POST",
            call.path,
            json=call.body,
            headers={DEADLINE: str(max(1, int(1000 * timeout_s))), **(call.headers or {})},
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
        )
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code != HTTPStatus.OK:
                raise self._refusal(response)
            parts, size = [], 0
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > _LONGEST_ANSWER:
                    raise InferenceError(f"{self.name} answered more than {_LONGEST_ANSWER} bytes.")
            return Answer(response.headers, b"".join(parts))
        finally:
            await response.aclose()

    def _refusal(self, response: httpx.Response) -> Exception:
        """What a status means. The body is not told: it may quote the request."""
        status = response.status_code
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return InferenceOverloaded(f"{self.name} has too much to do.", retry_after_s=_rest_s(response) or _DEFAULT_REST_S)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _UNWELL:
            return _Unwell(status, _rest_s(response))
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return BatchTooLarge(f"{self.name} does not take so much at once: split the batch")
        if status == HTTPStatus.NOT_FOUND:
            return ModelMismatch(f"{self.name} has no such model, or no such route (404).")
        return InferenceError(f"{self.name} refused the request ({status}).")


class _Unwell(Exception):
    """A 5xx, or what is as good as one (:data:`_UNWELL`)."""

    def __init__(self, status: int, rest_s: float) -> None:
        super().__init__(status)
        self.status = status
        self.rest_s = rest_s


def _rest_s(response: httpx.Response) -> float:
    """``Retry-After`` in seconds; 0.0 without one, or with a date."""
    given = response.headers.get("retry-after", "")
    return float(given) if given.isascii() and given.isdigit() and len(given) < 7 else 0.0
