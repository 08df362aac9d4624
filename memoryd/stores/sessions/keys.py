"""The one place that makes the keys of working memory.

``t:{<tenant>}:s:<session>:<part>``: the braces are a literal hash tag, so that all keys of a tenant live in one slot of a
cluster and a script is atomic over a session and the tenant's indexes. What a caller chose is percent-encoded: a colon or a
brace in it cannot reach another key.
"""

import re
from functools import lru_cache
from urllib.parse import quote, unquote
from uuid import UUID

PARTS = (
    "meta", "messages", "ids", "receipts", "receipt_order", "state", "checkpoints", "checkpoint_states",
    "checkpoint_order", "effects", "pins", "agents", "summary",
)  # fmt: skip
"""What a session consists of."""
DELETED = "deleted"
"""A mark beside a session, for a while after it was deleted: it is not put back from a snapshot that was being read."""
WAKE = "wake"
"""A stream beside a session, for some seconds after it was restored or deleted: who waits for its messages is to look again."""
INDEXES = ("sessions", "due", "dirty", "uncommitted", "unsummarised")
"""Sorted sets of a tenant, whose members are encoded session ids."""
_INDEXES = frozenset(INDEXES)
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")  # what encoding would leave as it is


class Keys:
    """The keys of one tenant."""

    def __init__(self, tenant_id: UUID) -> None:
        self._tenant = f"t:{{{tenant_id}}}:"

    def part(self, session_id: str, part: str) -> str:
        """A key of one session."""
        if part not in (*PARTS, DELETED, WAKE):
            raise ValueError(part)
        return f"{self._tenant}s:{encoded(session_id)}:{part}"

    def index(self, name: str) -> str:
        """A sorted set of the tenant."""
        if name not in INDEXES:
            raise ValueError(name)
        return f"{self._tenant}i:{name}"

    def of_user(self, user_id: str) -> str:
        """The sessions of a user."""
        return f"{self._tenant}u:{encoded(user_id)}"

    def of_agent(self, agent_id: str) -> str:
        """The sessions of an agent."""
        return f"{self._tenant}a:{encoded(agent_id)}"

    def named(self, session_id: str, names: tuple[str, ...]) -> list[str]:
        """Parts and indexes by name, in this order: the keys of a script."""
        session, index = f"{self._tenant}s:{encoded(session_id)}:", f"{self._tenant}i:"
        return [f"{index}{name}" if name in _INDEXES else f"{session}{name}" for name in names]


@lru_cache(maxsize=1_000)
def of_tenant(tenant_id: UUID) -> Keys:
    """The keys of a tenant; most calls are of a few, and to write a UUID out costs as much as all the rest of a key."""
    return Keys(tenant_id)


def encoded(name: str) -> str:
    """A caller's name inside a key, and as the member of an index."""
    return name if _PLAIN.fullmatch(name) else quote(name, safe="")


def decoded(name: bytes) -> str:
    """The caller's name again."""
    return unquote(name.decode())
