"""Operations on single memories, and lists of them."""

from datetime import datetime
from uuid import UUID

from pydantic import JsonValue

from memoryd.client.core import asked, paged, path, writing
from memoryd.client.memory_models import HistoryPage, Memory, MemoryPage, Revision
from memoryd.client.operation import Iteration, Operation, Operations
from memoryd.client.questions import Filters
from memoryd.client.remembering import MEMORIES
from memoryd.client.steps import Flow, Query, Request, Steps
from memoryd.client.wording import filled, moment

_ALL = Filters()


class MemoryOperations(Operations):
    """``as_of``: what was true then; ``known_at``: what the service knew then. ``revision``: only if it is still that one."""

    @Operation
    def get(self, memory_id: UUID | str, *, as_of: datetime | None = None, known_at: datetime | None = None) -> Steps[Memory]:
        """One memory. Raises ``NotFound``."""
        request = Request("GET", path(MEMORIES, str(memory_id)), query=_at(as_of, known_at))
        return (yield from asked(Memory, request, self.retries))

    @Iteration
    def list(
        self,
        *,
        space: str | None = None,
        filters: Filters = _ALL,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> Flow[Memory]:
        """In the order they arrived; of a space, or of all that the key may use."""
        query = {**filters.query(), **_at(as_of, known_at), **({} if space is None else {"space": space})}
        yield from paged(MemoryPage, path(MEMORIES), query, self.retries, lambda page: (page.memories, page.next_cursor))

    @Operation
    def update(
        self,
        memory_id: UUID | str,
        changes: dict[str, JsonValue],
        *,
        reason: str | None = None,
        revision: int | None = None,
        key: str | None = None,
    ) -> Steps[Memory]:
        """Change fields, named as in the API (``{"topics": ["food"]}``; ``None`` clears): a new revision."""
        body = changes | filled({"reason": reason})
        request = writing("PATCH", path(MEMORIES, str(memory_id)), body, key=key, match=revision)
        return (yield from asked(Memory, request, self.retries))

    @Iteration
    def history(self, memory_id: UUID | str, *, known_at: datetime | None = None) -> Flow[Revision]:
        """Every revision, newest first; also of a memory that was forgotten, unless it was purged."""
        where = path(MEMORIES, str(memory_id), "history")
        query = _at(None, known_at)
        yield from paged(HistoryPage, where, query, self.retries, lambda page: (page.revisions, page.next_cursor))

    @Operation
    def revert(
        self,
        memory_id: UUID | str,
        to: int,
        *,
        reason: str | None = None,
        revision: int | None = None,
        key: str | None = None,
    ) -> Steps[Memory]:
        """Make an earlier revision current again; undoes forgetting and supersession too."""
        body: dict[str, JsonValue] = {"revision": to} | filled({"reason": reason})
        request = writing("POST", path(MEMORIES, str(memory_id), "revert"), body, key=key, match=revision)
        return (yield from asked(Memory, request, self.retries))


def _at(as_of: datetime | None, known_at: datetime | None) -> Query:
    given = {"as_of": moment("as_of", as_of), "known_at": moment("known_at", known_at)}
    return {name: value for name, value in given.items() if value is not None}
