"""The reference of the MCP tools, from the catalogue that agents are offered."""

from collections.abc import Iterator

from schemas import table

from memoryd.mcp.catalogue import ENTRIES, Entry

_HEAD = """# MCP tools

What `tools/list` tells an agent whose key has every action. [MCP](mcp.md) says how to connect, and what results look like.
"""


def page() -> str:
    """All tools."""
    return "\n".join([_HEAD, *("\n".join(_tool(entry)) for entry in ENTRIES.values())])


def _tool(entry: Entry) -> Iterator[str]:
    hints = entry.tool.annotations
    said = {
        "only reads": hints is not None and hints.read_only_hint,
        "destructive": hints is not None and hints.destructive_hint,
        "safe to repeat": hints is not None and (hints.read_only_hint or hints.idempotent_hint),
    }
    yield f"## `{entry.tool.name}`\n"
    yield f"{entry.tool.description}\n"
    needed = " or ".join(f"`{action.value}`" for action in sorted(entry.actions))
    yield f"Needs the action {needed}; {', '.join(word for word, true in said.items() if true)}.\n"
    yield table(entry.tool.input_schema)
