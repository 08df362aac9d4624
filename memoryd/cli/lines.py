"""Memories from lines: each line a text, or a JSON object with the fields of a memory."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import click
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from memoryd.client import Kind, NewMemory


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: str | None = None
    uri: str | None = None


class _Line(BaseModel):
    """As ``POST /v1/memories`` takes it."""

    model_config = ConfigDict(extra="forbid")

    text: str
    space: str | None = None
    kind: Kind | None = None
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    event_time: AwareDatetime | None = None
    valid_from: AwareDatetime | None = None
    valid_to: AwareDatetime | None = None
    topics: list[str] | None = None
    confidence: float | None = None
    source: _Source = Field(default_factory=_Source)
    metadata: dict[str, JsonValue] | None = None
    external_id: str | None = None
    supersedes: UUID | None = None


_Field = str | float | datetime | UUID | list[str] | Mapping[str, JsonValue] | None


def texts(lines: Iterable[str], like: NewMemory) -> Iterator[NewMemory]:
    """A memory for each line that says something; all else is as ``like`` has it."""
    return (replace(like, text=text) for one in lines if (text := one.strip()))


def objects(lines: Iterable[str], like: NewMemory) -> Iterator[NewMemory]:
    """A memory for each object; what it does not say is as ``like`` has it. Raises ``click.UsageError`` that names the line."""
    for number, one in enumerate(lines, 1):
        if not one.strip():
            continue
        try:
            found = _Line.model_validate_json(one)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}" for fault in error.errors())
            raise click.UsageError(f"line {number}: {wrong}") from error
        said: dict[str, _Field] = {name: getattr(found, name) for name in found.model_fields_set - {"source"}}
        if "source" in found.model_fields_set:
            said |= {"source_type": found.source.type or like.source_type, "source_uri": found.source.uri}
        yield _with(like, said)


def _with(like: NewMemory, said: Mapping[str, _Field]) -> NewMemory:
    fields = {name: getattr(like, name) for name in NewMemory.__dataclass_fields__}
    return NewMemory(**(fields | {name: value for name, value in said.items() if value is not None}))
