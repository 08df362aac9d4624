"""Who asks, and what they may see: the first argument of every port."""

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID


class Action(StrEnum):
    """What a key may do."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Scope:
    """An authenticated caller. The tenant comes from the credential and is never optional.

    ``spaces`` is ``None`` for a key that may use every space of its tenant, else the names it is confined to.
    """

    tenant_id: UUID
    principal: str
    actions: frozenset[Action]
    spaces: frozenset[str] | None = None
    request_id: str = field(default="-", compare=False)

    def may(self, action: Action) -> bool:
        """True when the credential carries ``action``."""
        return action in self.actions

    def may_use(self, space: str) -> bool:
        """True when the credential is not confined, or is confined to a set that has ``space``."""
        return self.spaces is None or space in self.spaces
