"""The worker's round over knowledge bases: give up the versions that retention does not keep, clear what they leave, and finish
deletions that were interrupted."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from memoryd.attempts import attempted
from memoryd.knowledge.bases import KnowledgeBases
from memoryd.knowledge.model import KnowledgeBase
from memoryd.knowledge.ports import Bases
from memoryd.knowledge.versioning import Versioning
from memoryd.memory.ports import Clock
from retrieval.scope import Action, Scope

_PAGE = 200


class Tenants(Protocol):
    """Every tenant of the installation, by page."""

    async def tenants(self, after: UUID | None, limit: int) -> Sequence[UUID]: ...


class Collection:
    """Garbage collection in every knowledge base of every tenant, one after the other. ``quiet_s``: after how long without going
    on a deletion was interrupted."""

    def __init__(
        self, tenants: Tenants, bases: Bases, versions: Versioning, deletions: KnowledgeBases, clock: Clock, *, quiet_s: float
    ) -> None:
        self._tenants = tenants
        self._bases = bases
        self._versions = versions
        self._deletions = deletions
        self._clock = clock
        self._quiet_s = quiet_s

    async def run(self) -> int:
        """One round; how many versions were given up. A knowledge base that fails is logged, and the others have their turn."""
        given_up: list[int] = []
        after: UUID | None = None
        while page := await self._tenants.tenants(after, _PAGE):
            for tenant_id in page:
                scope = Scope(tenant_id, "worker", frozenset(Action), request_id="collection")
                await attempted(f"collection for tenant {tenant_id}", self._tenant(scope, given_up))
            after = page[-1]
        return sum(given_up)

    async def _tenant(self, scope: Scope, given_up: list[int]) -> None:
        await self._deletions.finish_deletions(scope, quiet_s=self._quiet_s)
        name: str | None = None
        while page := await self._bases.page(scope, after=name, limit=_PAGE):
            for base in page:
                await attempted(f"collection in knowledge base {base.kb_id}", self._base(scope, base, given_up))
            name = page[-1].name

    async def _base(self, scope: Scope, base: KnowledgeBase, given_up: list[int]) -> None:
        given_up.append(len((await self._versions.collected(scope, base, self._clock.now())).versions))
