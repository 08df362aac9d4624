"""What each tool takes: models that validate, and the short JSON schemas that agents are shown of them."""

from collections.abc import Mapping
from typing import Annotated, Literal, cast
from uuid import UUID

from pydantic import BeforeValidator, Field, JsonValue, StrictBool, WithJsonSchema

from memoryd.access.model import DEFAULT_SPACE
from memoryd.http.closed import Closed
from memoryd.http.fields import IdempotencyKey, Identifier, Name, Query, Reason, Text, Time, Topic, Whole
from memoryd.http.schemas.knowledge_search import KbReference
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
    # pydantic also takes bytes and braces for a UUID; an id that we gave out has one form.
    if isinstance(value, UUID) or (isinstance(value, str) and len(value) == 36):
        return value
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


# What costs an agent tokens and tells it nothing: limits that it will not meet, or that the error explains.
_UNSAID = frozenset({"title", "minLength", "maxLength", "pattern", "maxItems", "minItems", "additionalProperties", "ge", "le"})
_OBVIOUS = (("format", "uuid"),)


def schema(model: type[Arguments]) -> dict[str, JsonValue]:
    """The short JSON schema of a tool's arguments: true of all that it accepts, silent on what goes without saying."""
    full = cast("dict[str, JsonValue]", model.model_json_schema())
    definitions = full.pop("$defs", {})
    full.pop("description", None)
    return cast("dict[str, JsonValue]", _short(full, cast("Mapping[str, JsonValue]", definitions)))


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
