"""Operations on knowledge bases and their versions."""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from pydantic import JsonValue

from memoryd.client.core import answered, asked, paged, path, present, writing
from memoryd.client.models import (
    BasePage,
    Collected,
    Cut,
    Diff,
    DocumentChange,
    KnowledgeBase,
    Version,
    VersionPage,
)
from memoryd.client.operation import Iteration, Operation, Operations
from memoryd.client.steps import Flow, Request, Steps

BASES: Final = "knowledge-bases"


class Unset(Enum):
    """The type of :data:`UNSET`."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
"""Stays as it is; ``None`` clears."""


class BaseOperations(Operations):
    """A version is given by its number, as text too, by a tag, or as ``live``; in a diff also as ``draft``.

    ``key``: an ``Idempotency-Key`` of the caller's own, for a write that may be repeated by another process.
    """

    @Operation
    def create(
        self,
        name: str,
        *,
        space: str = "default",
        description: str | None = None,
        chunking: Cut | None = None,
        retain: int | None = None,
        key: str | None = None,
    ) -> Steps[KnowledgeBase]:
        """Make a knowledge base. ``retain``: how many versions stay besides the live and the tagged ones."""
        body: dict[str, JsonValue] = {"name": name, "space": space, "description": description, "retain": retain}
        if chunking is not None:
            body["chunking"] = chunking.model_dump(mode="json")
        return (yield from asked(KnowledgeBase, writing("POST", path(BASES), present(body), key=key), self.retries))

    @Operation
    def get(self, name: str) -> Steps[KnowledgeBase]:
        """One knowledge base, and which version is live."""
        return (yield from asked(KnowledgeBase, Request("GET", path(BASES, name)), self.retries))

    @Iteration
    def list(self) -> Flow[KnowledgeBase]:
        """All that the key may see, by name."""
        yield from paged(BasePage, path(BASES), {}, self.retries, lambda page: (page.knowledge_bases, page.next_cursor))

    @Operation
    def update(
        self,
        name: str,
        *,
        description: str | Unset | None = UNSET,
        chunking: Cut | Unset = UNSET,
        retain: int | Unset | None = UNSET,
        key: str | None = None,
    ) -> Steps[KnowledgeBase]:
        """Change what is given, of a :class:`Chunking` what it was made with. It is that of what is ingested from then on."""
        body: dict[str, JsonValue] = {}
        if not isinstance(description, Unset):
            body["description"] = description
        if not isinstance(chunking, Unset):
            body["chunking"] = chunking.model_dump(mode="json", exclude_unset=True)
        if not isinstance(retain, Unset):
            body["retain"] = retain
        return (yield from asked(KnowledgeBase, writing("PATCH", path(BASES, name), body, key=key), self.retries))

    @Operation
    def delete(self, name: str, *, key: str | None = None) -> Steps[None]:
        """Delete it in every version, with its originals. It cannot be undone."""
        yield from answered(writing("DELETE", path(BASES, name), key=key), self.retries)

    @Iteration
    def versions(self, name: str) -> Flow[Version]:
        """Newest first; the draft, if there is one, comes before them."""
        where = path(BASES, name, "versions")
        yield from paged(VersionPage, where, {}, self.retries, lambda page: (page.versions, page.next_cursor))

    @Operation
    def draft(self, name: str) -> Steps[Version | None]:
        """The draft, if there is one."""
        request = Request("GET", path(BASES, name, "versions"), query={"limit": 1})
        page = yield from asked(VersionPage, request, self.retries)
        return next((one for one in page.versions if one.state == "draft"), None)

    @Operation
    def publish(self, name: str, *, note: str | None = None, key: str | None = None) -> Steps[Version]:
        """Make the draft the next version, and live. Raises ``Conflict``: no draft, or a job writes to it."""
        return (yield from self._moved(name, "publish", present({"note": note}), key))

    @Operation
    def rollback(self, name: str, to: int | str, *, key: str | None = None) -> Steps[Version]:
        """Make an earlier (or later) version live: one pointer moves."""
        return (yield from self._moved(name, "rollback", {"to": str(to)}, key))

    @Operation
    def tag(self, name: str, tag: str, version: int | str = "live", *, key: str | None = None) -> Steps[None]:
        """Name a version, or give the name to another one. A tagged version is kept."""
        where = path(BASES, name, "tags", tag)
        yield from answered(writing("PUT", where, {"version": str(version)}, key=key), self.retries)

    @Operation
    def untag(self, name: str, tag: str, *, key: str | None = None) -> Steps[None]:
        """Take a name away."""
        yield from answered(writing("DELETE", path(BASES, name, "tags", tag), key=key), self.retries)

    @Operation
    def diff(self, name: str, *, after: int | str = "draft", before: int | str | None = None) -> Steps[Diff]:
        """How two versions differ: counts, and the first 200 documents. ``before`` ``None``: what ``after`` was based on."""
        query = _between(before, after) | {"limit": 200}
        return (yield from asked(Diff, Request("GET", path(BASES, name, "diff"), query=query), self.retries))

    @Iteration
    def changes(self, name: str, *, after: int | str = "draft", before: int | str | None = None) -> Flow[DocumentChange]:
        """Every document that differs, by id."""
        where = path(BASES, name, "diff")
        yield from paged(Diff, where, _between(before, after), self.retries, lambda page: (page.changes, page.next_cursor))

    @Operation
    def discard(self, name: str, *, key: str | None = None) -> Steps[None]:
        """Drop the draft. Raises ``NotFound`` without one, ``Conflict`` while a job writes to it."""
        yield from answered(writing("DELETE", path(BASES, name, "draft"), key=key), self.retries)

    @Operation
    def collect(self, name: str) -> Steps[Collected]:
        """Give up now what the retention does not keep; the worker does it by and by."""
        return (yield from asked(Collected, Request("POST", path(BASES, name, "collect")), self.retries))

    def _moved(self, name: str, verb: str, body: Mapping[str, JsonValue], key: str | None) -> Steps[Version]:
        return (yield from asked(Version, writing("POST", path(BASES, name, verb), dict(body), key=key), self.retries))


def _between(before: int | str | None, after: int | str) -> dict[str, str | int]:
    query: dict[str, str | int] = {"after": str(after)}
    return query if before is None else query | {"before": str(before)}
