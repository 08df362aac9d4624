"""Whose turn it is: tenants wait in one line, however many jobs each of them has."""

from collections import Counter
from uuid import UUID


class Turns:
    """The line of one worker. A tenant has one place in it: at the end when it comes, and at the end after each of its turns.

    The next is the one with the fewest turns under way, and of those the one that stands foremost, which is the one that was
    served the longest ago. So fifty jobs of one tenant wait behind any job of a tenant that has no turn under way: that one has
    the next slot that becomes free.
    """

    def __init__(self) -> None:
        self._line: dict[UUID, None] = {}
        self._running: Counter[UUID] = Counter()

    def __len__(self) -> int:
        """How many tenants wait."""
        return len(self._line)

    def others_wait(self, tenant_id: UUID) -> bool:
        """Somebody who has fewer turns under way than this tenant stands in the line.

        Others with as many are served as well; they may stand there only because they could have another job.
        """
        mine = self._running[tenant_id]
        return any(self._running[one] < mine for one in self._line)

    def come(self, tenant_id: UUID) -> None:
        """Stand at the end of the line; who is in it already keeps its place."""
        self._line.setdefault(tenant_id, None)

    def take(self) -> UUID | None:
        """The next tenant: it leaves the line and has one more turn under way. ``None``: nobody waits."""
        if not self._line:
            return None
        tenant_id = min(self._line, key=self._running.__getitem__)
        del self._line[tenant_id]
        self._running[tenant_id] += 1
        return tenant_id

    def end(self, tenant_id: UUID) -> None:
        """One of its turns is over: if it waits for another, it does so behind all others now."""
        if tenant_id in self._line:
            del self._line[tenant_id]
            self._line[tenant_id] = None
        self._running[tenant_id] -= 1
        if not self._running[tenant_id]:
            del self._running[tenant_id]
