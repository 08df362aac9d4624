"""The tools: what an agent reads of them, and which action of a key each needs."""

from dataclasses import dataclass

from mcp.types import Tool, ToolAnnotations

from memoryd.mcp.arguments import (
    Arguments,
    ContextArguments,
    ExpandArguments,
    ForgetArguments,
    RecallArguments,
    RememberArguments,
    SearchKnowledgeArguments,
    TimelineArguments,
    schema,
)
from retrieval.scope import Action, Scope


@dataclass(frozen=True, slots=True)
class Entry:
    """One tool. ``arguments`` validates what it is called with."""

    tool: Tool
    action: Action
    arguments: type[Arguments]


def _entry(name: str, action: Action, arguments: type[Arguments], description: str) -> Entry:
    # A repeated call finds what the first one did: no tool here adds up. What goes without saying (of one that only reads, that
    # it destroys nothing) is not said: every agent pays for it.
    reads = action is Action.READ
    annotations = ToolAnnotations(
        read_only_hint=True if reads else None,
        destructive_hint=None if reads else action is Action.DELETE,
        idempotent_hint=None if reads else True,
        open_world_hint=False,
    )
    tool = Tool(name=name, description=description, input_schema=schema(arguments), annotations=annotations)
    return Entry(tool, action, arguments)


_ENTRIES = (
    _entry("recall", Action.READ, RecallArguments, "Search long-term memory; hits best first, with ids."),
    _entry("context", Action.READ, ContextArguments, "Memories on a question, packed into budget_tokens for a prompt."),
    _entry("search_knowledge", Action.READ, SearchKnowledgeArguments, "Search a knowledge base."),
    _entry(
        "remember",
        Action.WRITE,
        RememberArguments,
        "Store one self-contained memory. Repeating a call stores nothing twice. To correct one, name it in supersedes.",
    ),
    _entry(
        "forget", Action.DELETE, ForgetArguments, "Take a memory out of recall; a revert over REST brings it back unless purged."
    ),
    _entry("expand", Action.READ, ExpandArguments, "The full text of a shortened result."),
    _entry("timeline", Action.READ, TimelineArguments, "Memories by time, without a question; next_cursor goes on."),
)

ENTRIES = {entry.tool.name: entry for entry in _ENTRIES}


def tools(scope: Scope) -> list[Tool]:
    """Those that the caller's key may use."""
    return [entry.tool for entry in ENTRIES.values() if scope.may(entry.action)]
