"""The SDK's server over anything that can answer: one process's services, or a server elsewhere."""

from typing import Protocol

from mcp.server import Server, ServerRequestContext
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
)

from memoryd import __version__
from memoryd.mcp.catalogue import ENTRIES
from memoryd.mcp.library import INSTRUCTIONS

Paging = PaginatedRequestParams | None


class Side(Protocol):
    """Who answers. Every list is one page."""

    async def tools(self, context: ServerRequestContext, page: Paging) -> ListToolsResult: ...
    async def call(self, context: ServerRequestContext, asked: CallToolRequestParams) -> CallToolResult: ...
    async def resources(self, context: ServerRequestContext, page: Paging) -> ListResourcesResult: ...
    async def templates(self, context: ServerRequestContext, page: Paging) -> ListResourceTemplatesResult: ...
    async def read(self, context: ServerRequestContext, asked: ReadResourceRequestParams) -> ReadResourceResult: ...
    async def prompts(self, context: ServerRequestContext, page: Paging) -> ListPromptsResult: ...
    async def prompt(self, context: ServerRequestContext, asked: GetPromptRequestParams) -> GetPromptResult: ...


def create_server(side: Side) -> Server:
    """A server without state of its own."""
    return Server(
        "memoryd",
        version=__version__,
        title="memoryd",
        instructions=INSTRUCTIONS,
        # Without it the SDK lists all tools before each call, to look one schema up.
        get_tool_input_schema=lambda name: ENTRIES[name].tool.input_schema if name in ENTRIES else None,
        on_list_tools=side.tools,
        on_call_tool=side.call,
        on_list_resources=side.resources,
        on_list_resource_templates=side.templates,
        on_read_resource=side.read,
        on_list_prompts=side.prompts,
        on_get_prompt=side.prompt,
    )
