"""Answers by asking a server elsewhere, over its ``/mcp``: each question is one request, and may be repeated."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TypeVar
from uuid import uuid4

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    ReadResourceRequestParams,
    ReadResourceResult,
)
from pydantic import JsonValue, TypeAdapter, ValidationError

from memoryd.client.http import DIRECT
from memoryd.client.retries import AGAIN, retry_after
from memoryd.errors import Forbidden, StoreUnavailable, Unauthenticated
from memoryd.mcp.arguments import ONCE, SESSION, WRITES
from memoryd.mcp.installation import Address, Where
from memoryd.mcp.refusals import of_error
from memoryd.mcp.server import Paging
from retrieval.errors import MemorydError

# Without a handshake: the server keeps no session that one could begin.
_VERSION = "2026-07-28"
_ATTEMPTS = 4
_PAUSE_S = 0.5
_PATIENCE_S = 20.0  # from the first failure: a model waits
_TIMEOUT_S = 130.0  # a little more than the server's own

_PROBLEM: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])

Result = TypeVar("Result")


class Remote:
    """:class:`memoryd.mcp.server.Side` of a server that is asked over HTTP."""

    def __init__(self, where: Where) -> None:
        self._where = where
        self._lines: dict[Address, httpx2.AsyncClient] = {}

    async def close(self) -> None:
        """Hang up."""
        for line in self._lines.values():
            await line.aclose()

    async def tools(self, context: ServerRequestContext, page: Paging) -> ListToolsResult:
        """As the server lists them for this key."""
        with _explained():
            return await self._ask(lambda client: client.list_tools())

    async def call(self, context: ServerRequestContext, asked: CallToolRequestParams) -> CallToolResult:
        """The server's result. That it cannot be reached is a result too: the model should know."""
        try:
            # Not by the client's own method: it asks for the list of tools as well, for output schemas that ours do not have.
            request = CallToolRequest(params=_repeatable(asked))
            return await self._ask(lambda client: client.session.send_request(request, CallToolResult))
        except MemorydError as error:
            return of_error(error, asked.name)

    async def resources(self, context: ServerRequestContext, page: Paging) -> ListResourcesResult:
        """As the server lists them."""
        with _explained():
            return await self._ask(lambda client: client.list_resources())

    async def templates(self, context: ServerRequestContext, page: Paging) -> ListResourceTemplatesResult:
        """As the server lists them."""
        with _explained():
            return await self._ask(lambda client: client.list_resource_templates())

    async def read(self, context: ServerRequestContext, asked: ReadResourceRequestParams) -> ReadResourceResult:
        """The server's."""
        with _explained():
            return await self._ask(lambda client: client.read_resource(str(asked.uri)))

    async def prompts(self, context: ServerRequestContext, page: Paging) -> ListPromptsResult:
        """As the server lists them."""
        with _explained():
            return await self._ask(lambda client: client.list_prompts())

    async def prompt(self, context: ServerRequestContext, asked: GetPromptRequestParams) -> GetPromptResult:
        """The server's."""
        with _explained():
            return await self._ask(lambda client: client.get_prompt(asked.name, asked.arguments))

    async def _ask(self, question: Callable[[Client], Awaitable[Result]]) -> Result:
        """Asks again where the server was lost or busy: no tool does anything twice. Raises ours, or its ``MCPError``."""
        lost: Address | None = None
        until = math.inf
        for attempt in range(1, _ATTEMPTS + 1):
            address = await self._where.find(lost)
            pause = _PAUSE_S * 2 ** (attempt - 1)
            try:
                return await self._once(address, question)
            except httpx2.TransportError as error:
                lost = address
                failure = StoreUnavailable(f"memoryd does not answer at {address.url}; is it running?")
                failure.__cause__ = error
            except _Later as error:
                failure = error
                pause = max(pause, error.retry_after_s or 0.0)
            now = asyncio.get_running_loop().time()
            until = min(until, now + _PATIENCE_S)
            if attempt == _ATTEMPTS or now + pause > until:
                break
            await asyncio.sleep(pause)
        raise failure

    async def _once(self, address: Address, question: Callable[[Client], Awaitable[Result]]) -> Result:
        transport = streamable_http_client(f"{address.url}/mcp", http_client=self._line(address))
        try:
            async with Client(transport, mode=_VERSION) as client:
                return await question(client)
        except Exception as error:  # the SDK's task groups wrap what happened in groups of groups
            raise _cause(error) from error

    def _line(self, address: Address) -> httpx2.AsyncClient:
        if address not in self._lines:
            self._lines[address] = httpx2.AsyncClient(
                headers={"Authorization": f"Bearer {address.key}"},
                timeout=_TIMEOUT_S,
                mounts=DIRECT,
                event_hooks={"response": [_checked]},
            )
        return self._lines[address]


def _repeatable(asked: CallToolRequestParams) -> CallToolRequestParams:
    """The same, such that it can be asked again: what ``session`` writes is known by a key alone, once others wrote too.

    Messages may be a repetition of the model's as well, which has no key: an append's is not the model's.
    """
    given, key = asked.arguments, uuid4().hex
    action = given.get("action") if asked.name == SESSION and given is not None else None
    if given is None or given.get("idempotency_key") or action not in WRITES:
        return CallToolRequestParams(name=asked.name, arguments=given)
    if action == "append":
        return CallToolRequestParams(name=asked.name, arguments=given, _meta={ONCE: key})
    return CallToolRequestParams(name=asked.name, arguments=given | {"idempotency_key": key})


class _Later(StoreUnavailable):
    """The server, or a proxy before it, says that the same may work later."""

    def __init__(self, detail: str, code: str, retry_after_s: float | None) -> None:
        super().__init__(detail)
        self.code = code
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


async def _checked(response: httpx2.Response) -> None:
    """Problems become our errors again, and a proxy's pages too: the SDK would keep neither their status nor their words.

    Only what is an answer of the protocol is left to it.
    """
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    later = response.status_code in AGAIN
    if response.is_success or (kind == "application/json" and not later):
        return
    status = response.status_code
    detail, code = f"{response.url.host} answered {status}", ""
    if kind == "application/problem+json":
        await response.aread()
        with suppress(ValidationError):
            problem = _PROBLEM.validate_json(response.content)
            detail, code = str(problem.get("detail", detail)), str(problem.get("code", ""))
    if status == HTTPStatus.UNAUTHORIZED:
        raise Unauthenticated(
            f"{detail}; give `memoryd mcp` a key of that server: MEMORYD_KEY (or MEMORYD_API_KEY), or its profile's"
        )
    if later:
        raise _Later(detail, code or StoreUnavailable.code, retry_after(response.headers))
    refusal = Forbidden(detail if code else f"{detail}, not as memoryd does: is its address right?")
    refusal.code = code or (Forbidden.code if status == HTTPStatus.FORBIDDEN else "internal")
    raise refusal


def _cause(error: Exception) -> Exception:
    """What happened, out of groups of groups; ours before the SDK's."""
    leaves = [error]
    while any(isinstance(one, ExceptionGroup) for one in leaves):
        leaves = [leaf for one in leaves for leaf in (one.exceptions if isinstance(one, ExceptionGroup) else (one,))]
    for kind in (MemorydError, httpx2.TransportError, MCPError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]


@contextmanager
def _explained() -> Iterator[None]:
    """Outside of tools our errors become errors of the protocol."""
    try:
        yield
    except MemorydError as error:
        raise MCPError(INTERNAL_ERROR, f"{error.code}: {error}") from error
