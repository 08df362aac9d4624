"""Entries of the audit log about knowledge bases."""

from datetime import datetime
from uuid import UUID

from memoryd.clock import SystemClock
from memoryd.stores.audit import Entry, append_audit
from memoryd.stores.trips import Connection
from retrieval.filters import JsonValue
from retrieval.scope import Scope


async def leave(
    connection: Connection, scope: Scope, action: str, kb_id: UUID, at: datetime | None = None, **detail: JsonValue
) -> None:
    """Append an entry to the log; ``detail``: numbers and names of versions, never content."""
    entry = Entry(action, "knowledge_base", (kb_id,), detail)
    await append_audit(connection, scope, entry, at or SystemClock().now())
