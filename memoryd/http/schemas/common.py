"""What bodies of several routes share."""

from pydantic import BaseModel, ConfigDict

from memoryd.http.fields import (
    Identifier,
    Uri,
)


class Body(BaseModel):
    """A request body: unknown fields are refused, so that a typo is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class Source(Body):
    """Where a memory comes from."""

    type: Identifier = "conversation"
    uri: Uri | None = None


class SourceOut(BaseModel):
    """Where a memory comes from."""

    type: str
    uri: str | None = None
