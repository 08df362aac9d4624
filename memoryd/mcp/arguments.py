"""What each tool takes: models that validate, and the short JSON schemas that agents are shown of them."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self, cast
from uuid import UUID

from pydantic import BeforeValidator, Field, JsonValue, StrictBool, WithJsonSchema, model_validator

from memoryd.access.model import DEFAULT_SPACE
from memoryd.http.closed import Closed
from memoryd.http.fields import IdempotencyKey, Identifier, Name, Query, Reason, Text, Time, Topic, Whole
from memoryd.http.schemas.knowledge_search import KbReference
from memoryd.http.schemas.sessions import MAX_APPEND, Key, SessionMessageIn, Short, Step
from memoryd.mcp.names import MemoryName, parse
from memoryd.memory.model import Kind

DEFAULT_BUDGET = 1_000
MIN_BUDGET = 256
MAX_BUDGET = 20_000

Budget = Annotated[Whole, Field(ge=MIN_BUDGET, le=MAX_BUDGET)]
Handle = Annotated[str, Field(min_length=1, max_length=1_000)]
Spaces = Annotated[list[Name], Field(min_length=1, max_length=100)]
# `remember` names the kinds; three more times would cost every agent 60 tokens.
Kinds = Annotated[list[Kind], Field(max_length=4), WithJsonSchema({"type": "array", "items": {"type": "string"}})]


def _id(value: object) -> object:
    # pydantic also takes bytes and braces for a UUID. An id that we gave out may name a revision or a place: the memory counts.
    if isinstance(value, UUID):
        return value
    if isinstance(value, str) and isinstance(name := parse(value), MemoryName):
        return name.memory_id
    raise ValueError("must be an id from an earlier result")


MemoryId = Annotated[UUID, BeforeValidator(_id)]


class Arguments(Closed):
    """A tool's arguments."""


class _Whose(Arguments):
    """Which memories."""

    spaces: Spaces | None = None
    kinds: Kinds | None = None
    user_id: Identifier | None = None
    agent_id: Identifier | None = None
    session_id: Identifier | None = None
    after: Time | None = None
    before: Time | None = None


class _Question(_Whose):
    """A question, and the time it is about."""

    query: Query
    as_of: Time | None = None
    known_at: Time | None = None
    budget_tokens: Budget = DEFAULT_BUDGET


class RecallArguments(_Question):
    """``recall``, which says for both what the times mean."""

    as_of: Time | None = Field(None, description="what was true then")
    known_at: Time | None = Field(None, description="what was known then")
    limit: Annotated[Whole, Field(ge=1, le=50)] = 10


class ContextArguments(_Question):
    """``context``"""


class SearchKnowledgeArguments(Arguments):
    """``search_knowledge``"""

    kb: KbReference = Field(description="name[@version]")
    query: Query
    budget_tokens: Budget = DEFAULT_BUDGET


class RememberArguments(Arguments):
    """``remember``"""

    text: Text
    kind: Kind = Kind.SEMANTIC
    space: Name = DEFAULT_SPACE
    user_id: Identifier | None = None
    agent_id: Identifier | None = None
    session_id: Identifier | None = None
    event_time: Time | None = None
    topics: list[Topic] = Field(default_factory=list, max_length=32)
    supersedes: MemoryId | None = Field(None, description="id of the memory this replaces")
    idempotency_key: IdempotencyKey | None = None


class ForgetArguments(Arguments):
    """``forget``"""

    id: MemoryId
    purge: StrictBool = Field(False, description="erase for good")
    reason: Reason | None = None


class ExpandArguments(Arguments):
    """``expand``"""

    handle: Handle = Field(description="id from a result")
    around: StrictBool = Field(False, description="with the turns around it")
    budget_tokens: Budget = DEFAULT_BUDGET


class TimelineArguments(_Whose):
    """``timeline``"""

    order: Literal["newest", "oldest"] = "newest"
    limit: Annotated[Whole, Field(ge=1, le=100)] = 20
    cursor: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    budget_tokens: Budget = DEFAULT_BUDGET


