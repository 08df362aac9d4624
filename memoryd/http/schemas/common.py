"""What bodies of several routes share."""

from pydantic import BaseModel

from memoryd.http.closed import Closed
from memoryd.http.fields import (
    Identifier,
    Uri,
)


class Body(Closed):
    """A request body, or an object in it."""


class Source(Body):
    """Where a memory comes from."""

    type: Identifier = "conversation"
    uri: Uri | None = None


class SourceOut(BaseModel):
    """Where a memory comes from."""

    type: str
    uri: str | None = None
