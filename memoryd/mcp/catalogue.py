"""The tools: what an agent reads of them, and which actions of a key each needs."""

from collections.abc import Mapping
from dataclasses import dataclass

from mcp.types import Tool, ToolAnnotations

from memoryd.mcp.arguments import (
    READS,
    SEARCH_KNOWLEDGE,
    SESSION,
    WRITES,
    Arguments,
    ContextArguments,
    ExpandArguments,
    ForgetArguments,
    RecallArguments,
    RememberArguments,
    SearchKnowledgeArguments,
    SessionArguments,
    TimelineArguments,
    schema,
    session_schema,
)
from retrieval.scope import Action, Scope


@dataclass(frozen=True, slots=True)
class Entry:
    """One tool. ``arguments`` validates what it is called with; ``forms`` is what keys are offered, by which of its actions
    they have."""

    forms: Mapping[frozenset[Action], Tool]
    arguments: type[Arguments]

    @property
    def actions(self) -> frozenset[Action]:
        """All that it can need; any of them opens it."""
        return frozenset[Action]().union(*self.forms)

    @property
    def tool(self) -> Tool:
        """For a key with all of them."""
        return self.forms[self.actions]

    def offered(self, scope: Scope) -> Tool | None:
        """What the caller's key may use of it."""
        return self.forms.get(frozenset(action for action in self.actions if scope.may(action)))


def _annotations(action: Action, *, repeatable: bool = True) -> ToolAnnotations:
    # What goes without saying (of a tool that only reads, that it destroys nothing) is not said: every agent pays for it.
    reads = action is Action.READ
    return ToolAnnotations(
        read_only_hint=True if reads else None,
        destructive_hint=None if reads else action is Action.DELETE,
        idempotent_hint=True if repeatable and not reads else None,
        open_world_hint=False,
    )


def _entry(name: str, action: Action, arguments: type[Arguments], description: str) -> Entry:
    tool = Tool(name=name, description=description, input_schema=schema(arguments), annotations=_annotations(action))
    return Entry({frozenset({action}): tool}, arguments)


def _session() -> Entry:
    """Offered with the actions that a key has. What it takes back is set aside, and a restore has its undo; but without a key
    each checkpoint is another one, so that a client is not told that it may repeat any call."""
    reading = "Working memory of a task: read it within budget_tokens."
    writing = "append messages (again at once: appended once), checkpoint"
    kinds = {
        frozenset({Action.READ}): (READS, reading),
        # A restore takes both: what does it is answered with the checkpoint, its label and metadata.
        frozenset({Action.WRITE}): ([one for one in WRITES if one != "restore"], f"Working memory of a task: {writing}."),
        frozenset({Action.READ, Action.WRITE}): (READS + WRITES, f"{reading[:-1]}, {writing}, restore."),
    }
    forms = {
        held: Tool(
            name=SESSION,
            description=description,
            input_schema=session_schema(actions),
            annotations=_annotations(Action.WRITE if Action.WRITE in held else Action.READ, repeatable=False),
        )
        for held, (actions, description) in kinds.items()
    }
    return Entry(forms, SessionArguments)


# A repeated call of any but the last finds what the first one did: they never add up.
_ENTRIES = (
    _entry("recall", Action.READ, RecallArguments, "Search long-term memory; hits best first, with ids."),
    _entry("context", Action.READ, ContextArguments, "Memories on a question, packed into budget_tokens for a prompt."),
    _entry(SEARCH_KNOWLEDGE, Action.READ, SearchKnowledgeArguments, "Search a knowledge base."),
    _entry(
        "remember",
        Action.WRITE,
        RememberArguments,
        "Store one self-contained memory. Repeating a call stores nothing twice. To correct one, name it in supersedes.",
    ),
    _entry(
        "forget", Action.DELETE, ForgetArguments, "Take a memory out of recall; a revert over REST brings it back unless purged."
    ),
    _entry("expand", Action.READ, ExpandArguments, "More of a shortened result, or all of it; long texts in parts."),
    _entry("timeline", Action.READ, TimelineArguments, "Memories by time, without a question; next_cursor goes on."),
    _session(),
)

ENTRIES = {entry.tool.name: entry for entry in _ENTRIES}


def tools(scope: Scope) -> list[Tool]:
    """Those that the caller's key may use."""
    return [tool for entry in ENTRIES.values() if (tool := entry.offered(scope)) is not None]