_MESSAGE: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "role": {"type": "string", "enum": ["user", "assistant", "system", "tool"]},
        "content": {"type": "string"},
        "name": {"type": "string"},
        "tool_calls": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"id": {"type": "string"}, "name": {"type": "string"}, "arguments": {}},
                "required": ["id", "name"],
            },
        },
        "tool_call_id": {"type": "string"},
        "id": {"type": "string", "description": "yours; the same is appended once"},
        "pinned": {"type": "boolean"},
    },
    "required": ["role"],
}
# What agents are told of is what they need; REST's other fields of a message are taken too.
Messages = Annotated[
    list[SessionMessageIn],
    Field(min_length=1, max_length=MAX_APPEND),
    WithJsonSchema({"type": "array", "items": _MESSAGE}),
]
_ALWAYS = frozenset({"action", "session_id"})
SESSION = "session"
SEARCH_KNOWLEDGE = "search_knowledge"
"""Names of tools."""
ONCE = "memoryd/once"
"""Of a call's ``_meta``: what carries it may repeat it by itself, under this key. A key of the model's is an argument."""
READS, WRITES = ("read",), ("append", "checkpoint", "restore")
"""The actions of ``session``, by what they do; ``restore`` answers with what was there, and needs both rights."""
_TAKES: Mapping[str, frozenset[str]] = {
    "append": frozenset({"messages", "space", "user_id", "agent_id", "idempotency_key"}),
    "read": frozenset({"budget_tokens"}),
    "checkpoint": frozenset({"label", "step", "idempotency_key"}),
    "restore": frozenset({"checkpoint_id", "idempotency_key"}),
}
_NEEDS = {"append": "messages", "restore": "checkpoint_id"}


class SessionArguments(Arguments):
    """``session``: one tool with four actions, as every tool costs each agent tokens."""

    action: Literal["append", "read", "checkpoint", "restore"]
    session_id: Key = Field(description="your name for it; append begins it")
    messages: Messages | None = None
    space: Name | None = None
    user_id: Short | None = None
    agent_id: Short | None = None
    label: Short | None = None
    step: Step | None = None
    checkpoint_id: MemoryId | None = None
    budget_tokens: Budget = DEFAULT_BUDGET
    idempotency_key: IdempotencyKey | None = None

    @model_validator(mode="after")
    def _of_its_action(self) -> Self:
        """Nothing that was meant is passed over; a budget for what is not read is no harm."""
        given = {name for name in self.model_fields_set - _ALWAYS if getattr(self, name) is not None}
        if stray := sorted(given - _TAKES[self.action] - {"budget_tokens"}):
            raise ValueError(f"{self.action} takes no {', '.join(stray)}")
        if (needed := _NEEDS.get(self.action)) and needed not in given:
            raise ValueError(f"{self.action} needs {needed}")
        return self


def fingerprint(name: str, arguments: Arguments) -> bytes:
    """What a repetition under the same key must have in common with the first call."""
    text = arguments.model_dump_json(exclude={"idempotency_key", "reason"})
    return hashlib.sha256(f"mcp {name} {text}".encode()).digest()


# What costs an agent tokens and tells it nothing: limits that it will not meet, or that the error explains.
_UNSAID = frozenset({"title", "minLength", "maxLength", "pattern", "maxItems", "minItems", "additionalProperties", "ge", "le"})
_OBVIOUS = (("format", "uuid"),)


def schema(model: type[Arguments]) -> dict[str, JsonValue]:
    """The short JSON schema of a tool's arguments: true of all that it accepts, silent on what goes without saying."""
    full = cast("dict[str, JsonValue]", model.model_json_schema())
    definitions = full.pop("$defs", {})
    full.pop("description", None)
    return cast("dict[str, JsonValue]", _short(full, cast("Mapping[str, JsonValue]", definitions)))


def session_schema(actions: Iterable[str]) -> dict[str, JsonValue]:
    """That of ``session``, for a key that may do only these of its actions."""
    allowed = list(actions)
    whole = schema(SessionArguments)
    taken = _ALWAYS.union(*(_TAKES[action] for action in allowed))
    properties = cast("dict[str, JsonValue]", whole["properties"])
    shown = {name: one for name, one in properties.items() if name in taken}
    return whole | {"properties": shown | {"action": {"type": "string", "enum": list[JsonValue](allowed)}}}


def _short(node: JsonValue, definitions: Mapping[str, JsonValue]) -> JsonValue:
    if isinstance(node, list):
        return [_short(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    if isinstance(reference := node.get("$ref"), str):
        rest = {key: value for key, value in node.items() if key != "$ref"}
        target = cast("dict[str, JsonValue]", definitions[reference.rpartition("/")[2]])
        node = {key: value for key, value in target.items() if key != "description"} | rest
    if isinstance(choices := node.get("anyOf"), list):
        (real,) = [one for one in choices if one != {"type": "null"}]
        node = cast("dict[str, JsonValue]", real) | {key: value for key, value in node.items() if key not in {"anyOf", "default"}}
        return _short(node, definitions)
    if isinstance(properties := node.get("properties"), dict):
        short: dict[str, JsonValue] = {"type": "object"}
        short["properties"] = {name: _short(one, definitions) for name, one in properties.items()}
        return short | {"required": node["required"]} if "required" in node else short
    return {
        key: _short(value, definitions)
        for key, value in node.items()
        if not (key in _UNSAID or (key, value) in _OBVIOUS or (key == "default" and value in (False, [], None)))
    }
