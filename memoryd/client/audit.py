"""Operations that read the logs of who did what."""

from datetime import datetime
from typing import Final
from uuid import UUID

from memoryd.client.access_models import AuditEntry, AuditPage, OperatorEntry, OperatorLogPage
from memoryd.client.core import paged, path
from memoryd.client.operation import Iteration, Operations
from memoryd.client.steps import Flow, Query
from memoryd.client.wording import moment

_AUDIT: Final = "audit"


class AuditOperations(Operations):
    """Newest first; ids, counts and reasons, never content."""

    @Iteration
    def list(
        self,
        *,
        action: str | None = None,
        object_id: UUID | str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Flow[AuditEntry]:
        """What was done in the tenant of the key, which needs ``admin`` and must not be confined: a kind of thing
        (``memory.purge``), to a memory, key or space, within ``[since, until)``."""
        given = {
            "action": action,
            "object_id": None if object_id is None else str(object_id),
            "since": moment("since", since),
            "until": moment("until", until),
        }
        query: Query = {name: value for name, value in given.items() if value is not None}
        yield from paged(AuditPage, path(_AUDIT), query, self.retries, lambda page: (page.entries, page.next_cursor))

    @Iteration
    def of_operator(self, *, tenant_id: UUID | str | None = None) -> Flow[OperatorEntry]:
        """What the operator did, also to a tenant that is gone. Needs the operator's key."""
        query: Query = {} if tenant_id is None else {"tenant_id": str(tenant_id)}
        where = path("admin", _AUDIT)
        yield from paged(OperatorLogPage, where, query, self.retries, lambda page: (page.entries, page.next_cursor))
