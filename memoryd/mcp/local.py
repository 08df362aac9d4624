"""Answers by the services of this process, as the caller whom the HTTP middleware authenticated."""

import logging
import traceback

from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
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
    TextContent,
)
from pydantic import ValidationError

from memoryd.access.service import require
from memoryd.mcp import library
from memoryd.mcp.arguments import ONCE
from memoryd.mcp.calls import call
from memoryd.mcp.catalogue import ENTRIES, tools
from memoryd.mcp.refusals import of_arguments, of_error, refused
from memoryd.mcp.server import Paging
from memoryd.services import Services
from retrieval.errors import MemorydError
from retrieval.scope import Scope

_KEY_CHARS = 64

log = logging.getLogger(__name__)


class Local:
    """:class:`memoryd.mcp.server.Side` of the API process."""

    def __init__(self, use: Services) -> None:
        self._use = use

    async def tools(self, context: ServerRequestContext, page: Paging) -> ListToolsResult:
        """Those that the key may use."""
        return ListToolsResult(tools=tools(_scope(context)))

    async def call(self, context: ServerRequestContext, asked: CallToolRequestParams) -> CallToolResult:
        """The result, or an error that the model can read and act on."""
        scope = _scope(context)
        entry = ENTRIES.get(asked.name)
        if entry is None:
            raise MCPError(INVALID_PARAMS, f"no such tool; there are {', '.join(ENTRIES)}")
        try:
            if entry.offered(scope) is None:
                require(scope, min(entry.actions))
            answer = await call(scope, self._use, entry.arguments.model_validate(asked.arguments or {}), _once(asked))
        except ValidationError as error:
            return of_arguments(error)
        except MemorydError as error:
            return of_error(error, asked.name)
        except Exception as error:  # noqa: BLE001 - the outermost handler of a tool
            _note(scope, error)
            return refused("internal", f"an unexpected error; it was logged under the request id {scope.request_id}")
        return CallToolResult(content=[TextContent(type="text", text=answer.text)], structured_content=answer.structured)

    async def resources(self, context: ServerRequestContext, page: Paging) -> ListResourcesResult:
        """The list of spaces, and their profiles."""
        with _Explained():
            return ListResourcesResult(resources=await library.resources(_scope(context), self._use))

    async def templates(self, context: ServerRequestContext, page: Paging) -> ListResourceTemplatesResult:
        """The profile of any space."""
        return ListResourceTemplatesResult(resource_templates=library.templates())

    async def read(self, context: ServerRequestContext, asked: ReadResourceRequestParams) -> ReadResourceResult:
        """One resource, as JSON."""
        with _Explained():
            return ReadResourceResult(contents=[await library.read(_scope(context), self._use, str(asked.uri))])

    async def prompts(self, context: ServerRequestContext, page: Paging) -> ListPromptsResult:
        """The one prompt."""
        return ListPromptsResult(prompts=library.prompts())

    async def prompt(self, context: ServerRequestContext, asked: GetPromptRequestParams) -> GetPromptResult:
        """Its text."""
        with _Explained():
            return library.prompt(asked.name, asked.arguments)


class _Explained:
    """Outside of tools our errors become errors of the protocol."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MemorydError):
            raise MCPError(INVALID_PARAMS, f"{error.code}: {error}") from error


def _scope(context: ServerRequestContext) -> Scope:
    """Put there by the HTTP middleware, before the body was read."""
    if context.request is None:
        raise AssertionError("a request without HTTP has no caller")
    scope: Scope = context.request.state.scope
    return scope


def _once(asked: CallToolRequestParams) -> str | None:
    """The key of what carries the call, where it has one: anything else that stands there is not ours."""
    key = (asked.meta or {}).get(ONCE)
    return key if isinstance(key, str) and 0 < len(key) <= _KEY_CHARS else None


def _note(scope: Scope, error: Exception) -> None:
    trace = "".join(traceback.format_tb(error.__traceback__))
    log.error("request %s failed unexpectedly: %s\n%s", scope.request_id, type(error).__name__, trace)
